//! Records on their way from the poll thread to a writer, already in their canonical bytes.

use crate::budget::BudgetShare;
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::partition::{AssignmentEpoch, SeekEpoch};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Consecutive records of one partition.
#[derive(Debug, Default)]
pub struct RecordBatch {
    /// The assignment in which they were fetched.
    pub epoch: AssignmentEpoch,
    /// The start of fetching that they belong to.
    pub seek_epoch: SeekEpoch,
    /// The epoch of the leader that had written them, if the broker says it. All of a batch have the same.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The canonical bytes of all records, one after the other.
    pub bytes: BatchBytes,
    /// Where each record ends in `bytes`, and what the boundary rule asks of it.
    pub marks: Vec<RecordMark>,
    /// What they take of the process's budget.
    pub share: BudgetShare,
}

/// Bytes of a batch, in a buffer that may go back to where it came from.
#[derive(Debug, Default)]
pub struct BatchBytes {
    buffer: Vec<u8>,
    home: Option<Arc<SpareBuffers>>,
}

impl Deref for BatchBytes {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.buffer
    }
}

impl DerefMut for BatchBytes {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

impl Drop for BatchBytes {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.keep(std::mem::take(&mut self.buffer));
        }
    }
}

/// The buffers of batches that are used up, for batches to come.
///
/// They are made by one thread and dropped by others, which is what allocators are bad at; and the one used last lies in
/// the processor's cache.
#[derive(Debug, Default)]
pub struct SpareBuffers(Mutex<Vec<Vec<u8>>>);

/// No more buffers are kept; the budget does not know of them.
const SPARES_MAX: usize = 16;
/// Nor a larger one.
const SPARE_BYTES_MAX: usize = 512 * 1024;

impl SpareBuffers {
    /// An empty buffer of at least so many bytes: one that was used before if there is one of less than twice as many.
    pub fn buffer(self: &Arc<SpareBuffers>, bytes: usize) -> BatchBytes {
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = spares.iter().rposition(|spare| (bytes..2 * bytes).contains(&spare.capacity()));
        let buffer = fitting.map(|index| spares.remove(index));
        drop(spares);
        let buffer = buffer.unwrap_or_else(|| Vec::with_capacity(bytes));
        BatchBytes { buffer, home: Some(Arc::clone(self)) }
    }

    /// Keeps a buffer, if it is worth it and there is room.
    fn keep(&self, mut buffer: Vec<u8>) {
        if !(SPARE_BYTES_MAX / 8..=SPARE_BYTES_MAX).contains(&buffer.capacity()) {
            return;
        }
        buffer.clear();
        let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < SPARES_MAX {
            spares.push(buffer);
        }
    }
}

/// One record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMark {
    /// The record's place in the log.
    pub offset: Offset,
    /// The record's time, verbatim.
    pub timestamp: TimestampMs,
    /// Where its bytes end; they begin where the record before it ends.
    pub end: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_used_last_comes_back_first() {
        let spares = Arc::new(SpareBuffers::default());
        for capacity in [100, 100_000, 200_000, 100_001, SPARE_BYTES_MAX + 1] {
            let mut bytes = BatchBytes { buffer: Vec::with_capacity(capacity), home: Some(Arc::clone(&spares)) };
            bytes.push(1);
        }
        assert_eq!(spares.0.lock().expect("whole").len(), 3, "the others are not worth it");
        let taken: Vec<_> = (0..3).map(|_| spares.buffer(99_000)).collect();
        assert_eq!(taken.iter().map(|bytes| bytes.capacity()).collect::<Vec<_>>(), [100_001, 100_000, 99_000]);
        assert!(taken.iter().all(|bytes| bytes.is_empty()));
        drop((0..2 * SPARES_MAX).map(|_| spares.buffer(99_000)).collect::<Vec<_>>());
        assert_eq!(spares.0.lock().expect("whole").len(), SPARES_MAX);
    }
}
