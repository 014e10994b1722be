//! What the actors ask of the world. Adapters answer; a simulation answers too.
//!
//! Answers that take time are futures, and what blocks is the adapter's affair: nothing here may keep an
//! arbiter's thread waiting.

use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::anchor::{Anchor, Evidence, FetchStart, Proof};
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::Now;
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::gap::Gap;
use kafka_store_statecharts::last_record::LastRecord;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset, OffsetRange};
use kafka_store_statecharts::partition::{AssignmentEpoch, SeekEpoch};
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::{TopicId, TopicName, TopicPartition};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::ControlFlow;
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
    /// Fetches the partition from a position on, once its log has proved to be the one that was read before. Its records
    /// carry both epochs.
    fn start_fetching(
        &self,
        partition: &TopicPartition,
        epoch: AssignmentEpoch,
        seek_epoch: SeekEpoch,
        start: FetchStart,
    );

    /// Fetch the partition no more.
    fn stop_fetching(&self, partition: &TopicPartition, epoch: AssignmentEpoch);

    /// Commit an offset. A failed one can lose nothing: the store decides where a chain goes on.
    fn commit(&self, commit: OffsetCommit) -> PortFuture<Result<(), Failure>>;

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

/// Finds where the chain of a partition goes on.
pub trait ChainLocator: Debug + Send + Sync {
    /// Walks the chain, from `from` if an end of the chain is known, and settles its origin if it has none.
    fn locate(&self, partition: &TopicPartition, from: Option<Offset>) -> PortFuture<Result<Located, Blocked>>;

    /// Finds out why the log does not continue where it was read.
    fn examine(&self, partition: &TopicPartition, broken: BrokenLog) -> PortFuture<Result<Cause, Blocked>>;

    /// Asks whether topics still are those that they were.
    fn topics(&self, topics: Vec<TopicName>) -> PortFuture<BTreeMap<TopicName, TopicAnswer>>;

    /// How far the chain has come towards `target`, whoever writes it. Asks once: without an answer it is an error, and
    /// may be asked again.
    fn coverage(&self, partition: &TopicPartition, target: Offset) -> PortFuture<Result<Coverage, Blocked>>;
}

/// How far a chain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Everything below the target is archived.
    pub is_covered: bool,
    /// The chain's end.
    pub archived_to: Option<Offset>,
    /// What the group has committed of it, or seen beyond that.
    pub committed: Option<Offset>,
}

/// A log that does not continue where it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenLog {
    /// The next offset wanted.
    pub position: Offset,
    /// The id that the topic had when the chain was located.
    pub topic_id: Option<TopicId>,
    /// The record that fetching began at, or the last one that was taken since.
    pub anchor: Option<Anchor>,
    /// What the broker answered.
    pub evidence: Evidence,
    /// True if records are held that are not stored. Otherwise the anchor is the chain's last record.
    pub holds_records: bool,
    /// True if a look a minute ago found the same.
    pub was_doubted: bool,
}

/// Why a log does not continue where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It does: only the record before the position is gone, or the answer was an old one.
    Unchanged {
        /// What must hold when fetching begins again.
        proof: Proof,
    },
    /// Kafka deleted what comes next.
    Retention,
    /// It no longer holds what was read.
    Cut,
    /// It does not hold the record that the chain ends with, by one look. Another one is to follow.
    Doubted,
    /// The topic was deleted, or another one has its name.
    TopicGone {
        /// Cause, and a way out.
        reason: String,
    },
}

/// What the brokers say of a topic now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicAnswer {
    /// It exists and has this id, where the brokers have ids.
    Exists(Option<TopicId>),
    /// It does not exist.
    Absent,
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
    /// The chain's last record, where its end says it.
    pub last_record: Option<Anchor>,
    /// How the log is to prove that it is the one the chain was made from.
    pub proof: Proof,
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

    /// Reads the records of a complete segment back, once it is certain that the file is what was written.
    ///
    /// # Errors
    /// If the file cannot be read, or has other bytes.
    fn read_back(&self, segment: &CompletedSegment) -> Result<Box<dyn SpoolBlocks>, SpoolError>;
}

/// The blocks of a complete segment, front to back.
pub trait SpoolBlocks: Debug + Send {
    /// Returns the canonical bytes of the next block's records; `None` after the last.
    ///
    /// # Errors
    /// If the file cannot be read, or has other bytes than were written.
    fn next_block(&mut self) -> Result<Option<Vec<u8>>, SpoolError>;
}

/// Takes the records of one block, decompressed, and says whether more are wanted.
pub type EachBlock<'a> = &'a mut dyn FnMut(&[u8], u64) -> ControlFlow<()>;

/// The file of an open segment. Dropping it removes it.
pub trait OpenFile: Debug + Send {
    /// Reads the blocks appended so far, front to back, without what was set aside.
    fn read_back(&mut self, each: EachBlock<'_>) -> Result<(), SpoolError>;

    /// Compresses and appends one block of whole records.
    fn append_block(&mut self, records: &[u8], record_count: u64) -> Result<(), SpoolError>;

    /// Keeps whole records of the next block outside of memory, after those kept before.
    fn set_aside(&mut self, records: &[u8]) -> Result<(), SpoolError>;

    /// Appends to `records` what was set aside, as it was. It is then set aside no more.
    fn take_back(&mut self, records: &mut Vec<u8>) -> Result<(), SpoolError>;

    /// Reads the canonical bytes of the block that was appended last.
    fn read_last_block(&self) -> Result<Vec<u8>, SpoolError>;

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
    /// Its last record, at the final offset.
    pub last_record: LastRecord,
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
    /// True if the topic still had its id after all records had been read.
    pub is_confirmed: bool,
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

/// The spool does not hold what it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolError {
    /// Why. [`Class::Lost`] if what was written came back changed, or cannot be read: another file may hold it.
    pub class: Class,
    /// What was tried, and what the system said.
    pub reason: String,
}

impl SpoolError {
    /// What was written came back changed, or cannot be read.
    pub fn damaged(reason: impl Into<String>) -> SpoolError {
        SpoolError { class: Class::Lost, reason: reason.into() }
    }
}

impl From<SpoolError> for Failure {
    fn from(error: SpoolError) -> Failure {
        Failure::new(Port::Spool, error.class, error.reason)
    }
}

/// The arbiter store. Its create-only write decides where a segment ends.
pub trait ObjectStore: Debug + Send + Sync {
    /// Stores a segment under its name if the name is free; looks at what is there if it is not.
    fn store(&self, segment: &CompletedSegment) -> PortFuture<Result<StoreAnswer, Failure>>;
}

/// What the store holds under a segment's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// Our segment, verified.
    Stored(StoredSegment),
    /// Another object of this chain that is whole, or our own from an earlier try.
    AlreadyExists(StoredSegment),
    /// Something that must not be adopted.
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
    /// Its last record. `None` for files of format version 1 and of the original tool.
    pub last_record: Option<LastRecord>,
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
    fn copy(&self, segment: &CompletedSegment, stored: &SegmentContent) -> PortFuture<Result<MirrorAnswer, Failure>>;
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

/// The index of segments.
pub trait SegmentIndex: Debug + Send + Sync {
    /// Writes the row of a stored segment. It is in the index for good when the answer says so.
    fn write_row(&self, row: IndexRow) -> PortFuture<Result<IndexAnswer, Failure>>;
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
