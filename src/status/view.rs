//! Everything that is shown, as it is at one moment.

use super::board::{Board, BoardState, LastStored, PartitionState, SegmentState};
use kafka_store_actors::budget::Budget;
use kafka_store_actors::figures::{Figures, PartitionFigures};
use kafka_store_actors::ports::Clock;
use kafka_store_actors::spool_account::SpoolAccount;
use kafka_store_actors::transition::Buffered;
use kafka_store_statecharts::chart::{Chart, Kind};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::{Partition, PartitionStateKind};
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old the ends of logs may be that are shown: brokers are not asked more often.
const LOG_ENDS_AGE: Duration = Duration::from_secs(10);
/// After which time without a step the poll thread hangs: it makes one at least each second.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// What does not change.
#[derive(Clone, Debug)]
pub struct About {
    /// `--group`
    pub group: String,
    /// The cluster's id.
    pub cluster: Option<String>,
    /// The stores, for people.
    pub store: String,
    /// `--memory-limit`
    pub memory_limit_bytes: u64,
    /// `--spool-limit`
    pub spool_limit_bytes: Option<u64>,
}

/// Kafka, as far as it is shown.
pub trait KafkaFigures: fmt::Debug + Send + Sync {
    /// The high watermark as of the partition's last fetch.
    fn last_high_watermark(&self, partition: &TopicPartition) -> Option<Offset>;

    /// The high watermarks now. Asks brokers; blocks. `None` if they do not answer.
    fn high_watermarks(&self, partitions: &[TopicPartition]) -> Option<BTreeMap<TopicPartition, Offset>>;

    /// How long ago the poll thread last made a step.
    fn since_last_poll(&self) -> Duration;
}

/// Where all that comes from.
#[derive(Debug)]
pub struct Sources {
    about: About,
    started_ms: i64,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    figures: Arc<Figures>,
    budgets: Budgets,
    kafka: Box<dyn KafkaFigures>,
    log_ends: Mutex<Option<(Instant, BTreeMap<TopicPartition, Offset>)>>,
}

/// What bounds the process.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// The memory of batches.
    pub batches: Arc<Budget>,
    /// The memory of open blocks.
    pub blocks: Arc<Budget>,
    /// The disk of open and sealed segments.
    pub spool: Arc<SpoolAccount>,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct View {
    pub(super) about: About,
    pub(super) started_ms: i64,
    pub(super) at_ms: i64,
    pub(super) since_last_poll: Duration,
    pub(super) figures: Arc<Figures>,
    pub(super) budgets: Budgets,
    pub(super) board: BoardState,
    /// The frozen ones first.
    pub(super) partitions: Vec<PartitionView>,
}

/// One partition.
#[derive(Debug)]
pub(super) struct PartitionView {
    pub(super) partition: TopicPartition,
    pub(super) chain: ChainName,
    pub(super) state: &'static str,
    pub(super) since_ms: Option<i64>,
    pub(super) reason: Option<String>,
    pub(super) archived_to: Option<Offset>,
    pub(super) taken_to: Option<Offset>,
    pub(super) high_watermark: Option<Offset>,
    pub(super) open: Buffered,
    pub(super) segments: BTreeMap<Offset, SegmentState>,
    pub(super) last_stored: Option<LastStored>,
}

impl Sources {
    /// Everything that a view needs.
    pub fn new(
        about: About,
        clock: Arc<dyn Clock>,
        board: Arc<Board>,
        figures: Arc<Figures>,
        budgets: Budgets,
        kafka: Box<dyn KafkaFigures>,
    ) -> Sources {
        let started_ms = clock.now().wall_ms;
        Sources { about, started_ms, clock, board, figures, budgets, kafka, log_ends: Mutex::default() }
    }

    /// Whether the poll thread makes its steps; if not, since when it does not.
    pub(super) fn hangs_since(&self) -> Option<Duration> {
        Some(self.kafka.since_last_poll()).filter(|since| *since > HANGS_AFTER)
    }

