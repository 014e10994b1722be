//! Everything that is shown, as it is at one moment.

use super::board::{Board, BoardState, PartitionState};
use kafka_store_actors::budget::Budget;
use kafka_store_actors::figures::{Figures, PartitionFigures, Trouble};
use kafka_store_actors::ports::Clock;
use kafka_store_actors::spool_account::SpoolAccount;
use kafka_store_actors::transition::Buffered;
use kafka_store_statecharts::chart::Kind;
use kafka_store_statecharts::failure::{Class, Port};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::PartitionStateKind;
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How old the ends of logs may be that are shown: brokers are not asked more often.
const LOG_ENDS_AGE: Duration = Duration::from_secs(10);
/// From when on those are not shown any more, because brokers have not said others since.
const LOG_ENDS_FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
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

/// What is outside of the actors, as far as it is shown.
pub trait Outside: fmt::Debug + Send + Sync {
    /// The high watermark as of the partition's last fetch.
    fn last_high_watermark(&self, partition: &TopicPartition) -> Option<Offset>;

    /// The high watermarks now, of those for which somebody answers. Asks brokers; blocks.
    fn high_watermarks(&self, partitions: &[TopicPartition]) -> BTreeMap<TopicPartition, Offset>;

    /// How often what has failed where the actors do not see it, since it is tried again there.
    fn failures(&self) -> BTreeMap<(Port, Class), u64>;

    /// What does not work there at the moment.
    fn trouble(&self, wall_ms: i64) -> Option<Trouble>;

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
    outside: Box<dyn Outside>,
    log_ends: Mutex<LogEnds>,
}

/// What brokers have said of the ends of logs.
#[derive(Debug, Default)]
struct LogEnds {
    asked_at: Option<Instant>,
    ends: BTreeMap<TopicPartition, (Instant, Offset)>,
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

impl Budgets {
    /// The memory of records.
    pub(super) fn memory_used_bytes(&self) -> u64 {
        self.batches.used_bytes() + self.blocks.used_bytes()
    }
}

/// What is shown.
#[derive(Debug)]
pub(super) struct View {
    pub(super) about: About,
    pub(super) started_ms: i64,
    pub(super) at_ms: i64,
    pub(super) since_last_poll: Duration,
    pub(super) failures: BTreeMap<(Port, Class), u64>,
    pub(super) budgets: Budgets,
    pub(super) board: BoardState,
    /// The frozen ones first.
    pub(super) partitions: Vec<PartitionView>,
}

/// One partition.
#[derive(Debug)]
pub(super) struct PartitionView {
    pub(super) partition: TopicPartition,
    pub(super) charts: Arc<PartitionState>,
    pub(super) archived_to: Option<Offset>,
    pub(super) taken_to: Option<Offset>,
    pub(super) high_watermark: Option<Offset>,
    pub(super) open: Buffered,
}

impl Sources {
    /// Everything that a view needs.
    pub fn new(
        about: About,
        clock: Arc<dyn Clock>,
        board: Arc<Board>,
        figures: Arc<Figures>,
        budgets: Budgets,
        outside: Box<dyn Outside>,
    ) -> Sources {
        let started_ms = clock.now().wall_ms;
        Sources { about, started_ms, clock, board, figures, budgets, outside, log_ends: Mutex::default() }
    }

    /// Whether the poll thread makes its steps; if not, since when it does not.
    pub(super) fn hangs_since(&self) -> Option<Duration> {
        Some(self.outside.since_last_poll()).filter(|since| *since > HANGS_AFTER)
    }

    /// How often what has failed.
    fn failures(&self) -> BTreeMap<(Port, Class), u64> {
        let mut failures = self.figures.failures();
        for (of, count) in self.outside.failures() {
            *failures.entry(of).or_default() += count;
        }
        failures
    }

    /// What does not work at the moment and is tried again: a line for each port and class.
    pub(super) fn troubles(&self) -> Vec<String> {
        let now_ms = self.clock.now().wall_ms;
        let mut troubles: BTreeMap<(Port, Class), (usize, Trouble)> = BTreeMap::new();
        let of_partitions = self.figures.partitions();
        let of_partitions =
            of_partitions.values().flat_map(|known| known.troubles().values().cloned().collect::<Vec<_>>());
        for trouble in of_partitions.chain(self.outside.trouble(now_ms)) {
            let (count, first) =
                troubles.entry((trouble.failure.port, trouble.failure.class)).or_insert_with(|| (0, trouble.clone()));
            *count += 1;
            if trouble.since_ms < first.since_ms {
                *first = trouble;
            }
        }
        let line = |((port, class), (count, trouble)): ((Port, Class), (usize, Trouble))| {
            let seconds = (now_ms - trouble.since_ms).max(0) / 1_000;
            format!(
                "{} {} for {seconds} s, {count} waiting: {}",
                port.as_str(),
                class.as_str(),
                trouble.failure.advice()
            )
        };
        troubles.into_iter().map(line).collect()
    }

