//! Rows into the table: one transaction, that looks before it writes.
//!
//! The same transaction may have been made before, and its answer lost: every row is looked for first, and one that says
//! the same is as good as written. The last row of the chain is locked meanwhile, so that of two writers one waits. The
//! server is asked for no gap locks (`READ COMMITTED`): writers of different chains do not meet. Where a second writer
//! has waited for the lock, what it then holds may be the last row no more; its own row has the very key of the first
//! one's, and the primary key says so.

use super::error::{IndexError, IndexErrorKind, IndexResult};
use super::row::{OF_CHAIN, RowValues, chain_params, chain_values};
use super::shape::TABLE;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use mysql::prelude::Queryable;
use mysql::{Conn, Error, MySqlError, Params, Transaction, TxOpts};

/// What became of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    /// It is in the table now.
    Written,
    /// It was there before.
    WasThere,
    /// Something else is there, or it would overlap the row before it.
    Conflicts(String),
    /// Rows before it are missing.
    Behind(String),
}

/// The last row of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRow {
    /// Its first offset: the name of the object.
    pub start: Offset,
    /// Its last offset.
    pub final_offset: Offset,
    /// The greatest timestamp of the chain, as far as the rows know it.
    pub(super) so_far: Option<i64>,
}

/// Writes rows in one transaction. All that do not conflict are in the table for good when this returns. `has_rows` says
/// which chains are known to have some.
pub(super) fn write_rows(
    connection: &mut Conn,
    rows: &[RowValues],
    has_rows: &dyn Fn(&ChainName) -> bool,
) -> IndexResult<Vec<RowOutcome>> {
    let mut transaction = connection.start_transaction(TxOpts::default())?;
    let outcomes =
        rows.iter().map(|row| write_row(&mut transaction, row, has_rows)).collect::<IndexResult<Vec<_>>>()?;
    transaction.commit()?;
    Ok(outcomes)
}

fn write_row(
    transaction: &mut Transaction<'_>,
    row: &RowValues,
    has_rows: &dyn Fn(&ChainName) -> bool,
) -> IndexResult<RowOutcome> {
    let last = last_row(transaction, &row.name.chain, Locked::Yes)?;
    match last {
        None if has_rows(&row.name.chain) => {
            return Ok(RowOutcome::Behind(format!(
                "{}: the index had rows of its partition, and has none now",
                row.name
            )));
        }
        Some(last) if last.start >= row.name.start => return compare_with_stored(transaction, row),
        Some(last) if last.final_offset.next() < row.name.start => {
            return Ok(RowOutcome::Behind(would_be(row, "a hole", last)));
        }
        Some(last) if last.final_offset.next() > row.name.start => {
            return Ok(RowOutcome::Conflicts(would_be(row, "an overlap", last)));
        }
        _ => {}
    }
    if row.md5.is_none() {
        let reason = format!("{}: the file's MD5 is not known, and its row needs it", row.name);
        return Err(IndexError::new(IndexErrorKind::Row, reason));
    }
    let before = last.and_then(|last| last.so_far);
    let own = row.timestamps.map(|times| times.greatest);
    match transaction.exec_drop(RowValues::insert(), Params::Positional(row.params(before.max(own)))) {
        Ok(()) => Ok(RowOutcome::Written),
        Err(error) if is_duplicate(&error) => compare_with_stored(transaction, row),
        Err(error) => Err(error.into()),
    }
}

fn would_be(row: &RowValues, what: &str, last: LastRow) -> String {
    format!(
        "{}: there would be {what} in the index: its last row ends at {}; compare with: kafka-store verify --index, and \
         put it right with: kafka-store index rebuild",
        row.name, last.final_offset
    )
}

fn compare_with_stored(transaction: &mut Transaction<'_>, row: &RowValues) -> IndexResult<RowOutcome> {
    let reason = match find_row(transaction, &row.name, Locked::Yes)? {
        None => "the index has later rows of this partition, and none of this segment".to_owned(),
        Some(stored) => match row.difference(&stored) {
            None => {
                complete(transaction, row, stored)?;
                return Ok(RowOutcome::WasThere);
            }
            Some(difference) => format!("the index has another row of this segment: {difference}"),
        },
    };
    Ok(RowOutcome::Conflicts(format!(
        "{}: {reason}; compare with: kafka-store verify --index, and put it right with: kafka-store index rebuild",
        row.name
    )))
}

/// Adds what only the writer of the segment knows, where `index rebuild` was quicker and did not.
fn complete(transaction: &mut Transaction<'_>, row: &RowValues, stored: RowValues) -> IndexResult<()> {
    let completed = stored.clone().completed_by(row.clone());
    if completed != stored {
        let mut values = completed.params(completed.max_timestamp_so_far);
        values.extend(chain_values(&row.name.chain));
        values.push(row.name.start.get().into());
        transaction.exec_drop(RowValues::update(), Params::Positional(values))?;
    }
    Ok(())
}

pub(super) fn is_duplicate(error: &Error) -> bool {
    matches!(error, Error::MySqlError(MySqlError { code: 1062, .. }))
}

/// Whether a row is to be locked until the transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locked {
    Yes,
    No,
}

impl Locked {
    fn clause(self) -> &'static str {
        match self {
            Locked::Yes => " FOR UPDATE",
            Locked::No => "",
        }
    }
}

/// The last row of a chain, if it has rows.
pub(super) fn last_row(
    connection: &mut impl Queryable,
    chain: &ChainName,
    locked: Locked,
) -> IndexResult<Option<LastRow>> {
    let query = format!(
        "SELECT startOffset, finalOffset, maxTimestampSoFar FROM {TABLE} {OF_CHAIN} ORDER BY startOffset DESC LIMIT 1{}",
        locked.clause()
    );
    let row: Option<(i64, i64, Option<i64>)> = connection.exec_first(query, chain_params(chain, &[]))?;
    row.map(|(start, final_offset, so_far)| {
        let offset = |offset| Offset::new(offset).ok_or_else(|| no_offset(chain, offset));
        Ok(LastRow { start: offset(start)?, final_offset: offset(final_offset)?, so_far })
    })
    .transpose()
}

fn no_offset(chain: &ChainName, offset: i64) -> IndexError {
    IndexError::new(IndexErrorKind::Schema, format!("{TABLE} has {offset} as an offset of {chain}"))
}

/// The row of a segment, if there is one.
pub(super) fn find_row(
    connection: &mut impl Queryable,
    name: &SegmentName,
    locked: Locked,
) -> IndexResult<Option<RowValues>> {
    let query = format!("{} {OF_CHAIN} AND startOffset = ?{}", RowValues::select(), locked.clause());
    let row = connection.exec_first(query, chain_params(&name.chain, &[name.start.get().into()]))?;
    row.map(RowValues::from_row).transpose()
}
