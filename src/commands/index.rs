//! `kafka-store index`: the table of the index itself.

use super::error::CommandError;
use crate::cli::IndexArgs;
use crate::config::index_config;
use crate::exit::ExitCode;
use crate::index::{IndexStatus, Migrated, MysqlIndex, SCHEMA_VERSION, SchemaState};
use clap::{Args, Subcommand};
use slog::{Discard, Logger, o};
use std::io::{self, Write};

mod rebuild;

pub use rebuild::RebuildArgs;

/// What to do with the index.
#[derive(Args, Clone, Debug)]
pub struct IndexCommandArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: IndexCommand,
}

/// What can be done with an index.
#[derive(Clone, Debug, Subcommand)]
pub enum IndexCommand {
    /// Make the tables in a database that has none
    ///
    /// Where they are already, nothing is done. A table of the Python tool is refused: migrate it.
    Init(TableArgs),
    /// Widen the Python tool's table, or bring older tables to this version; no row is lost
    ///
    /// Stop every daemon that writes to the table before. The table is rewritten: that takes its time, and for that
    /// time the disk it takes once more. What was cut short goes on when it is called again.
    Migrate(TableArgs),
    /// Say what the database holds, and change nothing
    Status(StatusArgs),
    /// Make the rows anew from the files alone, and tell of every row that was missing or said something else
    Rebuild(RebuildArgs),
}

impl IndexCommand {
    /// Which index it is about.
    pub(crate) fn index(&mut self) -> &mut IndexArgs {
        match self {
            IndexCommand::Init(args) | IndexCommand::Migrate(args) => &mut args.index,
            IndexCommand::Status(args) => &mut args.index,
            IndexCommand::Rebuild(args) => &mut args.index,
        }
    }
}

/// An index, and whose it is.
#[derive(Args, Clone, Debug)]
pub struct TableArgs {
    /// Where it is.
    #[command(flatten)]
    pub index: IndexArgs,
    /// The id of the Kafka cluster whose files it is for [default: that of the first daemon that writes to it]
    #[arg(long, value_name = "ID", help_heading = "Index")]
    pub cluster_id: Option<String>,
}

/// An index.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Where it is.
    #[command(flatten)]
    pub index: IndexArgs,
    /// Print one object of JSON
    #[arg(long)]
    pub json: bool,
}

/// Does what `args` ask for.
///
/// # Errors
/// What keeps it from being done: one line.
pub fn run(args: &IndexCommandArgs) -> Result<ExitCode, CommandError> {
    let mut out = io::stdout().lock();
    match &args.command {
        IndexCommand::Init(args) => change(args, MysqlIndex::init, &mut out),
        IndexCommand::Migrate(args) => change(args, MysqlIndex::migrate, &mut out),
        IndexCommand::Status(args) => status(args, &mut out),
        IndexCommand::Rebuild(args) => rebuild::run(args),
    }
}

/// The index that the flags name. It must be named.
pub(super) fn open(args: &IndexArgs) -> Result<MysqlIndex, CommandError> {
    open_if_named(args)?.ok_or_else(|| {
        let message = "--mysql-metadata-url (or KAFKA_STORE_MYSQL_METADATA_URL) must name the index";
        CommandError::with_code(message, ExitCode::WrongUsage)
    })
}

/// The index that the flags name, if they name one.
pub(super) fn open_if_named(args: &IndexArgs) -> Result<Option<MysqlIndex>, CommandError> {
    let config =
        index_config(args).map_err(|lines| CommandError::with_code(lines.join("\nerror: "), ExitCode::WrongUsage))?;
    // A command tells of trouble itself.
    Ok(config.map(|config| MysqlIndex::new(config, Logger::root(Discard, o!()))))
}

/// An error of the index as a command's.
pub(super) fn failed(error: &dyn std::error::Error) -> CommandError {
    CommandError::from_error(error)
}

fn told(error: io::Error) -> CommandError {
    CommandError::new(format!("cannot write to standard output: {error}"))
}

fn change(
    args: &TableArgs,
    how: fn(&MysqlIndex) -> crate::index::IndexResult<Migrated>,
    out: &mut impl Write,
) -> Result<ExitCode, CommandError> {
    let index = open(&args.index)?;
    let migrated = how(&index).map_err(|error| failed(&error))?;
    if let Some(cluster_id) = &args.cluster_id {
        index.settle_cluster(cluster_id).map_err(|error| failed(&error))?;
    }
    let describe = index.describe();
    if migrated.applied.is_empty() {
        writeln!(out, "{describe}: schema version {SCHEMA_VERSION}, as it should be").map_err(told)?;
    } else {
        writeln!(out, "{describe} {}", migrated.before).map_err(told)?;
        for name in &migrated.applied {
            writeln!(out, "  made {name}").map_err(told)?;
        }
        let rows = migrated.rows;
        writeln!(out, "{describe}: schema version {SCHEMA_VERSION}, {rows} rows").map_err(told)?;
    }
    if migrated.cut_topics > 0 {
        writeln!(
            out,
            "note: {} rows have topics of 191 characters, which the old table may have cut; the daemon and `kafka-store \
             index rebuild` write the right ones",
            migrated.cut_topics
        )
        .map_err(told)?;
    }
    Ok(ExitCode::Done)
}

fn status(args: &StatusArgs, out: &mut impl Write) -> Result<ExitCode, CommandError> {
    let index = open(&args.index)?;
    let status = index.status().map_err(|error| failed(&error))?;
    let IndexStatus { schema, cluster_id, counts, server } = &status;
    if args.json {
        let object = serde_json::json!({
            "index": index.describe(),
            "server": server,
            "state": state_name(schema),
            "schema_version": SCHEMA_VERSION,
            "cluster_id": cluster_id,
            "topics": counts.map(|counts| counts.0),
            "chains": counts.map(|counts| counts.1),
            "rows": counts.map(|counts| counts.2),
        });
        writeln!(out, "{object}").map_err(told)?;
    } else {
        writeln!(out, "index    {}\nserver   {server}\nschema   {schema}", index.describe()).map_err(told)?;
        if let Some((topics, chains, rows)) = counts {
            let cluster = cluster_id.as_deref().unwrap_or("(not written down yet)");
            writeln!(out, "cluster  {cluster}\ntopics   {topics}\nchains   {chains}\nrows     {rows}").map_err(told)?;
        }
    }
    Ok(if *schema == SchemaState::Current { ExitCode::Done } else { ExitCode::CannotRun })
}

fn state_name(schema: &SchemaState) -> &'static str {
    match schema {
        SchemaState::Absent => "absent",
        SchemaState::Original => "original",
        SchemaState::Behind { .. } => "behind",
        SchemaState::Current => "current",
        SchemaState::Newer { .. } => "newer",
        SchemaState::Unknown(_) => "unknown",
    }
}