    /// The name of the assignment chart's state.
    pub(super) fn group_state(&self) -> &'static str {
        self.board.read().group_state
    }

    /// What there is to show now. May ask brokers; blocks.
    pub(super) fn view(&self) -> View {
        let known = self.figures.partitions();
        let log_ends = self.log_ends(known.keys());
        let mut board = self.board.read();
        let mut partitions: Vec<PartitionView> = known
            .into_iter()
            .map(|(partition, figures)| {
                let asked = log_ends.get(&partition).copied();
                let high_watermark = asked.max(self.kafka.last_high_watermark(&partition));
                let charts = board.partitions.remove(&partition).filter(|charts| charts.epoch == figures.epoch());
                PartitionView::new(partition, &figures, charts, high_watermark)
            })
            .collect();
        partitions.sort_by_key(|partition| !partition.is_frozen());
        View {
            about: self.about.clone(),
            started_ms: self.started_ms,
            at_ms: self.clock.now().wall_ms,
            since_last_poll: self.kafka.since_last_poll(),
            figures: Arc::clone(&self.figures),
            budgets: self.budgets.clone(),
            board,
            partitions,
        }
    }

    /// The ends of logs, asked for only where somebody looks, and not each time.
    fn log_ends<'a>(
        &self,
        partitions: impl ExactSizeIterator<Item = &'a TopicPartition>,
    ) -> BTreeMap<TopicPartition, Offset> {
        let mut known = self.log_ends.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = known.as_ref().is_some_and(|(asked_at, _)| asked_at.elapsed() < LOG_ENDS_AGE);
        if partitions.len() > 0 && !is_fresh {
            let partitions: Vec<TopicPartition> = partitions.cloned().collect();
            let before = known.take().map(|(_, ends)| ends).unwrap_or_default();
            *known = Some((Instant::now(), self.kafka.high_watermarks(&partitions).unwrap_or(before)));
        }
        known.as_ref().map(|(_, ends)| ends.clone()).unwrap_or_default()
    }
}

impl PartitionView {
    fn new(
        partition: TopicPartition,
        figures: &PartitionFigures,
        charts: Option<PartitionState>,
        high_watermark: Option<Offset>,
    ) -> PartitionView {
        // Whoever has no chart on the board has not changed its state yet.
        let charts = charts.unwrap_or_else(|| PartitionState {
            epoch: figures.epoch(),
            chain: ChainName::first_lineage(partition.clone()),
            state: Partition::INITIAL.as_str(),
            since_ms: None,
            reason: None,
            segments: BTreeMap::new(),
            last_stored: None,
        });
        PartitionView {
            partition,
            chain: charts.chain,
            state: charts.state,
            since_ms: charts.since_ms,
            reason: charts.reason,
            archived_to: figures.archived_to(),
            taken_to: figures.taken_to(),
            high_watermark,
            open: figures.open(),
            segments: charts.segments,
            last_stored: charts.last_stored,
        }
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.state == PartitionStateKind::Frozen.as_str()
    }

    /// How many offsets of the log are not in the store yet.
    pub(super) fn lag(&self) -> Option<u64> {
        let (archived, end) = (self.archived_to?, self.high_watermark?);
        Some(if end > archived { archived.distance_to(end) } else { 0 })
    }

    /// When the first segment was begun that the store does not have.
    pub(super) fn unstored_since_ms(&self) -> Option<i64> {
        self.segments.values().filter(|segment| !segment.is_stored).map(|segment| segment.opened_ms).min()
    }
}

impl View {
    /// How many partitions are in each state.
    pub(super) fn partitions_by_state(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let count = |state: &'static str| self.partitions.iter().filter(|partition| partition.state == state).count();
        // Those that are gone are forgotten.
        let states = PartitionStateKind::ALL.iter().filter(|state| **state != PartitionStateKind::Gone);
        states.map(move |state| (state.as_str(), count(state.as_str())))
    }
}
