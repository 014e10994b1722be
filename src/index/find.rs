//! Where an offset or a moment lies, from the table alone. Each question reads as many rows as it answers with.

use super::error::IndexResult;
use super::row::{OF_CHAIN, RowValues, chain_params};
use super::shape::TABLE;
use super::write::{Locked, last_row};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use mysql::Conn;
use mysql::prelude::Queryable;

/// Where a moment lies in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The first segment with a record of this time or a later one.
    In(Box<RowValues>),
    /// All records are older.
    Later,
    /// Segments up to this one have rows without times, as the original tool writes them: it may lie in those.
    Unknown {
        /// The last segment without times.
        last: Box<RowValues>,
    },
    /// The chain has no rows.
    Nowhere,
}

/// The chains of a topic that have rows, or those of one of its partitions, in order.
///
/// From one to the next in a step each: servers that are asked for all at once read every row of the topic.
pub(super) fn chains(
    connection: &mut Conn,
    topic: &TopicName,
    partition: Option<PartitionId>,
) -> IndexResult<Vec<ChainName>> {
    let mut chains = Vec::new();
    let mut at = match partition {
        Some(partition) => next_lineage(connection, topic, partition.get(), 0)?,
        None => next_partition(connection, topic, -1)?,
    };
    while let Some((number, lineage)) = at {
        if let Some(id) = PartitionId::new(number) {
            chains.push(ChainName { topic_partition: TopicPartition { topic: topic.clone(), partition: id }, lineage });
        }
        at = match (next_lineage(connection, topic, number, lineage)?, partition) {
            (None, None) => next_partition(connection, topic, number)?,
            (next, _) => next,
        };
    }
    Ok(chains)
}

fn next_lineage(
    connection: &mut Conn,
    topic: &TopicName,
    partition: i32,
    after: u32,
) -> IndexResult<Option<(i32, u32)>> {
    let query = format!(
        "SELECT `partition`, lineage FROM {TABLE} WHERE topic = ? AND `partition` = ? AND lineage > ? ORDER BY lineage LIMIT 1"
    );
    Ok(connection.exec_first(query, (topic.as_str(), partition, after))?)
}

fn next_partition(connection: &mut Conn, topic: &TopicName, after: i32) -> IndexResult<Option<(i32, u32)>> {
    let query = format!(
        "SELECT `partition`, lineage FROM {TABLE} WHERE topic = ? AND `partition` > ? ORDER BY `partition`, lineage LIMIT 1"
    );
    Ok(connection.exec_first(query, (topic.as_str(), after))?)
}

/// The topics that have rows, in order. What is no name of a topic is left out.
pub(super) fn topics(connection: &mut Conn) -> IndexResult<Vec<TopicName>> {
    let (mut topics, mut after) = (Vec::new(), String::new());
    let query = format!("SELECT topic FROM {TABLE} WHERE topic > ? ORDER BY topic LIMIT 1");
    while let Some(name) = connection.exec_first::<String, _, _>(&query, (&after,))? {
        topics.extend(TopicName::new(&name).ok());
        after = name;
    }
    Ok(topics)
}

/// The row that covers an offset, if there is one.
pub(super) fn offset(connection: &mut Conn, chain: &ChainName, offset: Offset) -> IndexResult<Option<RowValues>> {
    let query = format!("{} {OF_CHAIN} AND startOffset <= ? ORDER BY startOffset DESC LIMIT 1", RowValues::select());
    let row = connection.exec_first(query, chain_params(chain, &[offset.get().into()]))?;
    Ok(row.map(RowValues::from_row).transpose()?.filter(|row| offset <= row.final_offset))
}

/// The first row with a record of this time or a later one, in the order of offsets: what Kafka answers to such a
/// question.
pub(super) fn moment(connection: &mut Conn, chain: &ChainName, timestamp: i64) -> IndexResult<Moment> {
    // The greatest time so far never falls along a chain, so the first row where it is reached is the one.
    let query = format!(
        "{} {OF_CHAIN} AND maxTimestampSoFar >= ? ORDER BY maxTimestampSoFar, startOffset LIMIT 1",
        RowValues::select()
    );
    let known = connection.exec_first(query, chain_params(chain, &[timestamp.into()]))?;
    let known = known.map(RowValues::from_row).transpose()?;
    // Rows without times come first in a chain. They are found from their end, through the same index.
    let query =
        format!("{} {OF_CHAIN} AND maxTimestampSoFar IS NULL ORDER BY startOffset DESC LIMIT 1", RowValues::select());
    let without = connection.exec_first(query, chain_params(chain, &[]))?;
    let without = without.map(RowValues::from_row).transpose()?;
    Ok(match (known, without) {
        (_, Some(last)) => Moment::Unknown { last: Box::new(last) },
        (Some(row), None) => Moment::In(Box::new(row)),
        (None, None) if last_row(connection, chain, Locked::No)?.is_some() => Moment::Later,
        (None, None) => Moment::Nowhere,
    })
}

/// Rows of a chain in order, from this offset on.
pub(super) fn rows_from(
    connection: &mut Conn,
    chain: &ChainName,
    from: Offset,
    limit: u32,
) -> IndexResult<Vec<RowValues>> {
    let query = format!("{} {OF_CHAIN} AND startOffset >= ? ORDER BY startOffset LIMIT ?", RowValues::select());
    let rows: Vec<mysql::Row> = connection.exec(query, chain_params(chain, &[from.get().into(), limit.into()]))?;
    rows.into_iter().map(RowValues::from_row).collect()
}
