//! The file that lines are appended to: held by a lock, rotated by size.

use rustix::fs::{CWD, RenameFlags, renameat_with};
use slog::{Logger, warn};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{Duration, OffsetDateTime};

/// `--audit-log` and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFileSettings {
    /// `--audit-log`.
    pub path: PathBuf,
    /// `--audit-log-size`: no file grows beyond it, but for a single line.
    pub size: NonZeroU64,
    /// `--audit-log-keep`: how many rotated files stay; `None`: all.
    pub keep: Option<NonZeroU64>,
}

/// The owner and its group may read it, nobody else: topics and offsets say much.
const MODE: u32 = 0o640;

/// Appends complete lines. What is written to it is held back until `flush`, which hands it over in one write(2):
/// nothing stays behind, and no line is ever mixed with another.
#[derive(Debug)]
pub(super) struct LineFile {
    settings: AuditFileSettings,
    file: File,
    file_bytes: u64,
    line: Vec<u8>,
    /// When the last rotated file was named: the next one's name is later.
    rotated_at: OffsetDateTime,
    log: Logger,
    /// Held, not used. A file of its own, as the log's own changes with every rotation.
    _lock: File,
}

impl LineFile {
    /// Opens or creates the file, if no other process has it.
    pub(super) fn open(mut settings: AuditFileSettings, log: Logger) -> Result<LineFile, String> {
        // Whatever way leads to the file, the lock is beside it.
        settings.path = resolve(&settings.path).map_err(|error| error.to_string())?;
        if fs::metadata(&settings.path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err("it is not a regular file".to_owned());
        }
        let lock = lock(&settings.path)?;
        let (file, file_bytes) = open_to_append(&settings.path).map_err(|error| error.to_string())?;
        let file = LineFile {
            settings,
            file,
            file_bytes,
            line: Vec::new(),
            rotated_at: OffsetDateTime::UNIX_EPOCH,
            log,
            _lock: lock,
        };
        file.remove_old();
        Ok(file)
    }

    fn write_line(&mut self) -> io::Result<()> {
        let line_bytes = self.line.len() as u64;
        if self.file_bytes > 0 && self.file_bytes + line_bytes > self.settings.size.get() {
            self.rotate()?;
        }
        self.file.write_all(&self.line)?;
        self.file_bytes += line_bytes;
        self.line.clear();
        Ok(())
    }

    /// Gives the file its final name, and goes on in a new one.
    fn rotate(&mut self) -> io::Result<()> {
        let failed = |what: &str, error: &io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
        self.rotated_at =
            set_aside(&self.settings.path, self.rotated_at).map_err(|error| failed("it cannot be rotated", &error))?;
        let created = OpenOptions::new().append(true).create_new(true).mode(MODE).open(&self.settings.path);
        self.file = created.map_err(|error| failed("it was rotated, and no new one can be made", &error))?;
        self.file_bytes = 0;
        self.remove_old();
        Ok(())
    }

    /// Removes what is to be kept no longer. What cannot be removed costs space, and nothing else.
    fn remove_old(&self) {
        let Some(keep) = self.settings.keep else { return };
        let removed = rotated(&self.settings.path).and_then(|rotated| {
            let old = rotated.len().saturating_sub(usize::try_from(keep.get()).unwrap_or(usize::MAX));
            rotated[..old].iter().try_for_each(fs::remove_file)
        });
        if let Err(error) = removed {
            warn!(self.log, "old audit logs not removed"; "reason" => %error);
        }
    }
}

impl Write for LineFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_line()
    }
}

/// The path without symbolic links; the file itself need not exist.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let path = std::path::absolute(path)?;
            let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
            Ok(directory.canonicalize()?.join(name))
        }
        resolved => resolved,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn lock(path: &Path) -> Result<File, String> {
    let path = with_suffix(path, ".lock");
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(&path);
    let file = open.map_err(|error| format!("its lock file {}: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err("another process writes to it: give each its own --audit-log".to_owned()),
        Err(TryLockError::Error(error)) => Err(format!("{} cannot be locked: {error}", path.display())),
    }
}

fn open_to_append(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)?;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & !MODE != 0 {
        file.set_permissions(Permissions::from_mode(mode & MODE))?;
    }
    let mut bytes = metadata.len();
    let mut last = [b'\n'];
    if bytes > 0 {
        file.read_exact_at(&mut last, bytes - 1)?;
    }
    if last != *b"\n" {
        // An earlier process was killed within a line: what it wrote stays as it is, and ours begin a new one.
        file.write_all(b"\n")?;
        bytes += 1;
    }
    Ok((file, bytes))
}

