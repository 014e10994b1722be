//! A chain as a whole.

use super::content::ChainContent;
use super::problem::{Problem, ProblemKind};
use super::{ChainCheck, ChainReport, VerifyReport, known_facts};
use crate::archive::history::history_of;
use crate::archive::survey::{ChainSurvey, Joint, SegmentFacts};
use crate::avro::{Isolation, SegmentHeader};
use crate::store::ArchiveStore;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::OffsetRange;
use kafka_store_statecharts::topic::TopicId;

/// Judges a chain whose segments have been checked.
pub(super) fn check_chain(
    store: &dyn ArchiveStore,
    survey: &ChainSurvey,
    checks: Vec<ChainCheck>,
    report: &mut VerifyReport,
) {
    let mut found = Found { store, survey, problems: Vec::new() };
    let mut pruned = None;
    for (index, joint) in survey.joints() {
        found.joint(index, joint, &mut pruned);
    }
    found.sources();
    let read_whole = checks.iter().filter(|check| check.is_read_whole).count() as u64;
    let content = ChainContent::of(survey, |index| checks[index].is_readable());
    for (index, check) in checks.into_iter().enumerate() {
        check.problems.into_iter().for_each(|(kind, message)| found.add(index, kind, message));
    }
    let summary = summary(survey, content, pruned, read_whole);
    notes(&summary, report);
    report.chains.push(summary);
    report.problems.append(&mut found.problems);
}

struct Found<'a> {
    store: &'a dyn ArchiveStore,
    survey: &'a ChainSurvey,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn add(&mut self, index: usize, kind: ProblemKind, message: impl Into<String>) {
        let chain = &self.survey.chain;
        let location = self.store.location(&chain.segment(self.survey.segments[index].start));
        self.problems.push(Problem { kind, chain: Some(chain.clone()), location, message: message.into() });
    }

    fn joint(&mut self, index: usize, joint: Joint, pruned: &mut Option<OffsetRange>) {
        match joint {
            Joint::Pruned(range) => *pruned = Some(range),
            Joint::Unknown => {}
            Joint::BeforeOrigin(origin) => self.add(
                index,
                ProblemKind::BeforeOrigin,
                format!("the chain begins at offset {origin}: this segment was not written by it; move it out"),
            ),
            Joint::Missing(range) => {
                let missing = self.store.location(&self.survey.chain.segment(range.start()));
                self.add(
                    index,
                    ProblemKind::Missing,
                    format!(
                        "the offsets {} to {} before it are in no segment: {missing} is missing; bring it back from a \
                         copy of the archive",
                        range.start(),
                        range.final_offset()
                    ),
                );
            }
            Joint::Overlap(range) => self.add(
                index,
                ProblemKind::Overlap,
                format!(
                    "the offsets {} to {} are in a segment before it, too: one of them was not written by this chain; \
                     compare their records, and move one out",
                    range.start(),
                    range.final_offset()
                ),
            ),
        }
    }

    /// One chain is of one cluster, topic and isolation, and the original tool's segments come first.
    fn sources(&mut self) {
        let origin = self.survey.origin.as_ref();
        let mut expected = Source {
            cluster_id: origin.map(|origin| origin.cluster_id.clone()),
            topic_id: origin.and_then(|origin| origin.topic_id),
            isolation: None,
        };
        let mut ours_began = false;
        for index in 0..self.survey.segments.len() {
            let Some(facts) = known_facts(&self.survey.segments[index]) else { continue };
            match &facts.header {
                None if ours_began => self.add(
                    index,
                    ProblemKind::OutOfOrder,
                    "the original kafka-store wrote it after one of this program's: stop the old process, and move \
                     the segment out",
                ),
                None => {}
                Some(header) => {
                    ours_began = true;
                    self.follow_topic(&mut expected, header);
                    if let Some(message) = expected.differs(header) {
                        self.add(index, ProblemKind::Stranger, message);
                    }
                }
            }
        }
    }
}

impl Found<'_> {
    /// Expects another topic from a segment on, where an operator decided that the histories of the two are one.
    fn follow_topic(&self, expected: &mut Source, header: &SegmentHeader) {
        if let (Some(before), Some(now)) = (expected.topic_id, header.summary.topic_id)
            && before != now
            && let Ok(history) = history_of(self.store, &self.survey.chain)
            && history.continues_with(header.name.start, before, now)
        {
            expected.topic_id = Some(now);
        }
    }
}

/// Source of a chain's records.
struct Source {
    /// `None` until it is known whether there is one.
    cluster_id: Option<Option<String>>,
    topic_id: Option<TopicId>,
    isolation: Option<Isolation>,
}

impl Source {
    /// Describes how a segment differs from those before it, if it does.
    fn differs(&mut self, header: &SegmentHeader) -> Option<String> {
        let summary = &header.summary;
        let cluster_id = self.cluster_id.get_or_insert_with(|| summary.cluster_id.clone());
        if *cluster_id != summary.cluster_id {
            let or_none = |id: &Option<String>| id.clone().unwrap_or_else(|| "(without an id)".to_owned());
            let (theirs, ours) = (or_none(&summary.cluster_id), or_none(cluster_id));
            return Some(format!("it is from the Kafka cluster {theirs}, and the chain from {ours}"));
        }
        let isolation = *self.isolation.get_or_insert(summary.isolation);
        if isolation != summary.isolation {
            return Some(format!("it was read {}, and the segments before it {isolation}", summary.isolation));
        }
        let topic_id = *self.topic_id.get_or_insert(summary.topic_id?);
        if let Some(theirs) = summary.topic_id.filter(|theirs| *theirs != topic_id) {
            return Some(format!("its topic had the id {theirs}, and the chain's has {topic_id}: it was re-created"));
        }
        None
    }
}

fn summary(survey: &ChainSurvey, content: ChainContent, pruned: Option<OffsetRange>, read_whole: u64) -> ChainReport {
    let facts = || survey.segments.iter().filter_map(known_facts);
    ChainReport {
        chain: survey.chain.clone(),
        origin: survey.origin(),
        pruned,
        first_offset: survey.segments.first().map(|segment| segment.start),
        next_offset: survey.next_offset(),
        segments: survey.segments.len() as u64,
        read_whole,
        unknown: facts().filter(|facts| facts.record_count.is_none()).count() as u64,
        records: facts().filter_map(|facts| facts.record_count).sum(),
        invisible: facts().map(SegmentFacts::invisible_count).sum(),
        deleted: facts().map(SegmentFacts::deleted_count).sum(),
        bytes: survey.segments.iter().map(|segment| segment.stat.bytes).sum(),
        content,
    }
}

fn notes(summary: &ChainReport, report: &mut VerifyReport) {
    let chain: &ChainName = &summary.chain;
    if let Some(range) = summary.pruned {
        report.notes.push(format!(
            "{chain} is pruned: it began at {}, and its first segment that is there at {}; {} offsets were removed",
            range.start(),
            range.next_offset(),
            range.offset_count()
        ));
    }
    if summary.deleted > 0 {
        report.notes.push(format!(
            "{chain} lacks {} offsets that Kafka had deleted before they were archived; its segments say which",
            summary.deleted
        ));
    }
}
