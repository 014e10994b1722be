//! Where segments are kept.
//!
//! [`ArchiveStore`] is what the rest of the program knows of a store. Its one decisive property is the
//! create-only write: of two writers of one name exactly one wins, and what it wrote never changes. All
//! calls block; they are made off the actors' threads.

mod checksum;
mod directories;
mod doubt;
mod error;
mod gcs;
mod instance_dir;
mod local;
mod publish;
mod source;
mod sync;
mod unclean;

pub use checksum::{copy_with_crc32c, crc32c_of_file};
pub use doubt::UncleanEnds;
pub use error::{StoreError, StoreErrorKind};
pub use gcs::{Draw, GcsCredentials, GcsSettings, GcsStore, GcsUrl, GcsUrlError, Jitter, Sessions, UploadTransitions};
pub use instance_dir::{InstanceDir, KeepUnclean, TemporaryPath};
pub use local::LocalStore;
pub use source::{LooseFiles, OnlySegment, SegmentSource};

use kafka_store_actors::ports::StoredObject;
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicName;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Read;
use std::path::PathBuf;

/// A complete segment in the spool, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// The name that it is to have.
    pub name: SegmentName,
    /// Where it lies. The process that wrote it has it open still: the system may forget a failed write of a file that
    /// nobody has open.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of all its bytes.
    pub crc32c: u32,
    /// What a store with room for it keeps beside the object ([`attribute`] has the keys).
    pub attributes: BTreeMap<String, String>,
}

/// The largest small object, in every store: what is created can be read. A group's first start with 50,000 topics of
/// the longest names has 13 MB.
pub const SMALL_OBJECT_BYTES_MAX: usize = 64 << 20;

/// What became of a create-only write of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The object is ours, visible and durable. The spool file belongs to the store now and is gone from its path.
    Created(ObjectStat),
    /// The name was taken; the object there is durable and unchanged. The spool file is untouched.
    AlreadyExists,
}

/// What became of a create-only write of a small object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmallOutcome {
    /// The object is ours, visible and durable.
    Created,
    /// The name was taken: these are the bytes that are there.
    AlreadyExists(Vec<u8>),
}

/// What a store says of an object without reading it. A directory knows little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectStat {
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of all its bytes.
    pub crc32c: Option<u32>,
    /// MD5 of all its bytes.
    pub md5: Option<[u8; 16]>,
    /// Which object of this name it is.
    pub generation: Option<i64>,
    /// When its bytes were last written, in nanoseconds since the epoch. A directory alone says it.
    pub modified_ns: Option<i64>,
    /// What its writer said beside the bytes ([`attribute`] has the keys).
    pub attributes: BTreeMap<String, String>,
}

impl ObjectStat {
    /// As rows of the index have it.
    pub fn object(&self, location: String) -> StoredObject {
        let attribute = |key: &str| self.attributes.get(key);
        StoredObject {
            location,
            generation: self.generation,
            md5: self.md5,
            seal_reason: attribute(attribute::SEAL_REASON).and_then(|word| SealReason::parse(word)),
            writer: attribute(attribute::WRITER).cloned(),
        }
    }
}

/// The keys of what a store keeps beside an object: the header's entries (docs/format.md), without `kafka_store.` and
/// with `-` for `_`, and what must not be in the file.
pub mod attribute {
    /// Why the segment ends where it ends.
    pub const SEAL_REASON: &str = "seal-reason";
    /// Program and version that wrote it.
    pub const WRITER: &str = "writer";
    /// How many records are in it.
    pub const RECORD_COUNT: &str = "record-count";
    /// BLAKE3 of the canonical bytes of all records.
    pub const CONTENT_HASH: &str = "content-blake3";
}

/// A part of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Archive,
    /// A topic.
    Topic(TopicName),
    /// A chain.
    Chain(ChainName),
}

/// A store of segments. Nothing in it is ever overwritten or deleted.
///
/// What a store that was opened for writing reports as existing is durable: a commit may rely on it.
pub trait ArchiveStore: Send + Sync + Debug {
    /// Makes a sealed spool file the object of its name, unless that exists.
    ///
    /// The file must be complete, and nobody may write to it any more. A call that failed can be
    /// repeated with the same file if the error [is transient](StoreError::is_transient).
    ///
    /// # Errors
    /// Whatever keeps the object from being durable under its name.
    fn create_segment(&self, file: &SegmentFile) -> Result<CreateOutcome, StoreError>;

