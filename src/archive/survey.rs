//! What an archive holds, as far as that is known without reading its records.

use super::error::ArchiveError;
use super::origin_object::OriginObject;
use super::stored_header::Front;
use crate::avro::{BlockCodec, FileHeader, SegmentHeader, TimestampRange, Verified, verify};
use crate::store::{ArchiveStore, ObjectStat};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::origin::Origin;

/// What is known of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// What it says of itself; `None` for the original tool's, which say nothing.
    pub header: Option<Box<SegmentHeader>>,
    /// How its blocks are compressed.
    pub codec: BlockCodec,
    /// The last offset covered.
    pub final_offset: Option<Offset>,
    /// How many records there are.
    pub record_count: Option<u64>,
    /// Of the records.
    pub timestamps: Option<TimestampRange>,
}

impl SegmentFacts {
    /// One of our own.
    pub fn of_ours(header: SegmentHeader) -> SegmentFacts {
        SegmentFacts {
            codec: header.codec,
            final_offset: Some(header.summary.final_offset),
            record_count: Some(header.record_count),
            timestamps: Some(header.summary.timestamps),
            header: Some(Box::new(header)),
        }
    }

    /// What the front of a file says.
    pub fn of_file(header: &FileHeader) -> SegmentFacts {
        match header.ours() {
            Some(ours) => SegmentFacts::of_ours(ours.clone()),
            None => SegmentFacts {
                header: None,
                codec: header.codec,
                final_offset: None,
                record_count: None,
                timestamps: None,
            },
        }
    }

    /// What was found when a whole file was read.
    pub fn of_verified(verified: &Verified) -> SegmentFacts {
        SegmentFacts {
            final_offset: Some(verified.range.final_offset()),
            record_count: Some(verified.record_count),
            timestamps: Some(verified.timestamps),
            ..SegmentFacts::of_file(&verified.header)
        }
    }

    /// Where the next segment must start, if that is known.
    pub fn next_offset(&self) -> Option<Offset> {
        self.final_offset.map(Offset::next)
    }

    /// Offsets that the log did not show.
    pub fn invisible_count(&self) -> u64 {
        self.header.as_ref().map_or(0, |header| header.invisible_count())
    }

    /// Offsets whose records were removed before they were archived.
    pub fn deleted_count(&self) -> u64 {
        let gaps = self.header.iter().flat_map(|header| &header.summary.gaps);
        gaps.map(|gap| gap.offsets.offset_count()).sum()
    }
}

/// A segment of a chain.
#[derive(Debug)]
pub struct SurveyedSegment {
    /// The first offset covered: its name.
    pub start: Offset,
    /// What the store says of it.
    pub stat: ObjectStat,
    /// What it says of itself, or why that is not known.
    pub facts: Result<SegmentFacts, ArchiveError>,
}

/// A chain with all its segments.
#[derive(Debug)]
pub struct ChainSurvey {
    /// Its name.
    pub chain: ChainName,
    /// Where it begins, if that is written down (it is not in the original tool's archives).
    pub(super) origin: Option<OriginObject>,
    /// In order.
    pub segments: Vec<SurveyedSegment>,
}

/// A place where a segment does not simply follow on what is before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    /// The front of the chain is not there any more, and nothing before it is.
    Pruned(OffsetRange),
    /// The chain has a segment before its origin.
    BeforeOrigin(Offset),
    /// Segments that cover these offsets are missing.
    Missing(OffsetRange),
    /// The segment covers offsets that one before it covers.
    Overlap(OffsetRange),
    /// Where the segment before it ends is not known: it is the original tool's, or cannot be read.
    Unknown,
}

impl ChainSurvey {
    /// The origin, if it is written down.
    pub fn origin(&self) -> Option<Origin> {
        self.origin.as_ref().map(|object| object.origin)
    }

    /// Where the chain goes on, if that is known.
    pub fn next_offset(&self) -> Option<Offset> {
        match self.segments.last() {
            Some(last) => last.facts.as_ref().ok()?.next_offset(),
            None => self.origin().map(|origin| origin.offset),
        }
    }

