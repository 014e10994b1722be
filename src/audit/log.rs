//! The writer of the audit log.

use super::file::{AuditFileSettings, LineFile, STAMP};
use super::line::{Content, InstanceStart, Line};
use crate::exit::{self, ExitCode};
use kafka_store_actors::transition::{TransitionLog, TransitionRecord};
use slog::{BorrowedKV, Drain, Level, Logger, OwnedKVList, Record, o};
use slog_json::Json;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;

/// The audit log of this process.
///
/// A line is with the operating system when the call that made it returns, so that its effects start after it. A line
/// that cannot be written ends the process with [`ExitCode::Unaudited`]: nothing happens that is not kept.
pub struct AuditLog {
    path: PathBuf,
    instance: String,
    writer: Mutex<Writer>,
}

/// Why the audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("--audit-log {}: {reason}", path.display())]
pub struct AuditLogError {
    path: PathBuf,
    reason: String,
}

struct Writer {
    /// How many lines this instance has written.
    sequence: u64,
    json: Json<LineFile>,
    no_context: OwnedKVList,
    /// The last line is written.
    ended: bool,
}

impl AuditLog {
    /// Opens the file for this process alone.
    ///
    /// # Errors
    /// If it cannot be written to, or another process has it.
    pub fn open(settings: &AuditFileSettings, log: &Logger) -> Result<AuditLog, AuditLogError> {
        let path = settings.path.clone();
        match LineFile::open(settings.clone(), log.clone()) {
            Ok(file) => Ok(AuditLog::new(path, instance_name(), file)),
            Err(reason) => Err(AuditLogError { path, reason }),
        }
    }

    pub(super) fn new(path: PathBuf, instance: String, file: LineFile) -> AuditLog {
        let json = Json::new(file).set_newlines(true).set_flush(true).build();
        let writer = Writer { sequence: 0, json, no_context: o!().into(), ended: false };
        AuditLog { path, instance, writer: Mutex::new(writer) }
    }

    /// Writes the instance's first line.
    pub fn start(&self, start: &InstanceStart) {
        self.write(wall_ms(), Content::Started(start));
    }

    /// Writes the instance's last line. What wants to be recorded after it waits for the end of the process.
    pub fn end(&self, code: ExitCode) {
        self.write(wall_ms(), Content::Ended(code));
    }

    fn write(&self, wall_ms: i64, content: Content<'_>) {
        let mut writer = self.lock();
        if writer.ended {
            drop(writer);
            loop {
                std::thread::park();
            }
        }
        writer.sequence += 1;
        let line = Line { sequence: writer.sequence, wall_ms, instance: &self.instance, content };
        let about = slog::record_static!(Level::Info, "");
        if let Err(error) =
            writer.json.log(&Record::new(&about, &format_args!(""), BorrowedKV(&line)), &writer.no_context)
        {
            // Under the lock: no other thread gets past this line.
            give_up(&self.path, &error);
        }
        writer.ended = matches!(content, Content::Ended(_));
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        // A panic ends the process; until it has, a line of another thread is as good as ever.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TransitionLog for AuditLog {
    fn record(&self, transition: &TransitionRecord<'_>) {
        self.write(transition.now.wall_ms, Content::Transition(transition));
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("path", &self.path).field("instance", &self.instance).finish_non_exhaustive()
    }
}

fn give_up(path: &Path, error: &std::io::Error) -> ! {
    exit::end_now(
        ExitCode::Unaudited,
        &format_args!(
            "the audit log {} cannot be written: {error}. Nothing goes on unaudited; make room for it and start \
             again: the archive is whole, a restart is safe",
            path.display()
        ),
    )
}

/// One run of the program: the host, the process id, and when it started.
fn instance_name() -> String {
    let system = rustix::system::uname();
    let started = OffsetDateTime::now_utc().format(STAMP).unwrap_or_default();
    format!("{}-{}-{started}", system.nodename().to_string_lossy(), std::process::id())
}

fn wall_ms() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}
