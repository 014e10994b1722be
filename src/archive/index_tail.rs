//! The end of a chain and the end of its rows: what is stored and has no row gets one; what has a row and is not stored
//! is an alarm. The store is never overruled.

use super::locate::Unanswered;
use super::walk::{Tail, Walk};
use crate::index::{LastRow, MysqlIndex, RowOutcome, RowValues};
use crate::store::{ArchiveStore, StoreError};
use kafka_store_actors::ports::{Blocked, IndexRow};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use slog::{Logger, info};

/// How many rows are written at a time where many are missing.
const ROWS_MAX: usize = 64;

/// Writes the rows that are missing at the end of a chain, in order.
pub(super) fn index_up_to(
    index: &MysqlIndex,
    walk: &Walk<'_>,
    last_row: Option<LastRow>,
    tail: Tail,
    log: &Logger,
) -> Result<(), Unanswered> {
    let chain = walk.chain;
    let wrong = |what: String| {
        Unanswered::Blocked(Blocked {
            reason: format!(
                "{}: {what}: are these the right store and the right index ({})? Bring missing files back; compare the two \
                 with: kafka-store verify --index, and put the index right with: kafka-store index rebuild",
                chain.topic_partition,
                index.describe()
            ),
        })
    };
    let next_offset = match (tail, last_row) {
        (Tail::Segments { next_offset, .. }, _) => next_offset,
        (Tail::Origin { .. } | Tail::Nothing, None) => return Ok(()),
        (Tail::Origin { .. } | Tail::Nothing, Some(row)) => {
            return Err(wrong(format!("the index has rows up to {}, and the archive holds nothing", row.final_offset)));
        }
    };
    let next_row = last_row.map(|row| row.final_offset.next());
    if next_row == Some(next_offset) {
        return Ok(());
    }
    if let Some(next_row) = next_row.filter(|next_row| *next_row > next_offset) {
        return Err(wrong(format!("the index has rows below {next_row}, and the archive ends before {next_offset}")));
    }
    let missing = MissingRows { index, store: walk.store, chain, last_row, next_offset };
    match missing.write(|start| missing_row(walk, start), log)? {
        Ok(_) => Ok(()),
        Err(what) => Err(wrong(what)),
    }
}

/// The rows of a chain that are missing behind the last one, up to an offset.
pub(super) struct MissingRows<'a> {
    pub(super) index: &'a MysqlIndex,
    pub(super) store: &'a dyn ArchiveStore,
    pub(super) chain: &'a ChainName,
    pub(super) last_row: Option<LastRow>,
    pub(super) next_offset: Offset,
}

impl MissingRows<'_> {
    /// Writes them, in order, and returns how many they were; or what is wrong with the index.
    pub(super) fn write<E: From<StoreError>>(
        &self,
        describe: impl Fn(Offset) -> Result<RowValues, E>,
        log: &Logger,
    ) -> Result<Result<usize, String>, E> {
        let MissingRows { index, store, chain, last_row, next_offset } = self;
        let mut starts = store.segments_from(chain, last_row.map(|row| row.start))?;
        starts.retain(|start| start < next_offset);
        if let Some(row) = last_row {
            let after = starts.get(1).copied();
            if starts.first() != Some(&row.start) || after != Some(row.final_offset.next()) {
                return Ok(Err(format!(
                    "the index has a row of the segment {} up to {}, and the archive has no such segment",
                    row.start, row.final_offset
                )));
            }
            starts.remove(0);
        }
        let (mut written, all) = (0, starts.len());
        for some in starts.chunks(ROWS_MAX) {
            let rows = some.iter().map(|start| describe(*start)).collect::<Result<Vec<_>, E>>()?;
            let outcomes = match index.write(&rows) {
                Ok(outcomes) => outcomes,
                Err(error) => return Ok(Err(error.to_string())),
            };
            if let Some(reason) = outcomes.into_iter().find_map(conflict) {
                return Ok(Err(reason));
            }
            written += rows.len();
            info!(log, "rows written for files that had none"; "partition" => %chain.topic_partition,
                "written" => written, "of" => all);
        }
        Ok(Ok(written))
    }
}

fn missing_row(walk: &Walk<'_>, start: Offset) -> Result<RowValues, Unanswered> {
    let name = walk.chain.segment(start);
    let stored = walk.describe(start)?;
    Ok(RowValues::of(&IndexRow { name, stored }))
}

fn conflict(outcome: RowOutcome) -> Option<String> {
    match outcome {
        RowOutcome::Written | RowOutcome::WasThere => None,
        RowOutcome::Conflicts(reason) | RowOutcome::Behind(reason) => Some(reason),
    }
}

/// What `plan` says of the index, if it will get rows.
pub(super) fn rows_ahead(last_row: Option<LastRow>, next_offset: Offset) -> String {
    match last_row.map(|row| row.final_offset.next()) {
        Some(next_row) if next_row == next_offset => String::new(),
        Some(next_row) => format!("; its rows end before {next_row}"),
        None => "; it has no rows yet".to_owned(),
    }
}