    /// The partitions that are frozen, with the reasons.
    pub(super) fn frozen(&self) -> Vec<String> {
        let board = self.board.read();
        let frozen = board.partitions.iter().filter(|(_, charts)| charts.state == PartitionStateKind::Frozen.as_str());
        frozen
            .map(|(partition, charts)| format!("{partition} frozen: {}", charts.reason.as_deref().unwrap_or_default()))
            .collect()
    }

    /// The name of the assignment chart's state.
    pub(super) fn group_state(&self) -> &'static str {
        self.board.group_state()
    }

    /// What there is to show now. May ask brokers; blocks.
    pub(super) fn view(&self) -> View {
        let log_ends = self.log_ends(self.figures.partitions().keys());
        // After that: it may have taken long. The board last: who has left is not on it any more.
        let known = self.figures.partitions();
        let mut board = self.board.read();
        let mut partitions: Vec<PartitionView> = known
            .into_iter()
            .map(|(partition, figures)| {
                let asked = log_ends.ends.get(&partition).map(|(_, end)| *end);
                let last = self.outside.last_high_watermark(&partition);
                let charts = board.partitions.remove(&partition).filter(|charts| charts.epoch == figures.epoch());
                PartitionView::new(partition, &figures, charts, (asked, last))
            })
            .collect();
        partitions.sort_by_key(|partition| !partition.is_frozen());
        View {
            about: self.about.clone(),
            started_ms: self.started_ms,
            at_ms: self.clock.now().wall_ms,
            since_last_poll: self.outside.since_last_poll(),
            failures: self.failures(),
            budgets: self.budgets.clone(),
            board,
            partitions,
        }
    }

    /// The ends of logs, asked for only where somebody looks, and not each time.
    fn log_ends<'a>(&self, partitions: impl ExactSizeIterator<Item = &'a TopicPartition>) -> MutexGuard<'_, LogEnds> {
        let mut known = self.log_ends.lock().unwrap_or_else(PoisonError::into_inner);
        if partitions.len() > 0 && known.asked_at.is_none_or(|asked_at| asked_at.elapsed() >= LOG_ENDS_AGE) {
            let partitions: Vec<TopicPartition> = partitions.cloned().collect();
            let answered = self.outside.high_watermarks(&partitions);
            let now = Instant::now();
            known.asked_at = Some(now);
            known.ends.extend(answered.into_iter().map(|(partition, end)| (partition, (now, end))));
            known.ends.retain(|_, (told_at, _)| told_at.elapsed() < LOG_ENDS_FORGOTTEN_AFTER);
        }
        known
    }
}

impl PartitionView {
    fn new(
        partition: TopicPartition,
        figures: &PartitionFigures,
        charts: Option<Arc<PartitionState>>,
        (asked, last): (Option<Offset>, Option<Offset>),
    ) -> PartitionView {
        // Whoever has no chart on the board has not changed its state yet.
        let charts = charts.unwrap_or_else(|| Arc::new(PartitionState::new(&partition, figures.epoch())));
        let (archived_to, taken_to, open) = (figures.archived_to(), figures.taken_to(), figures.open());
        let mut view = PartitionView { partition, charts, archived_to, taken_to, high_watermark: asked, open };
        // What is frozen is not fetched any more: its log may have been cut off, or created anew.
        if !view.is_frozen() {
            view.high_watermark = asked.max(last);
        }
        view
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.charts.state == PartitionStateKind::Frozen.as_str()
    }

    /// How many offsets of the log are not in the store yet.
    pub(super) fn lag(&self) -> Option<u64> {
        let (archived, end) = (self.archived_to?, self.high_watermark?);
        Some(if end > archived { archived.distance_to(end) } else { 0 })
    }

    /// When the first segment was begun that the store does not have.
    pub(super) fn unstored_since_ms(&self) -> Option<i64> {
        let segments = self.charts.segments.values();
        segments.filter(|segment| !segment.is_stored).map(|segment| segment.opened_ms).min()
    }
}

impl View {
    /// How many partitions are in each state.
    pub(super) fn partitions_by_state(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let count =
            |state: &'static str| self.partitions.iter().filter(|partition| partition.charts.state == state).count();
        // Those that are gone are forgotten.
        let states = PartitionStateKind::ALL.iter().filter(|state| **state != PartitionStateKind::Gone);
        states.map(move |state| (state.as_str(), count(state.as_str())))
    }
}
