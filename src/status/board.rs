//! What the charts show now, and what they have done so far: kept from their transitions.

use kafka_store_actors::transition::{Buffered, Detail, Subject, TransitionLog, TransitionRecord};
use kafka_store_statecharts::assignment::{Assignment, AssignmentStateKind};
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::{Chart, Kind};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::{AssignmentEpoch, Partition, PartitionStateKind};
use kafka_store_statecharts::segment::{Segment, SegmentEventKind, SegmentStateKind};
use kafka_store_statecharts::topic::{TopicName, TopicPartition};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The state of each chart of the process, and sums over all of them.
#[derive(Debug, Default)]
pub struct Board(Mutex<BoardState>);

/// What the board shows.
#[derive(Clone, Debug)]
pub(super) struct BoardState {
    /// The name of the assignment chart's state.
    pub(super) group_state: &'static str,
    /// The partitions whose charts have changed their state in their assignment.
    pub(super) partitions: BTreeMap<TopicPartition, Arc<PartitionState>>,
    /// Segments completed, by topic and why they end.
    pub(super) sealed: BTreeMap<(TopicName, SealReason), Sums>,
    /// Segments of which the arbiter has said that it holds them, by topic.
    pub(super) stored: BTreeMap<(TopicName, Outcome), Sums>,
}

/// What became of a segment at the arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// It stored ours.
    Stored,
    /// It had one of this name already.
    Adopted,
}

/// How many, and how much.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) segments: u64,
    pub(super) records: u64,
    /// Of records before compression where they are sealed; of files where they are stored.
    pub(super) bytes: u64,
}

/// A partition's chart in one assignment.
#[derive(Clone, Debug)]
pub(super) struct PartitionState {
    pub(super) epoch: AssignmentEpoch,
    pub(super) chain: ChainName,
    pub(super) state: &'static str,
    pub(super) since_ms: Option<i64>,
    /// Why it is frozen, and what to do about it.
    pub(super) reason: Option<String>,
    /// From their first record until their offset is committed, by their start.
    pub(super) segments: BTreeMap<Offset, SegmentState>,
    pub(super) last_stored: Option<LastStored>,
}

/// A segment's chart.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentState {
    pub(super) state: &'static str,
    pub(super) since_ms: i64,
    pub(super) opened_ms: i64,
    pub(super) is_stored: bool,
    /// Why it ends, and what is in it, once that is settled.
    sealed: Option<(SealReason, Buffered)>,
}

/// The last segment that the arbiter has taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastStored {
    pub(super) start: Offset,
    pub(super) final_offset: Offset,
    pub(super) at_ms: i64,
}

impl Board {
    /// The name of the assignment chart's state.
    pub(super) fn group_state(&self) -> &'static str {
        self.lock().group_state
    }

    /// What it shows at this moment: mostly pointers, for the writers wait meanwhile.
    pub(super) fn read(&self) -> BoardState {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BoardState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TransitionLog for Board {
    fn record(&self, transition: &TransitionRecord<'_>) {
        let mut state = self.lock();
        match (transition.chart, &transition.subject) {
            (Assignment::NAME, _) => state.group_state = transition.to,
            (Partition::NAME, Some(subject)) => state.partition_changed(transition, subject),
            (Segment::NAME, Some(subject)) => state.segment_changed(transition, subject),
            // Uploads are part of what their segments do.
            _ => {}
        }
    }
}

impl Default for BoardState {
    fn default() -> BoardState {
        BoardState {
            group_state: AssignmentStateKind::Joining.as_str(),
            partitions: BTreeMap::new(),
            sealed: BTreeMap::new(),
            stored: BTreeMap::new(),
        }
    }
}

impl PartitionState {
    /// A partition that was just assigned.
    pub(super) fn new(partition: &TopicPartition, epoch: AssignmentEpoch) -> PartitionState {
        PartitionState {
            epoch,
            chain: ChainName::first_lineage(partition.clone()),
            state: Partition::INITIAL.as_str(),
            since_ms: None,
            reason: None,
            segments: BTreeMap::new(),
            last_stored: None,
        }
    }
}

impl BoardState {
    fn partition_changed(&mut self, transition: &TransitionRecord<'_>, subject: &Subject<'_>) {
        let Some(epoch) = subject.epoch else { return };
        let key = &subject.chain.topic_partition;
        if self.partitions.get(key).is_some_and(|known| known.epoch > epoch) {
            return; // It was assigned anew meanwhile.
        }
        if transition.to == PartitionStateKind::Gone.as_str() {
            self.partitions.remove(key);
            return;
        }
        let new = || Arc::new(PartitionState::new(key, epoch));
        let partition = self.partitions.entry(key.clone()).or_insert_with(new);
        if partition.epoch != epoch {
            *partition = new();
        }
        let partition = Arc::make_mut(partition);
        partition.chain = subject.chain.clone();
        (partition.state, partition.since_ms) = (transition.to, Some(transition.now.wall_ms));
        partition.reason = match transition.detail {
            Detail::Blocked(reason) => Some(reason.to_owned()),
            _ => None,
        };
    }

    fn segment_changed(&mut self, transition: &TransitionRecord<'_>, subject: &Subject<'_>) {
        let topic = &subject.chain.topic_partition.topic;
        let mut stored = None;
        if let (Detail::Stored(content), Some(outcome)) = (transition.detail, outcome(transition.event)) {
            let sums = self.stored.entry((topic.clone(), outcome)).or_default();
            sums.add(content.record_count, content.file_bytes);
            stored = Some(content.range.final_offset());
        }
        let known = self.partitions.get_mut(&subject.chain.topic_partition);
        let known = known.filter(|partition| Some(partition.epoch) == subject.epoch);
        let (Some(start), Some(partition)) = (subject.segment_start, known) else { return };
        let partition = Arc::make_mut(partition);
        let now_ms = transition.now.wall_ms;
        if let Some(final_offset) = stored {
            partition.last_stored = Some(LastStored { start, final_offset, at_ms: now_ms });
        }
        if transition.to == SegmentStateKind::Idle.path() {
            partition.segments.remove(&start);
            return;
        }
        let segment = partition.segments.entry(start).or_insert(SegmentState {
            state: transition.to,
            since_ms: now_ms,
            opened_ms: now_ms,
            is_stored: false,
            sealed: None,
        });
        (segment.state, segment.since_ms) = (transition.to, now_ms);
        segment.is_stored |= stored.is_some();
        match transition.detail {
            Detail::Sealed { reason, buffered, .. } => segment.sealed = Some((reason, buffered)),
            Detail::Completed(_) => {
                if let Some((reason, Buffered { record_count, record_bytes })) = segment.sealed {
                    self.sealed.entry((topic.clone(), reason)).or_default().add(record_count, record_bytes);
                }
            }
            _ => {}
        }
    }
}

impl Outcome {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Outcome::Stored => "stored",
            Outcome::Adopted => "adopted",
        }
    }
}

impl Sums {
    fn add(&mut self, records: u64, bytes: u64) {
        self.segments += 1;
        self.records += records;
        self.bytes += bytes;
    }
}

/// What an event says of a segment at the arbiter. The mirrors come later, and change nothing in it.
fn outcome(event: &str) -> Option<Outcome> {
    if event == SegmentEventKind::ObjectStored.as_str() {
        Some(Outcome::Stored)
    } else {
        (event == SegmentEventKind::ObjectAlreadyExists.as_str()).then_some(Outcome::Adopted)
    }
}
