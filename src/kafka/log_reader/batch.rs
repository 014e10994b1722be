//! Records of a log, encoded.

use kafka_store_statecharts::offset::{LeaderEpoch, Offset};

/// Buffers that a huge record has grown beyond this are released.
const KEPT_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A record in a log.
#[derive(Clone, Copy, Debug)]
pub struct LoggedRecord<'a> {
    /// Its offset.
    pub offset: Offset,
    /// The epoch of the leader that appended it, where the batch has one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Its canonical bytes.
    pub bytes: &'a [u8],
}

/// Encoded records, front to back.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    marks: Vec<Mark>,
    taken: usize,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    offset: Offset,
    leader_epoch: Option<LeaderEpoch>,
    end: usize,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BUFFER_BYTES {
            self.bytes = Vec::new();
        }
        self.marks.clear();
        self.taken = 0;
    }

    /// True if all that it holds has been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.marks.len()
    }

    pub(super) fn front(&self) -> Option<LoggedRecord<'_>> {
        let Mark { offset, leader_epoch, end } = *self.marks.get(self.taken)?;
        let start = self.taken.checked_sub(1).map_or(0, |before| self.marks[before].end);
        Some(LoggedRecord { offset, leader_epoch, bytes: &self.bytes[start..end] })
    }

    /// Marks what was appended to the bytes since the last mark as a record.
    pub(super) fn mark(&mut self, offset: Offset, leader_epoch: Option<LeaderEpoch>) {
        self.marks.push(Mark { offset, leader_epoch, end: self.bytes.len() });
    }

    /// True if it holds records, taken or not.
    pub(super) fn has_records(&self) -> bool {
        !self.marks.is_empty()
    }

    pub(super) fn pop(&mut self) {
        self.taken += 1;
    }
}
