//! Every message between the actors: who sends it to whom, and what bounds it.

use crate::batch::RecordBatch;
use crate::ports::{CompletedSegment, IndexAnswer, IndexRow, StoreAnswer, TopicAnswer};
use crate::spool_account::SpoolShare;
use actix::prelude::*;
use kafka_store_statecharts::anchor::Evidence;
use kafka_store_statecharts::failure::Failure;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::{AssignmentEpoch, SeekEpoch};
use kafka_store_statecharts::topic::TopicPartition;
use std::sync::Arc;

/// Poll thread → Consumer. Bounded by the mailbox (16) and the budget.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LogEvents(pub Vec<LogEvent>);

/// What the poll thread saw, in its order.
#[derive(Debug)]
pub enum LogEvent {
    /// The group gave partitions.
    Assigned {
        /// The epoch of this assignment.
        epoch: AssignmentEpoch,
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// The group took partitions away.
    Revoked {
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// Records of one partition.
    Records(TopicPartition, RecordBatch),
    /// Everything there is has been fetched.
    EndReached(TopicPartition, EndReached),
    /// Something that must not be skipped.
    Failed {
        /// Of which partition.
        partition: TopicPartition,
        /// In which assignment.
        epoch: AssignmentEpoch,
        /// What, and what to do about it.
        reason: String,
    },
    /// A broker did not give records, for a reason that passes. The client asks again by itself.
    Interrupted {
        /// Of which partition.
        partition: TopicPartition,
        /// In which assignment.
        epoch: AssignmentEpoch,
        /// Why.
        failure: Failure,
    },
    /// A log does not continue where it was read.
    Broken {
        /// Of which partition.
        partition: TopicPartition,
        /// In which assignment.
        epoch: AssignmentEpoch,
        /// In which start of fetching.
        seek_epoch: SeekEpoch,
        /// What the broker answered.
        evidence: Evidence,
    },
    /// The client is of no use any more.
    ClientFailed {
        /// Kafka's word.
        reason: String,
    },
}

/// Everything there is has been fetched. Part of [`LogEvent`], and Consumer → PartitionWriter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct EndReached {
    /// In which assignment.
    pub epoch: AssignmentEpoch,
    /// In which start of fetching.
    pub seek_epoch: SeekEpoch,
    /// The position: past trailing offsets that the log does not show.
    pub position: Offset,
    /// The high watermark, if it is known. Beyond `position` while a transaction is open.
    pub high_watermark: Option<Offset>,
}

/// Consumer → PartitionWriter: what it is about. Bounded by the mailbox (64); the Consumer keeps the rest in order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum WriterMail {
    /// Records to archive.
    Records(RecordBatch),
    /// Everything there is has been fetched.
    EndReached(EndReached),
    /// Something that must not be skipped.
    Failed {
        /// What, and what to do about it.
        reason: String,
    },
    /// A broker did not give records, for a reason that passes.
    Interrupted {
        /// Why.
        failure: Failure,
    },
    /// The log does not continue where it was read.
    Broken {
        /// In which start of fetching.
        seek_epoch: SeekEpoch,
        /// What the broker answered.
        evidence: Evidence,
    },
    /// The brokers are being asked about the topic. What was read before is the topic's, if it still has its id then.
    TopicAsked {
        /// Number of the question.
        question: u64,
    },
    /// What the brokers answered.
    Topic {
        /// Number of the question.
        question: u64,
        /// The answer.
        answer: TopicAnswer,
    },
    /// The group took the partition away.
    Revoke,
    /// The process is stopping: finish what is sealed.
    Drain,
    /// If it is frozen: look now whether it can go on.
    LookAgain,
}

/// PartitionWriter → Consumer. Bounded by the mailbox; the writer waits for room.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct WriterReport {
    /// Whose.
    pub partition: TopicPartition,
    /// Of which assignment.
    pub epoch: AssignmentEpoch,
    /// What.
    pub report: Report,
}

/// What a writer reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Its target is reached and everything below is stored and committed.
    TargetReached,
    /// It cannot go on.
    Frozen {
        /// Why, and what to do about it.
        reason: String,
    },
    /// It was frozen, and goes on.
    GoesOn,
    /// It has nothing left to do.
    Gone,
}

/// Daemon → Consumer: have every frozen partition look now whether it can go on.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct LookAgain;

/// Daemon → Consumer: stop in good order.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Drain;

/// PartitionWriter → UploaderPool → Uploader: store this, whose file takes so much of the spool. One for each partition
/// at a time.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<StoreAnswer, Failure>")]
pub struct StoreSegment(pub CompletedSegment, pub Arc<SpoolShare>);

/// PartitionWriter → Indexer: write this row. One for each partition at a time, in the chain's order.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<IndexAnswer, Failure>")]
pub struct WriteIndexRow(pub IndexRow);
