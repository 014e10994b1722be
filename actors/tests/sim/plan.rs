//! What a seed decides beforehand.

use super::prng::Prng;
use kafka_store_statecharts::boundary::BoundarySettings;
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use kafka_store_statecharts::wall_clock::WallClockSettings;
use std::num::NonZeroU64;

/// Settings and the measure of trouble.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) partitions: Vec<TopicPartition>,
    pub(crate) boundary: BoundarySettings,
    pub(crate) wall_clock: WallClockSettings,
    pub(crate) sealed_max: usize,
    pub(crate) uploaders: u64,
    pub(crate) indexed: bool,
    pub(crate) mirrored: bool,
    pub(crate) budget_bytes: u64,
    /// The disk for the spool's files.
    pub(crate) spool_bytes: u64,
    /// The memory of open blocks.
    pub(crate) block_bytes: u64,
    /// The most records of a batch, and batches of a partition at a time.
    pub(crate) batches: (u64, u64),
    pub(crate) backlog_max: u64,
    /// Processes that end before the calm, by a kill or in good order.
    pub(crate) lives: u64,
    /// Whether the process that saw the faults archives the rest, or a new one.
    pub(crate) calm: bool,
    /// A partition in which something lies that must not be adopted.
    pub(crate) blocked: Option<TopicPartition>,
    /// Of a thousand tries of each kind.
    pub(crate) failures: u64,
    /// Of a thousand tries in a state that lasts for moments.
    pub(crate) failures_in_rare_states: u64,
    /// Of ten thousand moments: something outside is away for a while.
    pub(crate) outages: u64,
    /// Of a thousand moments.
    pub(crate) rebalances: u64,
    pub(crate) other_writers: u64,
    /// Whether Kafka reports that it cannot read on; what lies before is then sealed, by the clock as it were.
    pub(crate) read_errors: bool,
    /// Whether records are produced while processes run.
    pub(crate) grows: bool,
    /// Of a thousand moments: a log is cut, a topic re-created, retention passes.
    pub(crate) breaks: Breaks,
    /// Whether the topic is deleted while the store answers to nobody but other writers.
    pub(crate) departs: bool,
}

/// How often logs are not what they were, of ten thousand moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Breaks {
    /// A leader is elected.
    pub(crate) elections: u64,
    /// A log loses records at its end.
    pub(crate) cuts: u64,
    /// The topic is deleted and created again.
    pub(crate) recreations: u64,
    /// Retention deletes the log's front.
    pub(crate) retention: u64,
    /// An operator decides that another history is the same, also before this process has found it to be another.
    pub(crate) joins: u64,
}

impl Plan {
    pub(crate) fn new(rng: &mut Prng) -> Plan {
        let partitions: Vec<TopicPartition> = (0..rng.between(1, 4) as i32).map(topic_partition).collect();
        let number = |number| NonZeroU64::new(number).expect("not zero");
        let blocked = rng.per_mille(200).then(|| rng.one(&partitions).clone());
        let mut plan = Plan {
            boundary: BoundarySettings {
                segment_bytes: number(rng.between(200, 3_000)),
                segment_records: rng.per_mille(500).then(|| number(rng.between(1, 25))),
                segment_age_ms: number(rng.between(5_000, 60_000)),
            },
            wall_clock: WallClockSettings {
                idle_seal_ms: rng.between(1_000, 4_000),
                seal_after_ms: rng.between(5_000, 30_000),
            },
            sealed_max: rng.between(1, 3) as usize,
            uploaders: rng.between(1, 3),
            indexed: rng.per_mille(500),
            mirrored: rng.per_mille(300),
            budget_bytes: rng.between(4_000, 80_000),
            block_bytes: *rng.one(&[0, 2_000, 1_000_000]),
            spool_bytes: u64::MAX,
            batches: *rng.one(&[(16, 1), (5, 4), (1, 40)]),
            backlog_max: *rng.one(&[0, 30, 300]),
            lives: rng.between(0, 3),
            calm: rng.per_mille(600),
            blocked,
            failures: *rng.one(&[0, 50, 250]),
            failures_in_rare_states: 0,
            outages: *rng.one(&[0, 0, 10, 40]),
            rebalances: *rng.one(&[0, 4, 15]),
            other_writers: *rng.one(&[0, 4, 20]),
            read_errors: true,
            grows: true,
            breaks: Breaks {
                elections: *rng.one(&[0, 20]),
                cuts: *rng.one(&[0, 0, 4, 20]),
                recreations: *rng.one(&[0, 0, 1, 3, 10, 20]),
                retention: *rng.one(&[0, 0, 10]),
                joins: *rng.one(&[0, 0, 10]),
            },
            departs: false,
            partitions,
        };
        if rng.per_mille(250) {
            (plan.indexed, plan.mirrored, plan.failures_in_rare_states) = (true, true, 600);
            plan.breaks.retention = 20;
        }
        let segments = *rng.one(&[0, 1, 1, 2]);
        if segments > 0 {
            plan.spool_bytes = segments * plan.boundary.segment_bytes.get();
        }
        plan
    }

    /// Many partitions, each with records for several segments, and a spool of four.
    pub(crate) fn crowded(rng: &mut Prng) -> Plan {
        let mut plan = Plan::new(rng);
        plan.partitions = (0..60).map(topic_partition).collect();
        plan.blocked = None;
        plan.breaks = Breaks::default();
        plan.boundary.segment_bytes = NonZeroU64::new(rng.between(1_000, 3_000)).expect("not zero");
        plan.spool_bytes = 4 * plan.boundary.segment_bytes.get();
        plan.backlog_max = 120;
        plan.lives = rng.between(0, 1);
        plan
    }

    /// A topic is deleted while everything that its partitions held is read, and hardly anything stored; other writers
    /// store what they had read. Nothing else goes wrong.
    pub(crate) fn departing(rng: &mut Prng) -> Plan {
        let never = WallClockSettings { idle_seal_ms: 1_000_000_000, seal_after_ms: 1_000_000_000 };
        let plan = Plan::new(rng);
        // As much as may be sealed before the deletion. What is sealed after it goes beyond.
        let segments = (plan.partitions.len() * (plan.sealed_max + 1)) as u64;
        Plan {
            wall_clock: never,
            spool_bytes: segments * (plan.boundary.segment_bytes.get() + 200),
            budget_bytes: 10_000_000,
            backlog_max: 300,
            lives: 0,
            calm: false,
            blocked: None,
            failures: 0,
            failures_in_rare_states: 0,
            outages: 0,
            rebalances: 0,
            other_writers: *rng.one(&[1, 3, 8]),
            read_errors: false,
            grows: false,
            breaks: Breaks { elections: *rng.one(&[0, 20]), ..Breaks::default() },
            departs: true,
            ..plan
        }
    }

    /// As it is, but what is there is all, and nothing but its records ends a segment before the very end.
    pub(crate) fn of_records_alone(self) -> Plan {
        let never = WallClockSettings { idle_seal_ms: 1_000_000_000, seal_after_ms: 1_000_000_000 };
        Plan {
            wall_clock: never,
            other_writers: 0,
            outages: 0,
            read_errors: false,
            grows: false,
            breaks: Breaks::default(),
            blocked: None,
            calm: false,
            lives: 3,
            ..self
        }
    }
}

fn topic_partition(partition: i32) -> TopicPartition {
    let partition = PartitionId::new(partition).expect("a partition");
    TopicPartition { topic: TopicName::new("orders").expect("a topic"), partition }
}
