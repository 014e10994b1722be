//! The index: a row in MySQL for each stored segment, so that others find offsets and moments without listing the store.
//!
//! The table is the original tool's, with more columns (`docs/index.md`). The store decides, the index follows: a row is
//! written after its object is stored, and an offset is committed after its row is written. All calls block; they are
//! made off the actors' threads.
//!
//! **Architecture invariant:** nothing here knows the store, Kafka or Avro.

mod alarm;
mod cluster;
mod config;
mod connections;
mod error;
mod find;
mod replace;
mod row;
mod schema;
mod shape;
mod write;
mod writer;

pub use config::{IndexConfig, IndexUrlError, Tls};
pub use error::{IndexError, IndexErrorKind, IndexResult};
pub use find::Moment;
pub use replace::Replacement;
pub use row::RowValues;
pub use schema::{Migrated, SCHEMA_VERSION, SchemaState};
pub use write::{LastRow, RowOutcome};
pub use writer::IndexWriter;

use connections::Connections;
use kafka_store_statecharts::failure::Class;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::{PartitionId, TopicName};
use mysql::prelude::Queryable;
use mysql::{Conn, TxOpts};
use slog::Logger;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An index on a server. Clones share their connections.
#[derive(Clone, Debug)]
pub struct MysqlIndex {
    connections: Arc<Connections>,
}

/// What an index is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexStatus {
    /// Its schema.
    pub schema: SchemaState,
    /// Whose segments it holds, where that is written down.
    pub cluster_id: Option<String>,
    /// Topics, chains and rows.
    pub counts: Option<(u64, u64, u64)>,
    /// What the server says of itself.
    pub server: String,
}

impl MysqlIndex {
    /// An index that nobody has spoken to yet.
    pub fn new(config: IndexConfig, log: Logger) -> MysqlIndex {
        MysqlIndex { connections: Arc::new(Connections::new(config, log)) }
    }

    /// How often something had to be tried again, because the server was away or did not want to, by class.
    pub fn failures(&self) -> BTreeMap<Class, u64> {
        self.connections.failures()
    }

    /// Why the server does not answer, and for how long, if it does not.
    pub fn trouble(&self) -> Option<(IndexError, Duration)> {
        self.connections.trouble()
    }

    /// The index itself, for messages: its URL without the password.
    pub fn describe(&self) -> String {
        self.connections.config().to_string()
    }

    /// Checks that the schema is this program's, that the table belongs to this cluster (and says so where it belongs to
    /// none yet), and that rows can be written.
    ///
    /// # Errors
    /// What stands in the way, and what to do about it.
    pub fn prepare(&self, cluster_id: Option<&str>) -> IndexResult<()> {
        let config = self.connections.config();
        self.connections.run(|connection| {
            SchemaState::look(connection, config.database())?.require(config)?;
            try_to_write(connection)?;
            cluster::settle_cluster(connection, cluster_id.unwrap_or_default())
        })
    }

    /// As [`MysqlIndex::prepare`], and writes nothing.
    ///
    /// # Errors
    /// What stands in the way, and what to do about it.
    pub fn check(&self, cluster_id: Option<&str>) -> IndexResult<()> {
        let config = self.connections.config();
        self.connections.run(|connection| {
            SchemaState::look(connection, config.database())?.require(config)?;
            try_to_write(connection)?;
            match cluster::cluster(connection)? {
                Some(stored) => cluster::check(&stored, cluster_id.unwrap_or_default()),
                None => Ok(()),
            }
        })
    }

    /// Checks only that the schema is this program's.
    ///
    /// # Errors
    /// If it is not, with what to do about it; or if the server cannot say.
    pub fn check_schema(&self) -> IndexResult<()> {
        let config = self.connections.config();
        self.connections.run(|connection| SchemaState::look(connection, config.database())?.require(config))
    }

    /// Makes the schema in a database that has none; where this version's is there already, nothing is done.
    ///
    /// # Errors
    /// If the database holds something else, or the server refuses.
    pub fn init(&self) -> IndexResult<Migrated> {
        let config = self.connections.config();
        schema::migrate(config, |state| match state {
            SchemaState::Original | SchemaState::Behind { version: 1.. } => state.require(config),
            _ => Ok(()),
        })
    }

    /// Brings the schema that is there to this program's version, without losing a row.
    ///
    /// # Errors
    /// If the database holds no index, or something else, or the server refuses.
    pub fn migrate(&self) -> IndexResult<Migrated> {
        let config = self.connections.config();
        schema::migrate(config, |state| match state {
            SchemaState::Absent => state.require(config),
            _ => Ok(()),
        })
    }

    /// Writes down whose segments the table holds, if that is not known yet.
    ///
    /// # Errors
    /// If they are another cluster's, or the server cannot be asked.
    pub fn settle_cluster(&self, cluster_id: &str) -> IndexResult<()> {
        self.connections.run(|connection| cluster::settle_cluster(connection, cluster_id))
    }

