//! The records of one chain against its partition's log: all of them, or the last one that the log still has.

use super::archived::{Digest, Unvisited, visit_segment};
use super::merge::{Log, Merge, RecordComparison, Verdict};
use crate::archive::error::ArchiveError;
use crate::archive::verify::content::ChainContent;
use crate::kafka::{LogError, LogFront, LogReader, LoggedRecord};
use crate::store::ArchiveStore;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// A chain, and the reader for its log.
pub(super) struct RecordsCheck<'a> {
    pub(super) store: &'a dyn ArchiveStore,
    pub(super) chain: &'a ChainName,
    pub(super) content: &'a ChainContent,
    pub(super) reader: &'a mut LogReader,
    pub(super) stop: &'a AtomicBool,
    /// Is told the bytes of segments that were read.
    pub(super) advance: &'a (dyn Fn(u64) + Sync),
    /// The end of the chain up to which differences are accepted.
    pub(super) accepted_to: Offset,
    /// Segments that could not be read although nothing was known against them.
    pub(super) unreadable: Vec<(SegmentName, ArchiveError)>,
}

/// A reader that stops when it is asked to.
struct StoppableLog<'a> {
    reader: &'a mut LogReader,
    stop: &'a AtomicBool,
}

impl Log for StoppableLog<'_> {
    fn front(&mut self) -> Result<LogFront<'_>, LogError> {
        self.reader.front(self.stop)
    }

    fn pop(&mut self) {
        self.reader.pop();
    }

    fn log_start(&self) -> Offset {
        self.reader.log_start()
    }
}

/// The archive's side of a comparison of single records.
#[derive(Clone, Copy, Debug)]
struct Sample {
    offset: Offset,
    digest: Digest,
    leader_epoch: Option<LeaderEpoch>,
}

/// The log's newest record of a range.
struct Newest {
    offset: Offset,
    leader_epoch: Option<LeaderEpoch>,
    bytes: Vec<u8>,
}

/// Growth of the range in which a record is looked for, where the one before was empty.
const WIDER: i64 = 16;

fn back_by(offset: Offset, count: i64) -> Offset {
    Offset::new(offset.get().saturating_sub(count)).unwrap_or_default()
}

impl Sample {
    fn verdict(&self, logged: &LoggedRecord<'_>) -> Verdict {
        Verdict::new(self.digest.is_of(logged.bytes), self.leader_epoch, logged)
    }
}

impl Newest {
    fn record(&self) -> LoggedRecord<'_> {
        LoggedRecord { offset: self.offset, leader_epoch: self.leader_epoch, bytes: &self.bytes }
    }
}

