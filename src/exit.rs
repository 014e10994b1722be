//! How a process of kafka-store ends: the exit codes, and what a panic does.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::time::Duration;

/// What a process tells the one that started it.
///
/// The numbers are a promise to scripts and service managers: they never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitCode {
    /// The work is done; for the daemon also: it was asked to stop (SIGTERM, SIGINT) and did, if need be when
    /// `--shutdown-timeout` was over. Nothing is lost by that.
    Done,
    /// Could not start or run: no store, no committed offset under `--offset-reset error`, brokers out
    /// of reach, a store that cannot be written to.
    CannotRun,
    /// The command line is wrong. Nothing was touched.
    WrongUsage,
    /// `--until-end` came to its end, but at least one partition is frozen.
    Frozen,
    /// `--timeout` ended `--until-end` before every target was reached.
    TimedOut,
    /// Another process has taken this member's identity in the group (`group.instance.id`).
    Fenced,
    /// Under `--until-end`, other members of the group did not bring a target forward within `--stall-timeout`.
    Stalled,
    /// `verify` or `audit verify` found problems (65 is `EX_DATAERR` of `sysexits.h`).
    Problems,
    /// An internal error, a bug: the process panicked (70 is `EX_SOFTWARE` of `sysexits.h`).
    Internal,
    /// The disk did not take what was written: a sync failed, or a file in the spool came back changed (71 is `EX_OSERR`
    /// of `sysexits.h`).
    NotDurable,
    /// The audit log cannot be written (74 is `EX_IOERR` of `sysexits.h`).
    Unaudited,
    /// `demo`, `read` or `verify` was interrupted (128 + SIGINT, as shells have it); or a second signal stopped the daemon at
    /// once.
    Interrupted,
}

impl ExitCode {
    /// Every code, in the order of the numbers.
    pub const ALL: [ExitCode; 12] = [
        ExitCode::Done,
        ExitCode::CannotRun,
        ExitCode::WrongUsage,
        ExitCode::Frozen,
        ExitCode::TimedOut,
        ExitCode::Fenced,
        ExitCode::Stalled,
        ExitCode::Problems,
        ExitCode::Internal,
        ExitCode::NotDurable,
        ExitCode::Unaudited,
        ExitCode::Interrupted,
    ];

    /// The number that the process exits with.
    pub const fn number(self) -> u8 {
        match self {
            ExitCode::Done => 0,
            ExitCode::CannotRun => 1,
            ExitCode::WrongUsage => 2,
            ExitCode::Frozen => 3,
            ExitCode::TimedOut => 4,
            ExitCode::Fenced => 5,
            ExitCode::Stalled => 6,
            ExitCode::Problems => 65,
            ExitCode::Internal => 70,
            ExitCode::NotDurable => 71,
            ExitCode::Unaudited => 74,
            ExitCode::Interrupted => 130,
        }
    }

    /// One line for `--help` and the documentation.
    pub const fn description(self) -> &'static str {
        match self {
            ExitCode::Done => "done; or stopped by SIGTERM or SIGINT, within --shutdown-timeout or by it",
            ExitCode::CannotRun => "could not start or run: no store, no committed offset, no broker",
            ExitCode::WrongUsage => "wrong usage of the command line",
            ExitCode::Frozen => "--until-end ended, but at least one partition is frozen",
            ExitCode::TimedOut => "--timeout ended --until-end before its targets",
            ExitCode::Fenced => "another process has this member's group.instance.id",
            ExitCode::Stalled => "--until-end: what other members archive stood still for --stall-timeout",
            ExitCode::Problems => "verify found problems in an archive, or audit verify in audit logs",
            ExitCode::Internal => "internal error: a bug; a restart is safe",
            ExitCode::NotDurable => {
                "the disk failed: a sync (fsync) reported an error; check the disk, a restart is safe"
            }
            ExitCode::Unaudited => "the audit log cannot be written; a restart is safe",
            ExitCode::Interrupted => "interrupted (demo, read, verify); stopped at once by a second signal",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        code.number().into()
    }
}

/// Makes a panic on any thread end the process with [`ExitCode::Internal`]. Call it first in `main`.
///
/// A panicking thread takes its part of the pipeline with it; what is left would run on without it and
/// archive nothing. Recovery is a restart, and a restart is always safe. `panic = "abort"` in the
/// profiles is the second line: this hook runs before it.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        // The last lines before a bug are the ones that explain it. A bounded wait: the thread that
        // writes them may be the one that panicked.
        crate::logging::flush_within(Duration::from_secs(1));
        report(panic);
        std::process::exit(ExitCode::Internal.number().into());
    }));
}

/// Ends the process from any thread, with this line. For what leaves nothing else to do.
pub(crate) fn end_now(code: ExitCode, why: &dyn Display) -> ! {
    crate::logging::flush_within(Duration::from_secs(1));
    let _ = writeln!(std::io::stderr().lock(), "error: {why}");
    std::process::exit(code.number().into());
}

/// Writes what is known. Nothing can be done about a stderr that is gone, and the code still tells.
fn report(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "kafka-store: internal error at {place}: {}", text_of(panic.payload()));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        let _ = writeln!(stderr, "{backtrace}");
    }
    let _ = writeln!(
        stderr,
        "this is a bug in kafka-store {}: please report it with the lines above. \
         The archive is whole; a restart is safe.",
        env!("CARGO_PKG_VERSION")
    );
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else {
        payload.downcast_ref::<String>().map_or("(no message)", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_distinct_and_in_order() {
        assert!(ExitCode::ALL.is_sorted_by(|a, b| a.number() < b.number()));
    }
}
