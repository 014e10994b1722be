//! What the actors ask of the world. Adapters answer; a simulation answers too.
//!
//! Answers that take time are futures, and what blocks is the adapter's affair: nothing here may keep an
//! arbiter's thread waiting.

use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::Now;
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::gap::Gap;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset, OffsetRange};
use kafka_store_statecharts::partition::{AssignmentEpoch, SeekEpoch};
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::{TopicId, TopicPartition};
use std::fmt::Debug;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

pub use crate::transition::{TransitionLog, TransitionRecord};

/// An answer that takes time.
pub type PortFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Everything that the actors need from outside.
#[derive(Clone, Debug)]
pub struct Ports {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Kafka.
    pub source: Arc<dyn RecordSource>,
    /// Where chains go on.
    pub locator: Arc<dyn ChainLocator>,
    /// Where open segments lie.
    pub spool: Arc<dyn SegmentSpool>,
    /// The arbiter store.
    pub store: Arc<dyn ObjectStore>,
    /// The other stores, where there are any.
    pub mirrors: Option<Arc<dyn MirrorStores>>,
    /// The index, where there is one.
    pub index: Option<Arc<dyn SegmentIndex>>,
    /// The log of transitions.
    pub transitions: Arc<dyn TransitionLog>,
}

/// The only clock.
pub trait Clock: Debug + Send + Sync {
    /// This moment.
    fn now(&self) -> Now;
}

/// Kafka, as a writer sees it. Orders return at once; an order for a partition that was revoked since is void.
pub trait RecordSource: Debug + Send + Sync {
    /// Fetch the partition from `position` on; its records are to carry both epochs.
    fn start_fetching(
        &self,
        partition: &TopicPartition,
        epoch: AssignmentEpoch,
        seek_epoch: SeekEpoch,
        position: Offset,
    );

    /// Fetch the partition no more.
    fn stop_fetching(&self, partition: &TopicPartition, epoch: AssignmentEpoch);

    /// Commit an offset.
    fn commit(&self, commit: OffsetCommit) -> PortFuture<Result<(), CommitError>>;

    /// Leave the group. The answer comes when nothing more will be heard of Kafka.
    fn leave_group(&self) -> PortFuture<()>;
}

/// An offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// For which partition.
    pub partition: TopicPartition,
    /// In which assignment.
    pub epoch: AssignmentEpoch,
    /// The offset after the last one archived.
    pub next_offset: Offset,
    /// The epoch of the leader that wrote the record before it, if it is known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What to keep beside it.
    pub metadata: CommitMetadata,
}

/// A commit that did not reach Kafka, or may not have. It can lose nothing: the store decides.
#[derive(Clone, Debug, thiserror::Error)]
#[error("offset not committed: {reason}")]
pub struct CommitError {
    /// Kafka's word.
    pub reason: String,
}

/// Finds where the chain of a partition goes on.
pub trait ChainLocator: Debug + Send + Sync {
    /// Walks the chain, from `from` if an end of the chain is known, and settles its origin if it has none.
    fn locate(&self, partition: &TopicPartition, from: Option<Offset>) -> PortFuture<Result<Located, Blocked>>;

    /// Whether the chain covers everything below `target`, whoever wrote it.
    fn is_covered(&self, partition: &TopicPartition, target: Offset) -> PortFuture<Result<bool, Blocked>>;
}

/// Where a chain goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The chain.
    pub chain: ChainName,
    /// The topic's id, where the broker has one.
    pub topic_id: Option<TopicId>,
    /// The next offset to archive.
    pub position: Offset,
    /// Where fetching begins: beyond `position` where Kafka's log begins later, and that loses nothing or is to be
    /// put up with.
    pub fetch_from: Offset,
    /// The offsets between, if records may have been lost with them.
    pub gap: Option<Gap>,
    /// The start of the chain's last segment, if it has one.
    pub last_start: Option<Offset>,
    /// What the committed offset should say and does not.
    pub commit: Option<CommitMetadata>,
    /// How long Kafka keeps the topic's records, where it removes them by time.
    pub retention_ms: Option<u64>,
}

/// Something that must not be skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Blocked {
    /// What, and what to do about it.
    pub reason: String,
}

/// Where open segments lie until they are stored.
pub trait SegmentSpool: Debug + Send + Sync {
    /// Opens a file for a segment.
    fn open(
        &self,
        chain: &ChainName,
        topic_id: Option<TopicId>,
        start: Offset,
    ) -> Result<Box<dyn OpenFile>, SpoolError>;
}

/// The file of an open segment. Dropping it removes it.
pub trait OpenFile: Debug + Send {
    /// Compresses and appends one block of whole records.
    fn append_block(&mut self, records: &[u8], record_count: u64) -> Result<(), SpoolError>;

    /// Keeps whole records of the next block outside of memory, after those kept before.
    fn set_aside(&mut self, records: &[u8]) -> Result<(), SpoolError>;

    /// Appends to `records` what was set aside. It is then set aside no more.
    fn take_back(&mut self, records: &mut Vec<u8>) -> Result<(), SpoolError>;

    /// The memory that blocks take which wait to be written together.
    fn held_bytes(&self) -> u64;