    /// What is there in place of a seamless chain: the indexes of segments, and how each joins on.
    pub fn joints(&self) -> Vec<(usize, Joint)> {
        let mut joints = Vec::new();
        // Where the chain goes on; `None` where that is not known.
        let mut position = self.origin().map(|origin| origin.offset);
        for (index, segment) in self.segments.iter().enumerate() {
            let start = segment.start;
            let joint = match position {
                None if index == 0 => None,
                None => Some(Joint::Unknown),
                Some(origin) if index == 0 && start < origin => Some(Joint::BeforeOrigin(origin)),
                Some(position) if start < position => before(start, position).map(Joint::Overlap),
                Some(position) => before(position, start).map(|range| match index {
                    0 => Joint::Pruned(range),
                    _ => Joint::Missing(range),
                }),
            };
            joints.extend(joint.map(|joint| (index, joint)));
            let next = segment.facts.as_ref().ok().and_then(SegmentFacts::next_offset);
            // After an overlap the longer of the two counts.
            position = match (next, position) {
                (Some(next), Some(position)) if index > 0 => Some(next.max(position)),
                (next, _) => next,
            };
        }
        joints
    }
}

/// The offsets `[start, end)`, if there are some.
fn before(start: Offset, end: Offset) -> Option<OffsetRange> {
    end.previous().and_then(|last| OffsetRange::new(start, last))
}

/// What is known of a segment: by what the store keeps beside it, else by its header.
///
/// # Errors
/// If the store does not answer, or the segment cannot be one.
pub fn facts_of(store: &dyn ArchiveStore, name: &SegmentName, stat: &ObjectStat) -> Result<SegmentFacts, ArchiveError> {
    let wrong = |source| ArchiveError::Segment { location: store.location(name), source };
    match SegmentHeader::from_attributes(&stat.attributes).map_err(wrong)? {
        Some(header) => Ok(SegmentFacts::of_ours(header)),
        None => header_of(store, name).map(|header| SegmentFacts::of_file(&header)),
    }
}

/// The header of a segment, read from its front.
///
/// # Errors
/// If the store does not answer, or the segment cannot be one.
pub fn header_of(store: &dyn ArchiveStore, name: &SegmentName) -> Result<FileHeader, ArchiveError> {
    let location = || store.location(name);
    let front = Front::of_object(store, name)?.ok_or_else(|| ArchiveError::Gone { location: location() })?;
    front.header.map_err(|source| ArchiveError::Segment { location: location(), source })
}

/// What is found when a whole segment is read.
///
/// # Errors
/// If the store does not answer, or the segment is not whole.
pub fn read_facts(store: &dyn ArchiveStore, name: &SegmentName) -> Result<SegmentFacts, ArchiveError> {
    let location = || store.location(name);
    let object = store.open(name)?.ok_or_else(|| ArchiveError::Gone { location: location() })?;
    let verified = verify(object, name.start);
    verified
        .map(|verified| SegmentFacts::of_verified(&verified))
        .map_err(|source| ArchiveError::Segment { location: location(), source })
}

/// The origin of a chain, if it is written down.
pub(super) fn origin_of(store: &dyn ArchiveStore, chain: &ChainName) -> Result<Option<OriginObject>, ArchiveError> {
    Ok(OriginObject::read(store, chain)?)
}

/// A chain with all its segments, as far as that is known without reading records.
///
/// `facts` says what is known of a segment: [`facts_of`], or more.
///
/// # Errors
/// If the store cannot list the chain. A segment that cannot be read is in the survey.
pub fn survey(
    store: &dyn ArchiveStore,
    chain: &ChainName,
    threads: usize,
    facts: impl Fn(&SegmentName, &ObjectStat) -> Result<SegmentFacts, ArchiveError> + Sync,
) -> Result<ChainSurvey, ArchiveError> {
    let origin = origin_of(store, chain)?;
    let objects = store.objects_from(chain, None)?;
    let facts = super::parallel_map(&objects, threads, |(start, stat)| facts(&chain.segment(*start), stat));
    let segments = objects.into_iter().zip(facts);
    let segments = segments.map(|((start, stat), facts)| SurveyedSegment { start, stat, facts }).collect();
    Ok(ChainSurvey { chain: chain.clone(), origin, segments })
}