impl RecordsCheck<'_> {
    /// Compares every record that the log still has.
    pub(super) fn compare_all(&mut self) -> Result<RecordComparison, LogError> {
        let found = self.merge(0, self.content.spans.len(), false)?;
        self.compare_epoch(found)
    }

    /// Of a last record that the log has no more, compacted as it may be, its epoch can still be asked for.
    fn compare_epoch(&mut self, mut found: RecordComparison) -> Result<RecordComparison, LogError> {
        let last =
            self.content.spans.last().and_then(|span| Some((span.final_offset?, span.last_record?.leader_epoch?)));
        let Some((offset, epoch)) = last else { return Ok(found) };
        if found.is_other_history() || found.last_equal == Some(offset) || offset < self.accepted_to {
            return Ok(found);
        }
        let partition = &self.chain.topic_partition;
        if self.reader.has_history(partition, offset.next(), epoch, self.stop)? == Some(false) {
            found.lost_epoch = Some((offset, epoch));
        }
        Ok(found)
    }

    /// Compares the last archived record that the log still has. Where it differs, looks for the first that does.
    pub(super) fn compare_last(&mut self) -> Result<RecordComparison, LogError> {
        let mut found = RecordComparison::accepting(self.accepted_to);
        let spans = &self.content.spans;
        let Some(index) = spans.iter().rposition(|span| span.is_readable) else { return Ok(found) };
        let Some(last) = self.sample(index)? else { return Ok(found) };
        let front = self.content.spans[0].start;
        let newest = self.newest_up_to(front, last.offset)?;
        let Some(newest) = newest else {
            // Where the log reaches, none of the chain's records is in it.
            return self.compare_epoch(found);
        };
        let (index, sample) = if newest.offset == last.offset {
            (index, Some(last))
        } else {
            let index = self.content.spans.partition_point(|span| span.start <= newest.offset).saturating_sub(1);
            (index, self.sample_at(index, newest.offset)?)
        };
        let Some(sample) = sample else {
            if self.content.spans[index].is_readable && self.unreadable.is_empty() {
                found.add_not_archived(newest.offset);
            }
            return Ok(found);
        };
        if found.add(newest.offset, sample.verdict(&newest.record())).is_continue() {
            return self.compare_epoch(found);
        }
        self.first_difference(index, found)
    }

    /// Two histories of one log share their beginning, so the segment in which they part is found by halving. It is
    /// then read from its front.
    fn first_difference(&mut self, index: usize, found: RecordComparison) -> Result<RecordComparison, LogError> {
        let log_start = self.reader.log_start();
        let spans = &self.content.spans;
        // Segments before `same` end with a record that the log has, or with one that expired; `different` does not.
        let from = log_start.max(self.accepted_to);
        let mut same = spans.partition_point(|span| span.final_offset.is_some_and(|last| last < from)).min(index);
        let mut different = index;
        while same < different {
            let middle = same + (different - same) / 2;
            match self.verdict_between(same, middle)? {
                Some((at, Verdict::Same)) => same = at + 1,
                Some((at, _)) => different = at,
                None if middle + 1 < different => match self.verdict_between(middle + 1, different - 1)? {
                    Some((at, Verdict::Same)) => same = at + 1,
                    Some((at, _)) => different = at,
                    None => break,
                },
                None => break,
            }
        }
        let scanned = self.merge(same, different + 1, true)?;
        Ok(RecordComparison {
            first_different: scanned.first_different.or(found.first_different),
            other_epoch: scanned.other_epoch.or(found.other_epoch),
            last_equal: scanned.last_equal.or_else(|| self.last_before(same)),
            ..found
        })
    }

    /// The last record before a segment, if the log has the same.
    fn last_before(&self, index: usize) -> Option<Offset> {
        let last = self.content.spans[index.checked_sub(1)?].final_offset?;
        (last >= self.reader.log_start().max(self.accepted_to)).then_some(last)
    }

    /// The verdict on the last record of a segment: the latest one in a range of segments whose last record the log
    /// still has.
    fn verdict_between(&mut self, first: usize, last: usize) -> Result<Option<(usize, Verdict)>, LogError> {
        for index in (first..=last).rev() {
            let Some(sample) = self.sample(index)? else { continue };
            self.start(sample.offset, sample.offset.next())?;
            if let LogFront::Record(logged) = self.reader.front(self.stop)? {
                return Ok(Some((index, sample.verdict(&logged))));
            }
        }
        Ok(None)
    }

    /// Compares the records of segments; `to_difference` ends it at the first that differs.
    fn merge(&mut self, first: usize, last: usize, to_difference: bool) -> Result<RecordComparison, LogError> {
        let RecordsCheck { store, chain, content, reader, stop, advance, accepted_to, unreadable } = self;
        let spans = &content.spans[first..last];
        let (Some(front), Some(back)) = (spans.first(), spans.last()) else {
            return Ok(RecordComparison::accepting(*accepted_to));
        };
        let end = content.spans.get(last).map_or_else(|| back.next_offset(), |next| next.start);
        reader.start(&chain.topic_partition, front.start, end)?;
        let mut merge = Merge::new(StoppableLog { reader, stop }, *accepted_to);
        for (index, span) in spans.iter().enumerate() {
            let next_start = spans.get(index + 1).map_or(end, |next| next.start);
            if let (Some(last), Some(records)) = (span.final_offset, span.record_count)
                && last < merge.log_start()
            {
                merge.expired(records);
                advance(span.bytes);
                continue;
            }
            if !span.is_readable {
                merge.pass(span.start, next_start)?;
                advance(span.bytes);
                continue;
            }
            let name = chain.segment(span.start);
            let mut is_different = false;
            let visited = visit_segment(*store, &name, *advance, &mut |offset, record| {
                let epoch = span.last_record.filter(|_| span.final_offset == Some(offset));
                let flow = merge.archived(offset, record, epoch.and_then(|last| last.leader_epoch))?;
                is_different = to_difference && flow.is_break();
                Ok(if is_different { flow } else { ControlFlow::Continue(()) })
            });
            match visited {
                Ok(()) if is_different => return Ok(merge.found()),
                Ok(()) => {}
                Err(Unvisited::Visitor(error)) => return Err(error),
                Err(Unvisited::Archive(error)) => {
                    unreadable.push((name, error));
                    merge.pass(span.start, next_start)?;
                }
            }
        }
        merge.finish()
    }

    /// The last record of a segment, as its header says; else it is read.
    fn sample(&mut self, index: usize) -> Result<Option<Sample>, LogError> {
        let span = &self.content.spans[index];
        match (span.final_offset, span.last_record) {
            (Some(offset), Some(last)) => {
                Ok(Some(Sample { offset, digest: Digest::Whole(last.hash), leader_epoch: last.leader_epoch }))
            }
            _ => self.read_sample(index, None),
        }
    }

    /// The record at an offset.
    fn sample_at(&mut self, index: usize, offset: Offset) -> Result<Option<Sample>, LogError> {
        let span = &self.content.spans[index];
        match span.final_offset {
            Some(last) if last < offset => Ok(None),
            Some(last) if last == offset => self.sample(index),
            _ => self.read_sample(index, Some(offset)),
        }
    }

    /// Reads a record: the one at `wanted`, or the segment's last.
    fn read_sample(&mut self, index: usize, wanted: Option<Offset>) -> Result<Option<Sample>, LogError> {
        let span = &self.content.spans[index];
        if !span.is_readable {
            return Ok(None);
        }
        let wanted = wanted.or(span.final_offset);
        let name = self.chain.segment(span.start);
        let mut sample = None;
        let visited = visit_segment(self.store, &name, &|_| (), &mut |offset, record| {
            if self.stop.load(Ordering::Relaxed) {
                return Err(LogError::Stopped);
            }
            // The original tool's files do not say where they end: any record may be the last.
            if wanted.is_none_or(|wanted| wanted == offset) {
                sample = Some(Sample { offset, digest: record.digest(), leader_epoch: None });
            }
            let is_done = wanted.is_some_and(|wanted| wanted <= offset);
            Ok(if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        match visited {
            Ok(()) => Ok(sample),
            Err(Unvisited::Visitor(error)) => Err(error),
            Err(Unvisited::Archive(error)) => {
                self.unreadable.push((name, error));
                Ok(None)
            }
        }
    }

    /// The log's newest record in `[from, to]`. Looks at `to` first, and then at ever wider ranges before it.
    fn newest_up_to(&mut self, from: Offset, to: Offset) -> Result<Option<Newest>, LogError> {
        let (mut end, mut width) = (to.next(), 1);
        loop {
            let start = back_by(end, width).max(from);
            self.start(start, end)?;
            let mut newest: Option<Newest> = None;
            let log_end = loop {
                let logged = match self.reader.front(self.stop)? {
                    LogFront::Record(logged) => logged,
                    LogFront::End(log_end) => break log_end,
                };
                let mut bytes = newest.map(|newest| newest.bytes).unwrap_or_default();
                bytes.clear();
                bytes.extend_from_slice(logged.bytes);
                newest = Some(Newest { offset: logged.offset, leader_epoch: logged.leader_epoch, bytes });
                self.reader.pop();
            };
            if newest.is_some() || start <= from.max(self.reader.log_start()) {
                return Ok(newest);
            }
            // A log that ends before the range is looked at from its end.
            (end, width) = if log_end < start { (log_end, 1) } else { (start, width.saturating_mul(WIDER)) };
        }
    }

    fn start(&mut self, from: Offset, until: Offset) -> Result<(), LogError> {
        self.reader.start(&self.chain.topic_partition, from, until)
    }
}
