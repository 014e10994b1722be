//! Rows made anew from the store.

use super::error::{IndexError, IndexErrorKind, IndexResult};
use super::row::{OF_CHAIN, RowValues, chain_params, chain_values};
use super::shape::TABLE;
use super::write::is_duplicate;
use kafka_store_statecharts::name::SegmentName;
use mysql::prelude::Queryable;
use mysql::{Conn, Params, TxOpts};

/// One transaction. The greatest timestamps so far are the rows' own affair here: they are given with the rows.
pub(super) fn replace_rows(
    connection: &mut Conn,
    rows: &[RowValues],
    without_object: &[SegmentName],
) -> IndexResult<()> {
    let mut transaction = connection.start_transaction(TxOpts::default())?;
    for row in rows {
        let mut values = row.params(row.max_timestamp_so_far);
        values.extend(chain_values(&row.name.chain));
        values.push(row.name.start.get().into());
        let exists = format!("SELECT 1 FROM {TABLE} {OF_CHAIN} AND startOffset = ? FOR UPDATE");
        let key = chain_params(&row.name.chain, &[row.name.start.get().into()]);
        if transaction.exec_first::<u8, _, _>(exists, key)?.is_some() {
            transaction.exec_drop(RowValues::update(), Params::Positional(values))?;
            continue;
        }
        let values = Params::Positional(row.params(row.max_timestamp_so_far));
        match transaction.exec_drop(RowValues::insert(), values) {
            // A daemon was quicker; the next try finds its row.
            Err(error) if is_duplicate(&error) => {
                return Err(IndexError::new(IndexErrorKind::Busy, "a daemon has just written the same row"));
            }
            done => done?,
        }
    }
    for name in without_object {
        let delete = format!("DELETE FROM {TABLE} {OF_CHAIN} AND startOffset = ?");
        transaction.exec_drop(delete, chain_params(&name.chain, &[name.start.get().into()]))?;
    }
    transaction.commit()?;
    Ok(())
}
