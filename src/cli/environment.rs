//! Flags from environment variables: `KAFKA_STORE_FILE_SIZE` for `--file-size`. The command line wins.

use super::{Cli, Command, IndexArgs, Redacted};
use clap::builder::FalseyValueParser;
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// What all names begin with.
const PREFIX: &str = "KAFKA_STORE_";

/// Reads a command line, and for the daemon's flags the environment.
///
/// The command line is read twice: whether a variable counts depends on the command, so that the variables of
/// a machine that runs the daemon break no other command. The commands that ask the index take its flags alone from
/// the environment.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    let alone = Cli::command().try_get_matches_from(&args)?;
    let command = match alone.subcommand_name() {
        None => Cli::command().mut_args(with_variable),
        Some(name @ ("plan" | "resolve")) => Cli::command().mut_subcommand(name, |command| {
            command.mut_args(|arg| if is_the_daemons(&arg) { with_variable(arg) } else { arg })
        }),
        Some("find") => Cli::command().mut_subcommand("find", with_variables_of_the_index),
        // Only who asks for the index gets it.
        Some("verify") if alone.subcommand_matches("verify").is_some_and(|verify| verify.get_flag("index")) => {
            Cli::command().mut_subcommand("verify", with_variables_of_the_index)
        }
        Some("index") => {
            Cli::command().mut_subcommand("index", |index| index.mut_subcommands(with_variables_of_the_index))
        }
        Some(_) => return Cli::from_arg_matches(&alone),
    };
    let mut cli = Cli::from_arg_matches(&command.try_get_matches_from(&args)?)?;
    if let Some(index) = index_of(&mut cli) {
        index.mysql_password = std::env::var(format!("{PREFIX}MYSQL_PASSWORD")).ok().map(|text| Redacted::new(&text));
    }
    let daemon = match &mut cli.command {
        Some(Command::Plan(plan)) => &mut plan.daemon,
        Some(Command::Resolve(resolve)) => &mut resolve.daemon,
        _ => &mut cli.daemon,
    };
    if daemon.kafka_properties.is_empty()
        && let Ok(lines) = std::env::var(format!("{PREFIX}X"))
    {
        daemon.kafka_properties = lines.lines().filter(|line| !line.trim().is_empty()).map(Redacted::new).collect();
    }
    Ok(cli)
}

/// The flags of the index, where the command has them.
fn index_of(cli: &mut Cli) -> Option<&mut IndexArgs> {
    match &mut cli.command {
        None => Some(&mut cli.daemon.index),
        Some(Command::Plan(plan)) => Some(&mut plan.daemon.index),
        Some(Command::Resolve(resolve)) => Some(&mut resolve.daemon.index),
        Some(Command::Find(find)) => Some(&mut find.index),
        Some(Command::Index(index)) => Some(index.command.index()),
        Some(Command::Verify(verify)) => Some(&mut verify.index_flags),
        Some(_) => None,
    }
}

fn with_variables_of_the_index(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| {
        let is_of_the_index = arg.get_id().as_str().starts_with("mysql_");
        if is_of_the_index { with_variable(arg) } else { arg }
    })
}

/// What a command takes beside the daemon's flags is written out each time.
fn is_the_daemons(arg: &Arg) -> bool {
    Cli::command().get_arguments().any(|daemons| daemons.get_id() == arg.get_id())
}

fn with_variable(arg: Arg) -> Arg {
    let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version")) else { return arg };
    let name = format!("{PREFIX}{}", long.replace('-', "_").to_ascii_uppercase());
    // A switch is off where its variable says 0, false, no or nothing.
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = arg.env(name).hide_env_values(true);
    if is_switch { arg.value_parser(FalseyValueParser::new()) } else { arg }
}
