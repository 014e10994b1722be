//! The command line of `kafka-store`: what can be written. What it means is [`crate::config`].

mod daemon;
mod environment;
mod gcs;
mod help;
mod index;
mod redacted;
mod resolve;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

pub use daemon::DaemonArgs;
pub use gcs::GcsArgs;
pub use index::{IndexArgs, TlsMode};
pub use redacted::Redacted;
pub use resolve::ResolveArgs;

use crate::commands::audit::AuditArgs;
use crate::commands::demo::DemoArgs;
use crate::commands::find::FindArgs;
use crate::commands::index::IndexCommandArgs;
use crate::commands::ls::LsArgs;
use crate::commands::read::ReadArgs;
use crate::commands::verify::VerifyArgs;
use crate::exit::ExitCode;

/// Archives every record of Kafka topics, exactly once, in large compressed Avro files
///
/// Without a command it runs until it is stopped, as a member of a consumer group: start as many as
/// needed. Each file holds the records of one partition from the offset that is its name on, and is never
/// changed: DIR/TOPIC/PARTITION/OFFSET. After a crash, a restart goes on with the same files.
#[derive(Debug, Parser)]
#[command(
    name = "kafka-store",
    version,
    override_usage = help::USAGE,
    after_help = help::after_help(),
    infer_long_args = true,
    // The daemon is not a command, so that the command line of the original works as it is; its flags
    // and a command exclude each other.
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
)]
pub struct Cli {
    /// The daemon's flags, where no command is given.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// What to do instead of running the daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The daemon's flags, for `plan`.
#[derive(clap::Args, Clone, Debug)]
pub struct PlanArgs {
    /// As the daemon's.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// What `kafka-store` does beside running the daemon.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Verify audit logs (--audit-log)
    Audit(AuditArgs),
    /// Show it at work, without Kafka: produce, archive, read back and compare
    Demo(DemoArgs),
    /// Say which file holds an offset or a moment
    Find(FindArgs),
    /// Make, migrate and look at the index (--mysql-metadata-url)
    Index(IndexCommandArgs),
    /// List what an archive holds: topics, partitions, segments, and what is missing
    Ls(LsArgs),
    /// Say what the daemon would do with the same flags, and change nothing
    Plan(Box<PlanArgs>),
    /// Print the records of a file, a partition, a topic or an archive
    Read(ReadArgs),
    /// Show the ways out for frozen partitions, and take one
    Resolve(Box<ResolveArgs>),
    /// Verify an archive: every segment, every chain, and nothing missing
    Verify(Box<VerifyArgs>),
}

impl Cli {
    /// Reads the arguments of this process. `Err` when they were answered already: help, version, or what
    /// is wrong with them.
    pub fn from_process() -> Result<Cli, ExitCode> {
        environment::parse(std::env::args_os()).map_err(|answer| {
            // A closed stdout or stderr takes no answer; the exit code is still one.
            let _ = answer.print();
            match answer.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::Done,
                _ => ExitCode::WrongUsage,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// docopt took unique prefixes, so scripts have them: a new flag must not make one ambiguous.
    #[test]
    fn every_prefix_that_the_original_took_still_works() {
        const WITH_VALUE: [&str; 9] = [
            "broker-list",
            "topic",
            "group",
            "offset-reset",
            "file-size",
            "file-age-seconds",
            "gcloud-store-url",
            "local-store",
            "mysql-metadata-url",
        ];
        let parsed = |flag: &str| {
            let takes_value = !flag.starts_with("--v");
            let flag = if takes_value { format!("{flag}=7") } else { flag.to_owned() };
            Cli::try_parse_from(["kafka-store", &flag]).map(|cli| format!("{cli:?}"))
        };
        let all: Vec<&str> = WITH_VALUE.into_iter().chain(["verbose", "help"]).collect();
        for name in all.iter().filter(|name| **name != "help") {
            let whole = parsed(&format!("--{name}")).expect(name);
            for length in 1..name.len() {
                let prefix = &name[..length];
                if all.iter().filter(|other| other.starts_with(prefix)).count() == 1 {
                    assert_eq!(parsed(&format!("--{prefix}")).expect(prefix), whole, "--{prefix}");
                }
            }
        }
    }

    #[test]
    fn the_reference_has_every_flag() {
        let reference = include_str!("../README.md");
        for argument in Cli::command().get_arguments().filter(|argument| !argument.is_hide_set()) {
            if let Some(long) = argument.get_long() {
                assert!(reference.contains(&format!("`--{long}")), "--{long} is missing");
            }
        }
    }

    #[test]
    fn help_and_reference_have_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        let reference = include_str!("../README.md");
        for code in ExitCode::ALL {
            let (number, description) = (code.number(), code.description());
            assert!(help.contains(&format!("{number:>4}  {description}\n")), "{code:?}\n{help}");
            assert!(reference.contains(&format!("| {number} | {description} |\n")), "{code:?}");
        }
    }
}