    /// What there is.
    ///
    /// # Errors
    /// If the server cannot say.
    pub fn status(&self) -> IndexResult<IndexStatus> {
        let config = self.connections.config();
        self.connections.run(|connection| {
            let schema = SchemaState::look(connection, config.database())?;
            let server = connection.query_first("SELECT VERSION()")?.unwrap_or_default();
            let is_current = schema == SchemaState::Current;
            let cluster_id = if is_current { cluster::cluster(connection)? } else { None };
            let counts = format!(
                "SELECT COUNT(DISTINCT topic), COUNT(*), COALESCE(SUM(segments), 0) FROM (SELECT topic, COUNT(*) AS \
                 segments FROM {} GROUP BY topic, `partition`, lineage) AS chains",
                shape::TABLE
            );
            let counts = if is_current { connection.query_first(counts)? } else { None };
            Ok(IndexStatus { schema, cluster_id, counts, server })
        })
    }

    /// The last row of a chain. Waits until the index answers.
    ///
    /// # Errors
    /// Never while the server is away; only if a row makes no sense.
    pub fn last_row(&self, chain: &ChainName) -> IndexResult<Option<LastRow>> {
        self.connections.insist(|connection| write::last_row(connection, chain, write::Locked::No))
    }

    /// Writes rows in one transaction, and waits until the index answers.
    ///
    /// # Errors
    /// Never while the server is away; only if it has no room for one of the rows.
    pub fn write(&self, rows: &[RowValues]) -> IndexResult<Vec<RowOutcome>> {
        self.write_after(rows, &|_| false)
    }

    /// As [`MysqlIndex::write`], where some chains are known to have rows: one that has lost them all is not begun again.
    ///
    /// # Errors
    /// As [`MysqlIndex::write`].
    pub(crate) fn write_after(
        &self,
        rows: &[RowValues],
        has_rows: &dyn Fn(&ChainName) -> bool,
    ) -> IndexResult<Vec<RowOutcome>> {
        self.connections.insist(|connection| write::write_rows(connection, rows, has_rows))
    }

    /// Makes rows say what they should, makes those that are missing, and removes others if their objects still are
    /// absent, in one transaction. The store is right: no row is checked. Rows that somebody else has written since they
    /// were seen stay as they are, and are the answer. Waits until the index answers.
    ///
    /// # Errors
    /// Never while the server is away; only if it has no room for one of the rows.
    pub fn replace(
        &self,
        rows: &[Replacement],
        without_object: &[RowValues],
        is_absent: &dyn Fn(&SegmentName) -> bool,
    ) -> IndexResult<Vec<SegmentName>> {
        self.connections.insist(|connection| replace::replace_rows(connection, rows, without_object, is_absent))
    }

    /// The chains of a topic that have rows, or those of one of its partitions, in order.
    ///
    /// # Errors
    /// If the server cannot say.
    pub fn chains(&self, topic: &TopicName, partition: Option<PartitionId>) -> IndexResult<Vec<ChainName>> {
        self.connections.run(|connection| find::chains(connection, topic, partition))
    }

    /// The topics that have rows, in order.
    ///
    /// # Errors
    /// If the server cannot say.
    pub fn topics(&self) -> IndexResult<Vec<TopicName>> {
        self.connections.run(find::topics)
    }

    /// The row that covers an offset, if there is one.
    ///
    /// # Errors
    /// If the server cannot say.
    pub fn find_offset(&self, chain: &ChainName, offset: Offset) -> IndexResult<Option<RowValues>> {
        self.connections.run(|connection| find::offset(connection, chain, offset))
    }

    /// The first segment with a record of this time (ms) or a later one, in the order of offsets.
    ///
    /// # Errors
    /// If the server cannot say.
    pub fn find_time(&self, chain: &ChainName, timestamp: i64) -> IndexResult<Moment> {
        self.connections.run(|connection| find::moment(connection, chain, timestamp))
    }

    /// Rows of a chain in order, at most `limit`, from this offset on.
    ///
    /// # Errors
    /// If the server cannot say.
    pub fn rows_from(&self, chain: &ChainName, from: Offset, limit: u32) -> IndexResult<Vec<RowValues>> {
        self.connections.run(|connection| find::rows_from(connection, chain, from, limit))
    }
}

/// Makes a row that can be nobody's, and takes it back: the user may write, and the server is not read-only.
fn try_to_write(connection: &mut Conn) -> IndexResult<()> {
    let mut transaction = connection.start_transaction(TxOpts::default())?;
    // `~` cannot occur in a topic's name. Locking needs the right to change rows.
    let insert = format!(
        "INSERT INTO {} (topic, `partition`, startOffset, finalOffset, byteSize, md5Hash, `time`) VALUES (?, 0, ?, 0, 0, '', \
         NOW())",
        shape::TABLE
    );
    // Processes that start at the same moment must not wait for each other.
    transaction.exec_drop(insert, (format!("~{}", std::process::id()), std::process::id()))?;
    transaction.exec_drop(format!("SELECT 1 FROM {} WHERE topic = '~' FOR UPDATE", shape::TABLE), ())?;
    transaction.rollback()?;
    Ok(())
}