    /// Makes a small object of `bytes`, at most [`SMALL_OBJECT_BYTES_MAX`], unless it exists. `name` begins with
    /// `~kafka-store/`.
    ///
    /// # Errors
    /// Whatever keeps the object from being durable under its name.
    fn create_small(&self, name: &str, bytes: &[u8]) -> Result<SmallOutcome, StoreError>;

    /// The bytes of a small object, if it exists.
    ///
    /// # Errors
    /// If the store cannot say.
    fn read_small(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Names of the small objects below a folder, in order. `folder` begins with `~kafka-store/`.
    ///
    /// # Errors
    /// If the store cannot say.
    fn list_small(&self, folder: &str) -> Result<Vec<String>, StoreError>;

    /// Every chain that has a place in the store, in the order of topic, partition and lineage.
    ///
    /// # Errors
    /// If the store cannot say.
    fn chains(&self) -> Result<Vec<ChainName>, StoreError>;

    /// The chains of one topic, in the order of partition and lineage.
    ///
    /// # Errors
    /// If the store cannot say.
    fn chains_of(&self, topic: &TopicName) -> Result<Vec<ChainName>, StoreError>;

    /// The start offsets of a chain's segments, from `from` on, in order.
    ///
    /// # Errors
    /// If the store cannot say.
    fn segments_from(&self, chain: &ChainName, from: Option<Offset>) -> Result<Vec<Offset>, StoreError>;

    /// Reports whether a chain has a segment, without listing all of them.
    ///
    /// # Errors
    /// If the store cannot say.
    fn has_segments(&self, chain: &ChainName) -> Result<bool, StoreError> {
        Ok(!self.segments_from(chain, None)?.is_empty())
    }

    /// As [`ArchiveStore::segments_from`], with what is known of each.
    ///
    /// # Errors
    /// If the store cannot say.
    fn objects_from(&self, chain: &ChainName, from: Option<Offset>) -> Result<Vec<(Offset, ObjectStat)>, StoreError>;

    /// What is known of an object, if it exists.
    ///
    /// # Errors
    /// If the store cannot say.
    fn head(&self, name: &SegmentName) -> Result<Option<ObjectStat>, StoreError>;

    /// An object's bytes from the front, if it exists.
    ///
    /// # Errors
    /// If the store cannot say, or the object cannot be opened.
    fn open(&self, name: &SegmentName) -> Result<Option<Box<dyn Read + Send>>, StoreError>;

    /// The first bytes of an object, at most `length`, if it exists.
    ///
    /// # Errors
    /// As [`ArchiveStore::open`], and if they cannot be read.
    fn read_front(&self, name: &SegmentName, length: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// The last bytes of an object, at most `length`. `None` if it does not exist, and from a store in which nothing
    /// can be cut off, because it checks length and checksum before an object is there.
    ///
    /// # Errors
    /// As [`ArchiveStore::open`], and if they cannot be read.
    fn read_end(&self, name: &SegmentName, length: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let _ = (name, length);
        Ok(None)
    }

    /// The segments of a chain that may not have reached the disk, as a process that published them ended uncleanly. They
    /// count once they were read whole and [confirmed](ArchiveStore::confirm); what is read now comes from the disk.
    /// Empty from a store that needs no disk of ours.
    ///
    /// # Errors
    /// If the store cannot say.
    fn in_doubt(&self, chain: &ChainName) -> Result<Vec<Offset>, StoreError> {
        let _ = chain;
        Ok(Vec::new())
    }

    /// Takes a segment out of doubt: it was read whole.
    fn confirm(&self, name: &SegmentName) {
        let _ = name;
    }

    /// The topics whose folder is there and holds nothing, not even a folder of a partition. A bucket has no such folders.
    ///
    /// # Errors
    /// If the store cannot say.
    fn empty_topics(&self) -> Result<Vec<TopicName>, StoreError> {
        Ok(Vec::new())
    }

    /// What lies in the store, in a topic or in a chain of it, and is neither a segment nor kept by kafka-store: names
    /// relative to the store, in order. A folder that has nothing to do with an archive is named alone.
    ///
    /// # Errors
    /// If the store cannot say.
    fn strangers(&self, scope: &Scope) -> Result<Vec<String>, StoreError>;

    /// What to do where objects are missing, for messages.
    fn way_back(&self) -> &'static str {
        "bring back what is missing from a copy of the archive"
    }

    /// Where an object is or would be, for messages: a path or a URL.
    fn location(&self, name: &SegmentName) -> String;

    /// The store itself, for messages: a path or a URL.
    fn describe(&self) -> String;
}
