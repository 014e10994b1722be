//! The records of one chain, across its segments, on the caller's own thread.

use super::error::ArchiveError;
use super::survey::SegmentFacts;
use super::window::{OffsetWindow, Window, check_chain, check_joint};
use crate::avro::{FileHeader, ReadError, Record, SegmentReader};
use crate::store::ArchiveStore;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

/// Reads a chain as one stream of records, ours and the original tool's segments alike.
///
/// Each segment must start where the one before it ended. What is wrong is reported after the records before it.
/// [`ReadJob`](super::ReadJob) gives the same, in the same order, on several threads.
#[derive(Debug)]
pub struct ChainReader {
    store: Arc<dyn ArchiveStore>,
    chain: ChainName,
    window: Window,
    /// Start offsets of the segments to come.
    starts: VecDeque<Offset>,
    /// What the segment before covers.
    before: Option<OffsetRange>,
}

/// The segment that a record is in.
#[derive(Clone, Copy, Debug)]
pub struct SegmentContext<'a> {
    /// Its name.
    pub name: &'a SegmentName,
    /// What it says of itself.
    pub header: &'a FileHeader,
}

impl ChainReader {
    /// Looks up which segments of the chain there are now; later ones are not seen.
    ///
    /// # Errors
    /// If the store does not answer.
    pub fn new(
        store: Arc<dyn ArchiveStore>,
        chain: ChainName,
        offsets: OffsetWindow,
    ) -> Result<ChainReader, ArchiveError> {
        let window = Window { offsets, ..Window::default() };
        let mut starts = store.segments_from(&chain, None)?;
        window.keep_segments(&mut starts, |start| *start);
        Ok(ChainReader { store, chain, window, starts: starts.into(), before: None })
    }

    /// The chain.
    pub fn chain(&self) -> &ChainName {
        &self.chain
    }

    /// Gives every wanted record to `visit`, in the order of offsets. The first error ends it.
    ///
    /// # Errors
    /// What `visit` returns, or what is wrong with the chain, as the same type.
    pub fn for_each_record<E: From<ArchiveError>>(
        &mut self,
        mut visit: impl FnMut(SegmentContext<'_>, &Record<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(start) = self.starts.pop_front() {
            let name = self.chain.segment(start);
            check_joint(self.before, &name)?;
            match self.read_segment(&name, &mut visit)? {
                Some(covered) => self.before = Some(covered),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Returns what the segment covers, or `None` if the last wanted record was reached in it.
    fn read_segment<E: From<ArchiveError>>(
        &self,
        name: &SegmentName,
        visit: &mut impl FnMut(SegmentContext<'_>, &Record<'_>) -> Result<(), E>,
    ) -> Result<Option<OffsetRange>, E> {
        let location = || self.store.location(name);
        let wrong = |source| ArchiveError::Segment { location: location(), source };
        let file = match self.store.open(name).map_err(ArchiveError::from)? {
            Some(file) => file,
            None => return Err(ArchiveError::Gone { location: location() }.into()),
        };
        let mut reader: SegmentReader<Box<dyn Read + Send>> = SegmentReader::new(file, name.start).map_err(wrong)?;
        let header = reader.header().clone();
        let facts = SegmentFacts::of_file(&header);
        check_chain(location, name, &facts)?;
        if let Some(covered) = self.window.passes_over(&facts) {
            return Ok(Some(covered));
        }
        let context = SegmentContext { name, header: &header };
        let mut last_offset = None;
        while let Some(block) = reader.next_block().map_err(wrong)? {
            let mut records = block.records();
            while let Some(record) = records.next_record().map_err(wrong)? {
                let offset = record.fields.offset;
                if self.window.ends_before(offset) {
                    return Ok(None);
                }
                if self.window.has(offset, record.fields.timestamp) {
                    visit(context, &record)?;
                }
                last_offset = Some(offset);
            }
        }
        let covered = covered(&header, last_offset);
        Ok(Some(covered.ok_or_else(|| wrong(ReadError::without_records()))?))
    }
}

/// What a segment that was read to its end covers; `None` if it is the original tool's and without records.
pub(super) fn covered(header: &FileHeader, last_offset: Option<Offset>) -> Option<OffsetRange> {
    match header.ours() {
        Some(ours) => Some(ours.range()),
        None => last_offset.and_then(|last| OffsetRange::new(header.start, last)),
    }
}