/// Later files have later names, also where two are set aside within a millisecond and the first is removed already.
fn set_aside(path: &Path, last: OffsetDateTime) -> io::Result<OffsetDateTime> {
    let mut moment = OffsetDateTime::now_utc().max(last + Duration::MILLISECOND);
    loop {
        let name = moment.format(STAMP).map_err(io::Error::other)?;
        match rename_to_free(path, &with_suffix(path, &format!(".{name}"))) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => moment += Duration::MILLISECOND,
            result => return result.map(|()| moment),
        }
    }
}

fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from) {
        // How a file system says that it does not know the flag. We hold the lock: nobody else makes such names.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        result => result,
    }
}

pub(super) const STAMP: StaticFormatDescription =
    format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:3]Z");

/// The files that were set aside, oldest first.
fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let stamp = entry.file_name().into_string().ok();
        let stamp = stamp.as_deref().and_then(|file| file.strip_prefix(name)?.strip_prefix('.'));
        if stamp.is_some_and(is_stamp) {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn is_stamp(text: &str) -> bool {
    let shape = "00000000T000000.000Z".bytes();
    text.len() == shape.len()
        && text.bytes().zip(shape).all(|(byte, shape)| byte == shape || (shape == b'0' && byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slog::{Discard, o};

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Folder {
            Folder(tempfile::tempdir().expect("a temporary directory"))
        }

        fn open(&self, size: u64, keep: Option<u64>) -> Result<LineFile, String> {
            let (size, keep) = (NonZeroU64::new(size).expect("not zero"), keep.and_then(NonZeroU64::new));
            let settings = AuditFileSettings { path: self.0.path().join("log"), size, keep };
            LineFile::open(settings, Logger::root(Discard, o!()))
        }

        fn read(&self) -> String {
            fs::read_to_string(self.0.path().join("log")).expect("readable")
        }

        /// What the rotated files hold, oldest first.
        fn rotated(&self) -> Vec<String> {
            let paths = rotated(&self.0.path().canonicalize().expect("it exists").join("log")).expect("listed");
            paths.iter().map(|path| fs::read_to_string(path).expect("readable")).collect()
        }
    }

    fn append(file: &mut LineFile, line: &str) {
        file.write_all(line.as_bytes()).expect("a Vec takes everything");
        file.write_all(b"\n").expect("a Vec takes everything");
        file.flush().expect("written");
    }

    #[test]
    fn lines_are_there_once_they_are_flushed_and_go_on_after_a_restart() {
        let folder = Folder::new();
        for line in ["one", "two"] {
            let mut file = folder.open(100, None).expect("opened");
            append(&mut file, line);
            assert!(folder.read().ends_with(&format!("{line}\n")));
        }
        assert_eq!(folder.read(), "one\ntwo\n");
    }

    #[test]
    fn a_torn_line_is_left_as_it_is_and_ended() {
        let folder = Folder::new();
        fs::write(folder.0.path().join("log"), "one\nto").expect("written");
        append(&mut folder.open(100, None).expect("opened"), "two");
        assert_eq!(folder.read(), "one\nto\ntwo\n");
    }

    #[test]
    fn no_file_grows_beyond_the_size_but_for_a_single_line() {
        let folder = Folder::new();
        let mut file = folder.open(8, None).expect("opened");
        for line in ["abc", "def", "a line that is longer", "ghi"] {
            append(&mut file, line);
        }
        assert_eq!(folder.rotated(), ["abc\ndef\n", "a line that is longer\n"]);
        assert_eq!(folder.read(), "ghi\n");
    }

    #[test]
    fn only_what_was_rotated_from_this_path_is_removed_and_only_beyond_what_is_kept() {
        let folder = Folder::new();
        for other in ["log.20200101T000000.000Z.gz", "log.2020", "other.20200101T000000.000Z", "log.bak"] {
            fs::write(folder.0.path().join(other), "").expect("written");
        }
        let mut file = folder.open(1, Some(2)).expect("opened");
        ["a", "b", "c", "d", "e"].iter().for_each(|line| append(&mut file, line));
        assert_eq!(folder.rotated(), ["c\n", "d\n"]);
        let left = fs::read_dir(folder.0.path()).expect("listed").count();
        assert_eq!(left, 4 + 2 + 2, "the others, two rotated, the log and its lock");
    }

    #[test]
    fn the_path_belongs_to_one_process_and_to_nobody_elses_eyes() {
        let folder = Folder::new();
        let path = folder.0.path().join("log");
        fs::write(&path, "").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o604)).expect("changed");
        let file = folder.open(1, None).expect("opened");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let refused = folder.open(1, None).expect_err("it is locked");
        assert!(refused.starts_with("another process writes to it"), "{refused}");
        drop(file);
        folder.open(1, None).expect("it is free again");
    }
}
