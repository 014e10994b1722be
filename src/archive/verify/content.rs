//! The parts of a chain that are compared with Kafka's log: the log's identity, and the offsets of each segment.

use crate::archive::survey::{ChainSurvey, SegmentFacts, SurveyedSegment};
use crate::avro::{Isolation, SegmentHeader};
use kafka_store_statecharts::last_record::LastRecord;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicId;

/// The log that a chain was made from, as its newest segment of ours says, else its origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogIdentity {
    pub(super) cluster_id: Option<String>,
    pub(super) topic_id: Option<TopicId>,
    /// `None` where all segments are the original tool's.
    pub(super) isolation: Option<Isolation>,
}

/// A segment of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Offset,
    /// `None` where the segment cannot be read, or is the original tool's and was not.
    pub(super) final_offset: Option<Offset>,
    pub(super) record_count: Option<u64>,
    /// `None` also in files that do not say.
    pub(super) last_record: Option<LastRecord>,
    pub(super) bytes: u64,
    /// Nothing is known against it.
    pub(super) is_readable: bool,
}

/// A chain's identity and segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ChainContent {
    pub(super) log: LogIdentity,
    /// In order.
    pub(super) spans: Vec<Span>,
}

impl ChainContent {
    /// `is_readable` knows, by the index of a segment, whether nothing was found against its bytes.
    pub(super) fn of(survey: &ChainSurvey, is_readable: impl Fn(usize) -> bool) -> ChainContent {
        let headers = || survey.segments.iter().rev().filter_map(header_of);
        let origin = survey.origin.as_ref();
        let newest = headers().next();
        let log = LogIdentity {
            cluster_id: newest
                .and_then(|header| header.summary.cluster_id.clone())
                .or_else(|| origin.and_then(|origin| origin.cluster_id.clone())),
            topic_id: headers()
                .find_map(|header| header.summary.topic_id)
                .or_else(|| origin.and_then(|origin| origin.topic_id)),
            isolation: newest.map(|header| header.summary.isolation),
        };
        let spans = survey.segments.iter().enumerate();
        let spans = spans.map(|(index, segment)| Span::of(segment, is_readable(index))).collect();
        ChainContent { log, spans }
    }
}

impl Span {
    /// The start of the next segment, as far as that is known.
    pub(super) fn next_offset(&self) -> Offset {
        self.final_offset.map_or(self.start, Offset::next)
    }

    fn of(segment: &SurveyedSegment, is_readable: bool) -> Span {
        let facts = segment.facts.as_ref().ok();
        Span {
            start: segment.start,
            final_offset: facts.and_then(|facts| facts.final_offset),
            record_count: facts.and_then(|facts| facts.record_count),
            last_record: header_of(segment).and_then(|header| header.summary.last_record),
            bytes: segment.stat.bytes,
            is_readable: is_readable && facts.is_some(),
        }
    }
}

fn header_of(segment: &SurveyedSegment) -> Option<&SegmentHeader> {
    let SegmentFacts { header, .. } = segment.facts.as_ref().ok()?;
    header.as_deref()
}
