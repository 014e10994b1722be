//! Which lines of which files belong to which instance: found in a first pass, so that the second can read the lines
//! of each instance in their order and hold none of them.

use super::entry::{Entry, LINE_START, Said};
use super::report::{Place, ProblemKind, Problems};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Why logs cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum AuditReadError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file is something else.
    #[error("{} is no audit log: its first line is no line of one", path.display())]
    WrongFile {
        /// Which.
        path: PathBuf,
    },
}

/// The files, by instances.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub(super) files: usize,
    pub(super) lines: u64,
    pub(super) torn_lines: u64,
    pub(super) instances: BTreeMap<String, Vec<Run>>,
}

/// Lines of one instance that follow each other in one file, with sequence numbers that do so too.
#[derive(Debug)]
pub(super) struct Run {
    path: PathBuf,
    file: Rc<str>,
    first_byte: u64,
    first_line: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    ended: bool,
}

/// A line that is none.
struct Unreadable {
    place: Place,
    reason: String,
    /// The instance and the sequence number of the line before it in the file.
    before: Option<(String, u64)>,
    /// Whether the line after it in the file begins an instance, or there is none.
    closes: bool,
}

impl Pieces {
    /// Looks through the files. A file that is given twice is read once.
    pub(super) fn scan(paths: &[PathBuf], problems: &mut Problems) -> Result<Pieces, AuditReadError> {
        let mut pieces = Pieces::default();
        let mut seen = Vec::new();
        let mut unreadable = Vec::new();
        for path in paths {
            let io = |error| AuditReadError::Io { path: path.clone(), error };
            let resolved = path.canonicalize().map_err(io)?;
            if !seen.contains(&resolved) {
                pieces.scan_file(path, &mut unreadable, problems)?;
                seen.push(resolved);
            }
        }
        pieces.files = seen.len();
        for runs in pieces.instances.values_mut() {
            runs.sort_by_key(|run| run.first);
        }
        for line in unreadable {
            if pieces.is_torn(&line) {
                pieces.torn_lines += 1;
            } else {
                problems.add(ProblemKind::UnreadableLine, &line.place, line.reason);
            }
        }
        Ok(pieces)
    }

    fn scan_file(
        &mut self,
        path: &Path,
        unreadable: &mut Vec<Unreadable>,
        problems: &mut Problems,
    ) -> Result<(), AuditReadError> {
        let io = |error| AuditReadError::Io { path: path.to_owned(), error };
        let mut reader = BufReader::new(File::open(path).map_err(io)?);
        let file: Rc<str> = path.display().to_string().into();
        let (mut byte, mut number) = (0, 0);
        let mut highest = BTreeMap::new();
        let mut before = None;
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(io)? > 0 {
            number += 1;
            let place = Place { file: Rc::clone(&file), line: number };
            if number == 1 && !begins_like_a_line(&line) {
                return Err(AuditReadError::WrongFile { path: path.to_owned() });
            }
            self.lines += 1;
            let pending = unreadable.last_mut().filter(|last| last.place.file == file && last.place.line + 1 == number);
            match Entry::parse(&line) {
                Ok(entry) => {
                    if let Some(pending) = pending {
                        pending.closes = matches!(entry.said, Said::Started(_));
                    }
                    let highest = highest.entry(entry.instance.clone()).or_insert(0);
                    if entry.sequence < *highest {
                        let message = format!("{} wrote {} after {highest}", entry.instance, entry.sequence);
                        problems.add(ProblemKind::OutOfOrder, &place, message);
                    }
                    *highest = entry.sequence.max(*highest);
                    before = Some((entry.instance.clone(), entry.sequence));
                    self.take(path, place, byte, &entry);
                }
                Err(reason) => {
                    if let Some(pending) = pending {
                        pending.closes = false;
                    }
                    unreadable.push(Unreadable { place, reason, before: before.clone(), closes: true });
                }
            }
            byte += line.len() as u64;
            line.clear();
        }
        Ok(())
    }

    fn take(&mut self, path: &Path, place: Place, first_byte: u64, entry: &Entry) {
        let ended = matches!(entry.said, Said::Ended { .. });
        let runs = self.instances.entry(entry.instance.clone()).or_default();
        if let Some(run) = runs.last_mut()
            && run.file == place.file
            && run.last + 1 == entry.sequence
            && run.first_line + (run.last - run.first) + 1 == place.line
        {
            (run.last, run.ended) = (entry.sequence, ended);
            return;
        }
        let (first, last) = (entry.sequence, entry.sequence);
        let Place { file, line: first_line } = place;
        runs.push(Run { path: path.to_owned(), file, first_byte, first_line, first, last, ended });
    }

    /// Whether it is what an instance was writing when it was killed: nothing of the instance comes after it.
    fn is_torn(&self, line: &Unreadable) -> bool {
        line.closes
            && line.before.as_ref().is_none_or(|(instance, sequence)| {
                let runs = self.instances.get(instance).into_iter().flatten();
                runs.into_iter().all(|run| run.last <= *sequence && !run.ended)
            })
    }
}

impl Run {
    /// Gives its lines to `each`, in order.
    pub(super) fn read(&self, mut each: impl FnMut(Place, Entry)) -> Result<(), AuditReadError> {
        let io = |error| AuditReadError::Io { path: self.path.clone(), error };
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(self.first_byte)).map_err(io)?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        for number in self.first_line..=self.first_line + (self.last - self.first) {
            line.clear();
            reader.read_until(b'\n', &mut line).map_err(io)?;
            let changed = |reason| io(io::Error::other(format!("it changed while it was read: {reason}")));
            each(Place { file: Rc::clone(&self.file), line: number }, Entry::parse(&line).map_err(changed)?);
        }
        Ok(())
    }
}

/// Also a line that was torn within its first bytes.
fn begins_like_a_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let length = line.len().min(LINE_START.len());
    line[..length] == LINE_START[..length]
}
