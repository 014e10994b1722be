//! `kafka-store`: the daemon, and the commands beside it.

use std::fmt::Display;
use std::io::{self, Write};

use kafka_store::cli::{Cli, Command, DaemonArgs};
use kafka_store::config::DaemonConfig;
use kafka_store::daemon;
use kafka_store::exit::{self, ExitCode};
use kafka_store::logging;

fn main() -> std::process::ExitCode {
    exit::install_panic_hook();
    match Cli::from_process() {
        Ok(cli) => dispatch(cli).into(),
        Err(answered) => answered.into(),
    }
}

fn dispatch(cli: Cli) -> ExitCode {
    match cli.command {
        None => run_daemon(&cli.daemon),
        Some(Command::Demo(_)) => unavailable("demo"),
        Some(Command::Read(_)) => unavailable("read"),
    }
}

fn run_daemon(args: &DaemonArgs) -> ExitCode {
    let config = match DaemonConfig::parse(args) {
        Ok(config) => config,
        Err(errors) => {
            tell(&errors);
            return errors.exit_code();
        }
    };
    let (log, _flushed_at_the_end) = logging::start(config.verbosity);
    slog::debug!(log, "configuration read"; "config" => ?config);
    daemon::run(&config, &log)
}

/// What the command line knows and this build does not contain.
fn unavailable(what: &str) -> ExitCode {
    tell(&format_args!("error: {what} is not part of this build\n"));
    ExitCode::CannotRun
}

/// To stderr. Not by `eprint!`: where stderr takes nothing, that is a panic, and the exit code still tells.
fn tell(text: &dyn Display) {
    let _ = write!(io::stderr(), "{text}");
}
