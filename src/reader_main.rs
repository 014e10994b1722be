//! `kafka-store-reader`: prints archived records as the original tool's reader did.

use clap::error::ErrorKind;
use kafka_store::commands::reader::{self, ReaderCli};
use kafka_store::exit::{self, ExitCode};
use std::io::Write;

fn main() -> std::process::ExitCode {
    exit::install_panic_hook();
    let cli = match ReaderCli::from_args(std::env::args_os()) {
        Ok(cli) => cli,
        Err(answer) => {
            // A closed stdout or stderr takes no answer; the exit code is still one.
            let _ = answer.print();
            return match answer.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::Done,
                _ => ExitCode::WrongUsage,
            }
            .into();
        }
    };
    match reader::run(&cli) {
        Ok(()) => ExitCode::Done.into(),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            error.exit_code().into()
        }
    }
}
