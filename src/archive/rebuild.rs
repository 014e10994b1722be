//! The rows of an archive, made anew from its objects alone.

use super::compare::{
    CompareDepth, CompareError, Divergence, DivergenceKind, IndexReport, Pair, Pairs, all_chains, expected_row, so_far,
    unchained,
};
use super::identity::Unfit;
use crate::index::{IndexError, MysqlIndex, Replacement, RowValues};
use crate::store::{ArchiveStore, Scope};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;

/// How many rows are written at a time.
const ROWS_AT_A_TIME: usize = 64;

/// What was done to the rows, beside what differed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// What differed before; all of it is put right now, but for what is wrong with the archive itself.
    pub found: IndexReport,
    /// Rows that were made.
    pub made: u64,
    /// Rows that say something else now, or more.
    pub changed: u64,
    /// Rows that were removed.
    pub removed: u64,
    /// Rows that somebody else wrote meanwhile, and that say something else than the store did a moment before.
    pub left: u64,
}

/// Makes the index say what the store holds in this part of it. `progress` is told after each object. Daemons may go on meanwhile.
///
/// # Errors
/// If the store or the index does not answer, or the index belongs to another cluster.
pub fn rebuild(
    store: &dyn ArchiveStore,
    index: &MysqlIndex,
    scope: &Scope,
    progress: &mut dyn FnMut(),
) -> Result<Rebuilt, CompareError> {
    let mut rebuilt = Rebuilt::default();
    for chain in all_chains(store, index, scope)? {
        rebuilt.found.chains += 1;
        rebuild_chain(store, index, &chain, &mut rebuilt, progress)?;
    }
    Ok(rebuilt)
}

/// What goes into the next transaction.
#[derive(Default)]
struct Changes {
    rows: Vec<Replacement>,
    without_object: Vec<RowValues>,
}

impl Changes {
    fn write(&mut self, store: &dyn ArchiveStore, index: &MysqlIndex) -> Result<u64, CompareError> {
        let Changes { rows, without_object } = std::mem::take(self);
        if rows.is_empty() && without_object.is_empty() {
            return Ok(0);
        }
        // Where the store does not say, the row stays.
        let is_absent = |name: &SegmentName| store.head(name).is_ok_and(|object| object.is_none());
        let left = index.replace(&rows, &without_object, &is_absent).map_err(|source| asked(index, source))?;
        Ok(left.len() as u64)
    }
}

fn asked(index: &MysqlIndex, source: IndexError) -> CompareError {
    CompareError::Index { index: index.describe(), source }
}

fn rebuild_chain(
    store: &dyn ArchiveStore,
    index: &MysqlIndex,
    chain: &ChainName,
    rebuilt: &mut Rebuilt,
    progress: &mut dyn FnMut(),
) -> Result<(), CompareError> {
    let mut pairs = Pairs::new(store, index, chain)?;
    let (mut changes, mut next_offset, mut greatest) = (Changes::default(), None, None);
    loop {
        while let Some(pair) = pairs.next_pair()? {
            take(store, index, pair, rebuilt, &mut changes, &mut next_offset, &mut greatest)?;
            progress();
            if changes.rows.len() + changes.without_object.len() >= ROWS_AT_A_TIME {
                rebuilt.left += changes.write(store, index)?;
            }
        }
        rebuilt.left += changes.write(store, index)?;
        // What a daemon has stored meanwhile: its row may have been written after one that was not right yet.
        if !pairs.list_again()? {
            return Ok(());
        }
    }
}

fn take(
    store: &dyn ArchiveStore,
    index: &MysqlIndex,
    Pair { object, row }: Pair,
    rebuilt: &mut Rebuilt,
    changes: &mut Changes,
    next_offset: &mut Option<Offset>,
    greatest: &mut Option<i64>,
) -> Result<(), CompareError> {
    let mut diverge = |name: &SegmentName, kind| {
        rebuilt.found.divergences.push(Divergence { name: name.clone(), kind });
    };
    let Some(name) = object else {
        if let Some(row) = row {
            diverge(&row.name, DivergenceKind::NoObject);
            rebuilt.removed += 1;
            changes.without_object.push(row);
        }
        return Ok(());
    };
    let (mut expected, header) = match expected_row(store, &name, CompareDepth::Files) {
        Ok(expected) => expected,
        Err(Unfit::Store(error)) => return Err(error.into()),
        Err(Unfit::Blocked(blocked)) => {
            diverge(&name, DivergenceKind::Unreadable(blocked.reason));
            *next_offset = None;
            return Ok(());
        }
    };
    if let Some(header) = header {
        let cluster_id = header.summary.cluster_id.unwrap_or_default();
        index.settle_cluster(&cluster_id).map_err(|source| asked(index, source))?;
    }
    if let Some(kind) = unchained(*next_offset, &name) {
        diverge(&name, kind);
    }
    *next_offset = Some(expected.next_offset());
    *greatest = so_far(*greatest, expected.timestamps);
    expected.max_timestamp_so_far = *greatest;
    match row {
        None => {
            diverge(&name, DivergenceKind::NoRow);
            rebuilt.made += 1;
            changes.rows.push(Replacement { row: expected, seen: None });
        }
        Some(row) => {
            let difference = expected.difference(&row);
            let is_right = difference.is_none() && row.max_timestamp_so_far == *greatest && knows_all(&row, &expected);
            if let Some(what) = difference {
                diverge(&name, DivergenceKind::OtherRow(what));
            } else {
                rebuilt.found.incomplete_rows += u64::from(row.record_count.is_none());
            }
            if !is_right {
                rebuilt.changed += 1;
                changes.rows.push(Replacement { row: expected, seen: Some(row) });
            }
        }
    }
    rebuilt.found.objects += 1;
    Ok(())
}

/// Whether the row has everything that is known now.
fn knows_all(row: &RowValues, expected: &RowValues) -> bool {
    let knows = |row: bool, expected: bool| row || !expected;
    knows(row.record_count.is_some(), expected.record_count.is_some())
        && knows(row.timestamps.is_some(), expected.timestamps.is_some())
        && knows(row.invisible_count.is_some(), expected.invisible_count.is_some())
        && knows(row.content_hash.is_some(), expected.content_hash.is_some())
        && knows(row.crc32c.is_some(), expected.crc32c.is_some())
        && knows(row.topic_id.is_some(), expected.topic_id.is_some())
        && knows(row.generation.is_some(), expected.generation.is_some())
        && row.object_url == expected.object_url
}
