//! Rows made again from the store, beside daemons that write theirs.

use super::error::{IndexError, IndexErrorKind, IndexResult};
use super::row::{OF_CHAIN, RowValues, chain_params, chain_values};
use super::shape::TABLE;
use super::write::{Locked, find_row, is_duplicate};
use kafka_store_statecharts::name::SegmentName;
use mysql::prelude::Queryable;
use mysql::{Conn, Params, Transaction, TxOpts};

/// A row as the store has it, and as it was when the store was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The row of the object.
    pub row: RowValues,
    /// The row that the index had, if it had one.
    pub seen: Option<RowValues>,
}

/// One transaction; the answer is the rows that others have changed meanwhile, which stay as they are. The greatest
/// timestamps so far are the rows' own affair here: they are given with the rows.
pub(super) fn replace_rows(
    connection: &mut Conn,
    rows: &[Replacement],
    without_object: &[RowValues],
    is_absent: &dyn Fn(&SegmentName) -> bool,
) -> IndexResult<Vec<SegmentName>> {
    let mut transaction = connection.start_transaction(TxOpts::default())?;
    let mut left = Vec::new();
    for replacement in rows {
        if !replace(&mut transaction, replacement)? {
            left.push(replacement.row.name.clone());
        }
    }
    for row in without_object {
        if !remove(&mut transaction, row, is_absent)? {
            left.push(row.name.clone());
        }
    }
    transaction.commit()?;
    Ok(left)
}

/// Makes or changes a row. False if somebody else has written another one since it was seen: that one is newer.
fn replace(transaction: &mut Transaction<'_>, Replacement { row, seen }: &Replacement) -> IndexResult<bool> {
    let Some(stored) = find_row(transaction, &row.name, Locked::Yes)? else {
        let values = Params::Positional(row.params(row.max_timestamp_so_far));
        return match transaction.exec_drop(RowValues::insert(), values) {
            // A daemon was quicker; the next try finds its row.
            Err(error) if is_duplicate(&error) => {
                Err(IndexError::new(IndexErrorKind::Busy, "a daemon has just written the same row"))
            }
            done => Ok(done.map(|()| true)?),
        };
    };
    let is_of_the_same = row.difference(&stored).is_none();
    if !is_of_the_same && seen.as_ref() != Some(&stored) {
        return Ok(false);
    }
    let row = if is_of_the_same { row.clone().completed_by(stored) } else { row.clone() };
    let mut values = row.params(row.max_timestamp_so_far);
    values.extend(chain_values(&row.name.chain));
    values.push(row.name.start.get().into());
    transaction.exec_drop(RowValues::update(), Params::Positional(values))?;
    Ok(true)
}

/// Removes a row whose object is absent. A daemon stores an object before it asks for the row, which is locked here: one
/// that is stored later gets its row after this transaction.
fn remove(
    transaction: &mut Transaction<'_>,
    row: &RowValues,
    is_absent: &dyn Fn(&SegmentName) -> bool,
) -> IndexResult<bool> {
    match find_row(transaction, &row.name, Locked::Yes)? {
        None => return Ok(true),
        Some(stored) if stored != *row || !is_absent(&row.name) => return Ok(false),
        Some(_) => {}
    }
    let delete = format!("DELETE FROM {TABLE} {OF_CHAIN} AND startOffset = ?");
    transaction.exec_drop(delete, chain_params(&row.name.chain, &[row.name.start.get().into()]))?;
    Ok(true)
}
