//! `kafka-store`: the daemon, and the commands beside it.

use std::fmt::Display;
use std::io::{self, Write};

use kafka_store::avro::DecodeMemory;
use kafka_store::cli::{Cli, Command, DaemonArgs};
use kafka_store::commands::{CommandError, audit, demo, find, index, ls, plan, read, resolve, verify};
use kafka_store::config::DaemonConfig;
use kafka_store::daemon;
use kafka_store::exit::{self, ExitCode};
use kafka_store::logging;
use slog::Logger;

fn main() -> std::process::ExitCode {
    exit::install_panic_hook();
    match Cli::from_process() {
        Ok(cli) => dispatch(cli).into(),
        Err(answered) => answered.into(),
    }
}

fn dispatch(cli: Cli) -> ExitCode {
    match cli.command {
        None => with_config(&cli.daemon, daemon::run),
        Some(Command::Audit(args)) => told(audit::run(&args)),
        Some(Command::Demo(args)) => told(demo::run(&args).map(|()| ExitCode::Done)),
        Some(Command::Find(args)) => told(find::run(&args)),
        Some(Command::Index(args)) => told(index::run(&args)),
        Some(Command::Ls(args)) => told(ls::run(&args).map(|()| ExitCode::Done)),
        Some(Command::Plan(args)) => {
            with_config(&args.daemon, |config, log| told(plan::run(config, log).map(|()| ExitCode::Done)))
        }
        Some(Command::Read(args)) => told(read::run(&args).map(|()| ExitCode::Done)),
        Some(Command::Resolve(args)) => {
            with_config(&args.daemon, |config, log| told(resolve::run(&args, config, log).map(|()| ExitCode::Done)))
        }
        Some(Command::Verify(args)) => told(verify::run(&args)),
    }
}

fn with_config(args: &DaemonArgs, run: impl FnOnce(&DaemonConfig, &Logger) -> ExitCode) -> ExitCode {
    let config = match DaemonConfig::parse(args) {
        Ok(config) => config,
        Err(errors) => {
            tell(&errors);
            return errors.exit_code();
        }
    };
    let (log, _flushed_at_the_end) = logging::start(config.verbosity);
    DecodeMemory::limit_process(config.memory.limit_bytes);
    slog::debug!(log, "configuration read"; "config" => ?config);
    run(&config, &log)
}

/// How a command ended; its error is one line on stderr.
fn told(result: Result<ExitCode, CommandError>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            tell(&format_args!("error: {error}\n"));
            error.exit_code()
        }
    }
}

/// To stderr. Not by `eprint!`: where stderr takes nothing, that is a panic, and the exit code still tells.
fn tell(text: &dyn Display) {
    let _ = write!(io::stderr(), "{text}");
}