    /// Writes those, and gives their memory back.
    fn write_held(&mut self) -> Result<(), SpoolError>;

    /// How many bytes it takes on disk, with what waits to be written.
    fn disk_bytes(&self) -> u64;

    /// Writes the header: the file is complete, though not yet on disk.
    fn complete(self: Box<Self>, summary: &SegmentSummary) -> Result<CompletedSegment, SpoolError>;
}

/// What is known of a segment when it is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The offsets covered.
    pub range: OffsetRange,
    /// The records in it.
    pub record_count: u64,
    /// The records' timestamps.
    pub timestamps: Timestamps,
    /// Offsets covered that the log does not show.
    pub invisible_count: u64,
    /// Offsets covered that are missing for any other reason.
    pub gaps: Vec<Gap>,
    /// Why it ends there.
    pub seal_reason: SealReason,
}

/// The timestamps of a segment's records, verbatim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// The first record's.
    pub first: TimestampMs,
    /// The least.
    pub least: TimestampMs,
    /// The greatest.
    pub greatest: TimestampMs,
}

/// A complete segment in the spool.
#[derive(Clone, Debug)]
pub struct CompletedSegment {
    /// Its name in a store.
    pub name: SegmentName,
    /// The topic's id, where the broker has one.
    pub topic_id: Option<TopicId>,
    /// What it holds.
    pub content: SegmentContent,
    /// What was known when it was sealed.
    pub summary: SegmentSummary,
    /// The file.
    pub file: Arc<dyn SpoolFile>,
}

/// A complete file in the spool. Dropping it removes it.
pub trait SpoolFile: Debug + Send + Sync {
    /// Where it lies.
    fn path(&self) -> &Path;

    /// When its records had all been fetched, if that is known: what is asked later is news of them.
    fn completed_at(&self) -> Option<Instant> {
        None
    }
}

/// The spool cannot be written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct SpoolError {
    /// What, and what to do about it.
    pub reason: String,
}

/// The arbiter store. Its create-only write decides where a segment ends.
pub trait ObjectStore: Debug + Send + Sync {
    /// Stores a segment under its name if the name is free; looks at what is there if it is not.
    fn store(&self, segment: &CompletedSegment) -> PortFuture<Result<StoreAnswer, StoreFailure>>;
}

/// What the store holds under a segment's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// Our segment, verified.
    Stored(StoredSegment),
    /// Another object of this chain that is whole, or our own from an earlier try.
    AlreadyExists(StoredSegment),
    /// Something that must not be adopted, or a store that refuses for good.
    Conflicts {
        /// What, and what to do about it.
        reason: String,
    },
}

/// A segment that is in the store for good, with all that its row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSegment {
    /// What it holds.
    pub content: SegmentContent,
    /// The records' timestamps.
    pub timestamps: Timestamps,
    /// Offsets covered that the log does not show.
    pub invisible_count: u64,
    /// Offsets covered that are missing for any other reason.
    pub gaps: Vec<Gap>,
    /// The topic's id, where its header says one.
    pub topic_id: Option<TopicId>,
    /// The object.
    pub object: StoredObject,
}

/// What a store says of an object beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredObject {
    /// Where it is: a path or a URL.
    pub location: String,
    /// Which object of this name it is, where the store counts them.
    pub generation: Option<i64>,
    /// MD5 of the whole file, where it is known.
    pub md5: Option<[u8; 16]>,
    /// Why the segment ends where it ends, where the store keeps it.
    pub seal_reason: Option<SealReason>,
    /// Program and version that wrote it, where the store keeps it.
    pub writer: Option<String>,
}

/// Stores that are to hold the same bytes as the arbiter, under the same names.
pub trait MirrorStores: Debug + Send + Sync {
    /// Copies what the arbiter holds of a segment to every mirror, create-only, after the earlier segments of its chain
    /// that a mirror lacks. The spool file has the bytes if `stored` is its content.
    fn copy(
        &self,
        segment: &CompletedSegment,
        stored: &SegmentContent,
    ) -> PortFuture<Result<MirrorAnswer, StoreFailure>>;
}

/// What became of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorAnswer {
    /// Every mirror has the bytes.
    Stored,
    /// A mirror has something else.
    Conflicts {
        /// What, and what to do about it.
        reason: String,
    },
}

/// The store could not be asked, or its answer was lost. The same call may be made again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct StoreFailure {
    /// What, and what to do about it.
    pub reason: String,
}

/// The index of segments.
pub trait SegmentIndex: Debug + Send + Sync {
    /// Writes the row of a stored segment. It is in the index for good when the answer says so.
    fn write_row(&self, row: IndexRow) -> PortFuture<Result<IndexAnswer, IndexFailure>>;
}

/// What the index holds under a segment's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexAnswer {
    /// The row; it may have been there before.
    Written,
    /// Another row, or the row does not follow the one before it.
    Conflicts {
        /// What, and what to do about it.
        reason: String,
    },
}

/// One row of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRow {
    /// The object.
    pub name: SegmentName,
    /// What the store holds.
    pub stored: StoredSegment,
}

/// The index could not be asked, or its answer was lost. The same call may be made again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct IndexFailure {
    /// What, and what to do about it.
    pub reason: String,
}
