//! Writes index rows, before offsets are committed.

use crate::messages::WriteIndexRow;
use crate::ports::{IndexAnswer, SegmentIndex};
use actix::prelude::*;
use kafka_store_statecharts::failure::Failure;
use std::sync::Arc;

/// Writes rows through the index port. The writers keep the order of each partition's rows.
#[derive(Debug)]
pub struct Indexer {
    index: Arc<dyn SegmentIndex>,
}

impl Indexer {
    /// An Indexer for an index.
    pub fn new(index: Arc<dyn SegmentIndex>) -> Indexer {
        Indexer { index }
    }
}

impl Actor for Indexer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(64);
    }
}

impl Handler<WriteIndexRow> for Indexer {
    type Result = ResponseFuture<Result<IndexAnswer, Failure>>;

    fn handle(&mut self, WriteIndexRow(row): WriteIndexRow, _: &mut Self::Context) -> Self::Result {
        self.index.write_row(row)
    }
}
