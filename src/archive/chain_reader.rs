//! The records of one chain, across its segments.

use super::error::ArchiveError;
use crate::avro::{FileHeader, Record, SegmentReader};
use crate::store::ArchiveStore;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

/// Which records of a chain are wanted. Both ends belong to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffsetWindow {
    /// From this offset on; `None` for the chain's first record.
    pub from: Option<Offset>,
    /// Up to this offset; `None` for the chain's last record.
    pub to: Option<Offset>,
}

/// Reads a chain as one stream of records, ours and the original tool's segments alike.
///
/// Each segment must start where the one before it ended. What is wrong is reported after the records before it.
#[derive(Debug)]
pub struct ChainReader {
    store: Arc<dyn ArchiveStore>,
    chain: ChainName,
    window: OffsetWindow,
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
        window: OffsetWindow,
    ) -> Result<ChainReader, ArchiveError> {
        let mut starts = store.segments_from(&chain, None)?;
        if let Some(from) = window.from {
            // The segment that starts at or before `from` may cover it.
            let later = starts.partition_point(|start| *start <= from);
            starts.drain(..later.saturating_sub(1));
        }
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
            if self.window.to.is_some_and(|to| to < start) {
                return Ok(());
            }
            let name = self.chain.segment(start);
            self.check_joint(&name)?;
            match self.read_segment(&name, &mut visit)? {
                Some(covered) => self.before = Some(covered),
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// The segment must start where the one before it ended.
    fn check_joint(&self, name: &SegmentName) -> Result<(), ArchiveError> {
        let Some(before) = self.before else {
            return Ok(());
        };
        if name.start < before.next_offset() {
            return Err(ArchiveError::Overlap { first: before, second: name.clone() });
        }
        if name.start > before.next_offset() {
            return Err(ArchiveError::Missing {
                missing: self.chain.segment(before.next_offset()),
                before: before.final_offset(),
                next: name.start,
            });
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
        if let Some(ours) = header.ours() {
            if ours.name.chain != self.chain {
                let chain = ours.name.chain.clone();
                return Err(ArchiveError::WrongChain { location: location(), chain }.into());
            }
            if self.window.from.is_some_and(|from| ours.summary.final_offset < from) {
                return Ok(Some(ours.range()));
            }
        }
        let context = SegmentContext { name, header: &header };
        let mut last_offset = None;
        while let Some(block) = reader.next_block().map_err(wrong)? {
            let mut records = block.records();
            while let Some(record) = records.next_record().map_err(wrong)? {
                let offset = record.fields.offset;
                if self.window.to.is_some_and(|to| to < offset) {
                    return Ok(None);
                }
                if self.window.from.is_none_or(|from| from <= offset) {
                    visit(context, &record)?;
                }
                last_offset = Some(offset);
            }
        }
        let covered = match header.ours() {
            Some(ours) => Some(ours.range()),
            None => last_offset.and_then(|last| OffsetRange::new(name.start, last)),
        };
        let empty = || wrong(crate::avro::ReadError::Truncated { position: 0, inside: "without any record".into() });
        Ok(Some(covered.ok_or_else(empty)?))
    }
}
