//! The root logger: lines for people on stderr, written by a thread of their own.

use std::io;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use slog::{Drain, Level, LevelFilter, Logger, o};
use slog_async::{Async, AsyncGuard, OverflowStrategy};
use slog_term::{FullFormat, TermDecorator};
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors.
    #[default]
    Warning,
    /// `-v`: also every change of state.
    Info,
    /// `-vv`: also every effect.
    Debug,
}

impl Verbosity {
    /// From the number of `-v` on the command line.
    pub fn from_count(count: u8) -> Verbosity {
        match count {
            0 => Verbosity::Warning,
            1 => Verbosity::Info,
            _ => Verbosity::Debug,
        }
    }

    /// The least severe level that is written.
    pub fn level(self) -> Level {
        match self {
            Verbosity::Warning => Level::Warning,
            Verbosity::Info => Level::Info,
            Verbosity::Debug => Level::Debug,
        }
    }
}

/// Lines that may wait for the writing thread. Beyond that, who logs waits.
const QUEUED_LINES_MAX: usize = 4096;

/// The writing thread of the one root logger of this process. It is not in [`LogGuard`], because the
/// panic hook has to reach it from any thread.
static WRITER: Mutex<Option<AsyncGuard>> = Mutex::new(None);

/// Starts the root logger.
///
/// Lines never get lost: when the queue is full, who logs waits. Nothing is logged per record, so that
/// waiting means that stderr does not take lines at all. Colours are for terminals only.
pub fn start(verbosity: Verbosity) -> (Logger, LogGuard) {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let decorator = TermDecorator::new().stderr();
    let decorator = if no_colour { decorator.force_plain() } else { decorator }.build();
    let format = FullFormat::new(decorator).use_custom_timestamp(write_timestamp).use_original_order().build();
    // Errors are dropped, here and below: a log that cannot be written must not end the archiving.
    let (queue, writer) = Async::new(format.ignore_res())
        .chan_size(QUEUED_LINES_MAX)
        .overflow_strategy(OverflowStrategy::Block)
        .thread_name("log".to_owned())
        .build_with_guard();
    replace_writer(Some(writer));
    let drain = LevelFilter::new(queue, verbosity.level()).ignore_res();
    (Logger::root(drain, o!()), LogGuard(()))
}

/// Writes out what was logged when it is dropped. Keep it until the end of `main`.
#[derive(Debug)]
#[must_use = "dropping it ends the log"]
pub struct LogGuard(());

impl LogGuard {
    /// Waits until everything logged so far is written, and ends the log: needed before
    /// [`std::process::exit`], which drops nothing.
    pub fn flush(self) {
        drop(self);
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        drop(replace_writer(None));
    }
}

/// As [`LogGuard::flush`], from anywhere, and giving up after a while.
pub(crate) fn flush_within(patience: Duration) {
    let Some(writer) = replace_writer(None) else { return };
    let (done, is_done) = mpsc::channel();
    let flushing = thread::Builder::new().name("log flush".to_owned()).spawn(move || {
        drop(writer);
        let _ = done.send(());
    });
    if flushing.is_ok() {
        let _ = is_done.recv_timeout(patience);
    }
}

fn replace_writer(writer: Option<AsyncGuard>) -> Option<AsyncGuard> {
    let mut current = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *current, writer)
}

/// RFC 3339 in UTC with milliseconds: lines of several machines sort together.
fn write_timestamp(out: &mut dyn io::Write) -> io::Result<()> {
    write_moment(out, OffsetDateTime::now_utc())
}

pub(crate) fn write_moment(mut out: &mut dyn io::Write, moment: OffsetDateTime) -> io::Result<()> {
    moment.format_into(&mut out, TIMESTAMP).map(|_| ()).map_err(io::Error::other)
}

const TIMESTAMP: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339_with_milliseconds() {
        let mut out = Vec::new();
        let moment = OffsetDateTime::from_unix_timestamp_nanos(1_234_567_890_004_999_999).expect("in range");
        write_moment(&mut out, moment).expect("a Vec takes everything");
        assert_eq!(String::from_utf8_lossy(&out), "2009-02-13T23:31:30.004Z");
    }

    #[test]
    fn more_v_is_more_lines() {
        assert_eq!(
            [0, 1, 2, 9].map(|count| Verbosity::from_count(count).level()),
            [Level::Warning, Level::Info, Level::Debug, Level::Debug]
        );
    }
}
