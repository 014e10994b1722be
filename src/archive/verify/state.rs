//! Segments that earlier runs have verified, so that an interrupted run can resume.
//!
//! A segment is taken for verified while its name, size and identity in the store (generation and checksum, or the
//! time of its last change) are the same.

use crate::archive::survey::SegmentFacts;
use crate::avro::TimestampRange;
use crate::store::ObjectStat;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Work that a kill may cost.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// The file that remembers. All of it is in memory; it is replaced at once, never half written.
#[derive(Debug)]
pub struct VerifyState {
    path: PathBuf,
    /// The archive that it is of.
    archive: String,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    segments: BTreeMap<String, Value>,
    saved: Instant,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system's word.
    #[error("cannot {action} the state file {}", path.display())]
    Io {
        /// The operation that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is not a state file of `kafka-store verify`: give another name to --state", path.display())]
    NoState {
        /// The file.
        path: PathBuf,
    },
    /// It is of another archive.
    #[error("the state file {} is of the archive {archive}: give another name to --state", path.display())]
    OtherArchive {
        /// The file.
        path: PathBuf,
        /// The archive that it is of.
        archive: String,
    },
}

impl VerifyState {
    /// Reads the file, or begins anew if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is of something else.
    pub fn open(path: &Path, archive: &str) -> Result<VerifyState, StateError> {
        let segments = match fs::read(path) {
            Ok(bytes) => parse(path, &bytes, archive)?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(StateError::Io { action: "read", path: path.to_owned(), source }),
        };
        let known = Mutex::new(Known { segments, saved: Instant::now() });
        let state = VerifyState { path: path.to_owned(), archive: archive.to_owned(), known };
        // What cannot be written is said before the work.
        state.save()?;
        Ok(state)
    }

    /// Facts about a segment that an earlier run has verified, if it is unchanged.
    pub(super) fn facts(&self, name: &SegmentName, stat: &ObjectStat, front: &SegmentFacts) -> Option<SegmentFacts> {
        let known = self.known.lock().expect("a panic ends the process");
        let entry = known.segments.get(&name.to_string())?;
        if entry["is"] != identity(stat) {
            return None;
        }
        let number = |key: &str| entry[key].as_i64();
        Some(SegmentFacts {
            final_offset: Some(Offset::new(number("final_offset")?)?),
            record_count: Some(entry["record_count"].as_u64()?),
            timestamps: Some(TimestampRange { first: number("first")?, min: number("min")?, max: number("max")? }),
            ..front.clone()
        })
    }

    /// The names of the segments that are remembered.
    pub(super) fn segments(&self) -> Vec<SegmentName> {
        let known = self.known.lock().expect("a panic ends the process");
        let name = |text: &String| {
            let mut parts = text.split('/');
            let chain = ChainName::parse(parts.next()?, parts.next()?)?;
            Some(chain.segment(SegmentName::parse_file_name(parts.next()?)?))
        };
        known.segments.keys().filter_map(name).collect()
    }

    /// Remembers that a segment is whole, and saves now and then.
    pub(super) fn remember(
        &self,
        name: &SegmentName,
        stat: &ObjectStat,
        facts: &SegmentFacts,
    ) -> Result<(), StateError> {
        let (Some(final_offset), Some(times)) = (facts.final_offset, facts.timestamps) else { return Ok(()) };
        let entry = json!({
            "is": identity(stat),
            "final_offset": final_offset.get(),
            "record_count": facts.record_count,
            "first": times.first,
            "min": times.min,
            "max": times.max,
        });
        let is_due = {
            let mut known = self.known.lock().expect("a panic ends the process");
            known.segments.insert(name.to_string(), entry);
            known.saved.elapsed() >= SAVE_EVERY
        };
        if is_due { self.save() } else { Ok(()) }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The system's error.
    pub fn save(&self) -> Result<(), StateError> {
        let mut known = self.known.lock().expect("a panic ends the process");
        let segments: Map<String, Value> =
            known.segments.iter().map(|(name, entry)| (name.clone(), entry.clone())).collect();
        let text = json!({ "format": 1, "archive": self.archive, "segments": segments }).to_string();
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.as_file().sync_data()?;
            file.persist(&self.path).map_err(|error| error.error)
        });
        known.saved = Instant::now();
        written.map(drop).map_err(|source| StateError::Io { action: "write", path: self.path.clone(), source })
    }
}

fn parse(path: &Path, bytes: &[u8], archive: &str) -> Result<BTreeMap<String, Value>, StateError> {
    let no_state = || StateError::NoState { path: path.to_owned() };
    let state: Value = serde_json::from_slice(bytes).map_err(|_| no_state())?;
    let of = state["archive"].as_str().filter(|_| state["format"] == 1).ok_or_else(no_state)?;
    if of != archive {
        return Err(StateError::OtherArchive { path: path.to_owned(), archive: of.to_owned() });
    }
    let segments = state["segments"].as_object().ok_or_else(no_state)?;
    Ok(segments.iter().map(|(name, entry)| (name.clone(), entry.clone())).collect())
}

/// Identifies one version of an object.
fn identity(stat: &ObjectStat) -> Value {
    json!([stat.bytes, stat.generation, stat.crc32c, stat.modified_ns])
}
