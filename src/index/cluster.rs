//! Whose segments a table holds: one cluster's.

use super::error::{IndexError, IndexErrorKind, IndexResult};
use super::shape::CLUSTER_TABLE;
use mysql::prelude::Queryable;
use mysql::{Conn, Error, MySqlError};

/// The cluster that the table belongs to, if one was written down. The empty text stands for a cluster without an id.
pub(super) fn cluster(connection: &mut Conn) -> IndexResult<Option<String>> {
    Ok(connection.query_first(format!("SELECT clusterId FROM {CLUSTER_TABLE} WHERE id = 1"))?)
}

/// Writes the cluster down where none is; the first one counts.
pub(super) fn settle_cluster(connection: &mut Conn, id: &str) -> IndexResult<()> {
    let stored = match cluster(connection)? {
        Some(stored) => stored,
        None => {
            let insert = format!("INSERT INTO {CLUSTER_TABLE} (id, clusterId, since) VALUES (1, ?, NOW())");
            match connection.exec_drop(insert, (id,)) {
                Ok(()) => id.to_owned(),
                // Another process was quicker.
                Err(Error::MySqlError(MySqlError { code: 1062, .. })) => cluster(connection)?.unwrap_or_default(),
                Err(error) => return Err(error.into()),
            }
        }
    };
    check(&stored, id)
}

/// The error of a process that archives another cluster.
pub(super) fn check(stored: &str, id: &str) -> IndexResult<()> {
    if stored == id {
        return Ok(());
    }
    let shown = |id: &str| if id.is_empty() { "(without an id)".to_owned() } else { id.to_owned() };
    Err(IndexError::new(
        IndexErrorKind::Schema,
        format!(
            "the index belongs to the Kafka cluster {}, and this one is {}: use a database of its own for each cluster",
            shown(stored),
            shown(id)
        ),
    ))
}
