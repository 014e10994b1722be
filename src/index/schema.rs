//! The schema: its versions, how one becomes the next, and whether what is there is one of them.
//!
//! A server ends each statement that changes a table by itself: no transaction holds several of them together. So each
//! migration is one statement, which is done or not done. A process that dies after the statement, before its version is
//! written down, leaves a table that is ahead of its history; the next migration sees that by the table's shape, and
//! writes down what is done.

use super::config::IndexConfig;
use super::error::{IndexError, IndexErrorKind, IndexResult};
use super::shape::{CLUSTER_TABLE, Shape, TABLE, has_table, shape};
use kafka_store_statecharts::topic::TopicName;
use mysql::Conn;
use mysql::prelude::Queryable;
use refinery::{Migration, Runner, Target};
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Which migrations were made, in the form of the crate `refinery`.
const HISTORY_TABLE: &str = "kafka_store_schema_history";
/// The version of the schema that this program knows.
pub const SCHEMA_VERSION: i32 = 3;
/// Rewriting a table of many million rows takes its time, and the server says nothing meanwhile.
const MIGRATION_TIME: Duration = Duration::from_secs(6 * 3600);
/// How long another process's migration is waited for.
const OTHERS_MIGRATION_SECONDS: u32 = 600;
/// The name of the lock that one process holds while it migrates.
const LOCK: &str = "kafka_store.schema";

/// What a database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// No table of segments.
    Absent,
    /// The original tool's table.
    Original,
    /// Tables between two versions: a migration was cut short, or is of an older version of this program.
    Behind {
        /// What is done.
        version: i32,
    },
    /// What this program works with.
    Current,
    /// A newer version of this program made it.
    Newer {
        /// Its version.
        version: i32,
    },
    /// None of these: what differs.
    Unknown(String),
}

impl SchemaState {
    /// Looks at a database.
    ///
    /// # Errors
    /// If the server cannot say.
    pub(super) fn look(connection: &mut Conn, database: &str) -> IndexResult<SchemaState> {
        let history = applied_version(connection, database)?;
        let table = shape(connection, database)?;
        let state = match (table, history) {
            (_, Some(version)) if version > SCHEMA_VERSION => SchemaState::Newer { version },
            (Shape::Unknown(what), _) => SchemaState::Unknown(what),
            (Shape::Absent, Some(version)) if version > 0 => {
                SchemaState::Unknown(format!("{HISTORY_TABLE} says version {version}, and there is no table {TABLE}"))
            }
            (Shape::Absent, Some(_)) => SchemaState::Behind { version: 0 },
            (Shape::Absent, None) => SchemaState::Absent,
            (Shape::Original, Some(version)) if version > 1 => SchemaState::Unknown(format!(
                "{HISTORY_TABLE} says version {version}, and {TABLE} is the table of the original kafka-store"
            )),
            (Shape::Original, Some(_)) => SchemaState::Behind { version: 1 },
            (Shape::Original, None) => SchemaState::Original,
            (Shape::Wide, history) => {
                if history == Some(SCHEMA_VERSION) && has_table(connection, database, CLUSTER_TABLE)? {
                    SchemaState::Current
                } else if history.is_some_and(|version| version > 2) {
                    SchemaState::Unknown(format!("there is no table {CLUSTER_TABLE}"))
                } else {
                    SchemaState::Behind { version: 2 }
                }
            }
        };
        Ok(state)
    }

    /// The error of a process that needs the schema as it should be.
    pub(super) fn require(&self, config: &IndexConfig) -> IndexResult<()> {
        let advice = match self {
            SchemaState::Current => return Ok(()),
            SchemaState::Absent => "make it with: kafka-store index init",
            SchemaState::Original | SchemaState::Behind { .. } => "migrate it with: kafka-store index migrate",
            SchemaState::Newer { .. } => "use that version of kafka-store, or another database",
            SchemaState::Unknown(_) => "name another database, or put the table right; nothing was changed",
        };
        Err(IndexError::new(IndexErrorKind::Schema, format!("{config} {self}: {advice}")))
    }
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaState::Absent => f.write_str("has no index"),
            SchemaState::Original => f.write_str("has the table of the original kafka-store"),
            SchemaState::Behind { version } => {
                write!(f, "has a schema of version {version} of {SCHEMA_VERSION}")
            }
            SchemaState::Current => write!(f, "has an index, schema version {SCHEMA_VERSION}"),
            SchemaState::Newer { version } => {
                write!(f, "has a schema of version {version}, and this kafka-store knows {SCHEMA_VERSION}")
            }
            SchemaState::Unknown(what) => write!(f, "has tables that are no index of kafka-store ({what})"),
        }
    }
}

/// What a migration found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// What was there before.
    pub before: SchemaState,
    /// The migrations that were made, in order.
    pub applied: Vec<String>,
    /// The rows in the table of segments now.
    pub rows: u64,
    /// Rows whose topic has as many characters as the original's column: it may have cut them.
    pub cut_topics: u64,
}

/// Brings the schema to this program's version. One process does it, others wait.
pub(super) fn migrate(
    config: &IndexConfig,
    is_wanted: impl Fn(&SchemaState) -> IndexResult<()>,
) -> IndexResult<Migrated> {
    let mut connection = Conn::new(config.opts().read_timeout(Some(MIGRATION_TIME)))?;
    lock(&mut connection)?;
    let before = SchemaState::look(&mut connection, config.database())?;
    is_wanted(&before)?;
    let applied = match &before {
        SchemaState::Current => Vec::new(),
        SchemaState::Newer { .. } | SchemaState::Unknown(_) => {
            before.require(config)?;
            Vec::new()
        }
        SchemaState::Absent => apply(&mut connection, 0)?,
        SchemaState::Original | SchemaState::Behind { version: 1 } => {
            refuse_odd_topics(&mut connection)?;
            apply(&mut connection, i32::from(before != SchemaState::Original))?
        }
        SchemaState::Behind { version } => apply(&mut connection, *version)?,
    };
    SchemaState::look(&mut connection, config.database())?.require(config)?;
    let (rows, cut_topics) = connection
        .query_first(format!(
            "SELECT COUNT(*), COALESCE(SUM(CHAR_LENGTH(topic) = 191 AND recordCount IS NULL), 0) FROM {TABLE}"
        ))?
        .unwrap_or_default();
    // The lock ends with the connection.
    Ok(Migrated { before, applied, rows, cut_topics })
}

fn lock(connection: &mut Conn) -> IndexResult<()> {
    let taken: Option<Option<u8>> = connection.exec_first("SELECT GET_LOCK(?, ?)", (LOCK, OTHERS_MIGRATION_SECONDS))?;
    match taken.flatten() {
        Some(1) => Ok(()),
        _ => {
            Err(IndexError::new(IndexErrorKind::Busy, "another process has been migrating the schema for ten minutes"))
        }
    }
}

/// Makes the migrations after this version, which the tables have already.
fn apply(connection: &mut Conn, done: i32) -> IndexResult<Vec<String>> {
    let migrations = migrations()?;
    let mut runner = Runner::new(&migrations);
    runner.set_migration_table_name(HISTORY_TABLE);
    if done > 0 {
        // What a process did that died before it could say so.
        let runner = runner.set_target(Target::FakeVersion(done));
        runner.run(connection).map_err(|error| failed(&error))?;
    }
    let mut runner = Runner::new(&migrations);
    runner.set_migration_table_name(HISTORY_TABLE);
    let report = runner.run(connection).map_err(|error| failed(&error))?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

/// A topic that Kafka cannot have does not fit into the new column: nothing is cut or replaced in silence.
fn refuse_odd_topics(connection: &mut Conn) -> IndexResult<()> {
    let topics: Vec<Vec<u8>> = connection.query(format!("SELECT DISTINCT CAST(topic AS BINARY) FROM {TABLE}"))?;
    let is_odd = |topic: &&Vec<u8>| std::str::from_utf8(topic).map_or(true, |topic| TopicName::new(topic).is_err());
    match topics.iter().find(is_odd) {
        None => Ok(()),
        Some(topic) => Err(IndexError::new(
            IndexErrorKind::Schema,
            format!(
                "{TABLE} has rows of {:?}, which is no name of a Kafka topic: move them elsewhere; nothing was changed",
                String::from_utf8_lossy(topic)
            ),
        )),
    }
}

fn migrations() -> IndexResult<Vec<Migration>> {
    let all = [
        ("V1__original_table", include_str!("migrations/V1__original_table.sql")),
        ("V2__wider_rows", include_str!("migrations/V2__wider_rows.sql")),
        ("V3__cluster", include_str!("migrations/V3__cluster.sql")),
    ];
    all.into_iter().map(|(name, sql)| Migration::unapplied(name, sql).map_err(|error| failed(&error))).collect()
}

fn failed(error: &refinery::Error) -> IndexError {
    let mut message = format!("the schema could not be migrated: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    IndexError::new(IndexErrorKind::Refused, message)
}

/// The last migration that was made; `None` if none was ever begun.
fn applied_version(connection: &mut Conn, database: &str) -> IndexResult<Option<i32>> {
    if !has_table(connection, database, HISTORY_TABLE)? {
        return Ok(None);
    }
    let version: Option<Option<i32>> = connection.query_first(format!("SELECT MAX(version) FROM {HISTORY_TABLE}"))?;
    Ok(Some(version.flatten().unwrap_or(0)))
}
