//! Whose records a segment holds.

use super::md5::Md5Reader;
use crate::avro::{HEADER_BYTES, Isolation, ReadError, SegmentHeader, SegmentReader, SegmentSummary, Verified, verify};
use crate::store::{ArchiveStore, ObjectStat, StoreError};
use kafka_store_actors::ports::{Blocked, StoredSegment, Timestamps};
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::TopicId;
use std::io::ErrorKind;

/// What must be equal for two processes to write one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id, where the brokers have one.
    pub cluster_id: Option<String>,
    /// Which records are asked for.
    pub isolation: Isolation,
}

/// What the store holds under a segment's name, as far as a chain is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// One of ours.
    Ours {
        /// The offset after its end.
        next_offset: Offset,
    },
    /// One of the original tool's.
    Originals {
        /// The offset after its end.
        next_offset: Offset,
    },
}

impl Found {
    pub(super) fn next_offset(self) -> Offset {
        let (Found::Ours { next_offset } | Found::Originals { next_offset }) = self;
        next_offset
    }
}

/// Why an object under a segment's name does not count as that segment.
#[derive(Debug)]
pub(super) enum Unfit {
    /// The store could not be asked.
    Store(StoreError),
    /// It is not there, or is not what it should be.
    Blocked(Blocked),
}

impl From<StoreError> for Unfit {
    fn from(error: StoreError) -> Unfit {
        Unfit::Store(error)
    }
}

impl Unfit {
    pub(super) fn blocked(reason: String) -> Unfit {
        Unfit::Blocked(Blocked { reason })
    }
}

impl Identity {
    /// Why a segment of ours belongs to another chain, if it does.
    fn contradiction(&self, header: &SegmentHeader, name: &SegmentName, topic_id: Option<TopicId>) -> Option<String> {
        let summary = &header.summary;
        if header.name != *name {
            return Some(format!("it says of itself that it is {}", header.name));
        }
        if summary.cluster_id != self.cluster_id {
            return Some(format!(
                "it is from the Kafka cluster {}, and this one is {}",
                or_unknown(summary.cluster_id.as_deref()),
                or_unknown(self.cluster_id.as_deref())
            ));
        }
        if let (Some(theirs), Some(ours)) = (summary.topic_id, topic_id)
            && theirs != ours
        {
            return Some(format!("its topic had the id {theirs}, and the topic has {ours} now: it was re-created"));
        }
        if summary.isolation != self.isolation {
            return Some(format!("it was read {}, and this process reads {}", summary.isolation, self.isolation));
        }
        None
    }

    /// Looks at the front of an object; reads the whole of the original's, which say nothing of their end.
    pub(super) fn look(
        &self,
        store: &dyn ArchiveStore,
        name: &SegmentName,
        topic_id: Option<TopicId>,
    ) -> Result<Found, Unfit> {
        let location = store.location(name);
        let Some(front) = store.read_front(name, FRONT_BYTES)? else {
            return Err(Unfit::blocked(format!("{location} is missing although it was listed or committed")));
        };
        let reader = SegmentReader::new(&*front, name.start).map_err(|error| unfit(&location, error))?;
        match reader.header().ours() {
            Some(header) => match self.contradiction(header, name, topic_id) {
                None => Ok(Found::Ours { next_offset: header.next_offset() }),
                Some(why) => Err(Unfit::blocked(format!("{location} is not of this chain: {why}"))),
            },
            None => {
                let object = store.open(name)?.ok_or_else(|| Unfit::blocked(format!("{location} has vanished")))?;
                let verified = verify(object, name.start).map_err(|error| unfit(&location, error))?;
                Ok(Found::Originals { next_offset: verified.range.next_offset() })
            }
        }
    }

    /// Reads the whole of an object whose name was taken when a segment was to be stored: may it be adopted?
    pub(super) fn examine(
        &self,
        store: &dyn ArchiveStore,
        name: &SegmentName,
        topic_id: Option<TopicId>,
    ) -> Result<StoredSegment, Unfit> {
        let location = store.location(name);
        let (verified, stored) = read_whole(store, name)?;
        let Some(header) = verified.header.ours() else {
            return Err(Unfit::blocked(format!(
                "{location} was written by the original kafka-store while this one runs: stop the old process"
            )));
        };
        match self.contradiction(header, name, topic_id) {
            None => Ok(stored),
            Some(why) => Err(Unfit::blocked(format!("{location} is not of this chain: {why}"))),
        }
    }

    /// What the row of an object of this chain says, ours or the original's. The whole object is read, unless it is ours
    /// and the store knows its checksums.
    pub(super) fn describe(
        &self,
        store: &dyn ArchiveStore,
        name: &SegmentName,
        topic_id: Option<TopicId>,
    ) -> Result<StoredSegment, Unfit> {
        let location = store.location(name);
        let (header, stored) = describe(store, name)?;
        match header.as_ref().and_then(|header| self.contradiction(header, name, topic_id)) {
            None => Ok(stored),
            Some(why) => Err(Unfit::blocked(format!("{location} is not of this chain: {why}"))),
        }
    }
}

/// What the row of an object says, and what the object says of itself where it is ours.
pub(super) fn describe(
    store: &dyn ArchiveStore,
    name: &SegmentName,
) -> Result<(Option<SegmentHeader>, StoredSegment), Unfit> {
    let location = store.location(name);
    let missing = || Unfit::blocked(format!("{location} is missing although it was listed"));
    let stat = store.head(name)?.ok_or_else(missing)?;
    if let (Some(crc32c), Some(_)) = (stat.crc32c, stat.md5) {
        let front = store.read_front(name, HEADER_BYTES as u64)?.ok_or_else(missing)?;
        if let Ok(header) = SegmentHeader::parse(&front) {
            let stored = stored_by_header(&header, &stat, crc32c, location);
            return Ok((Some(header), stored));
        }
    }
    let (verified, stored) = read_whole(store, name)?;
    Ok((verified.header.ours().cloned(), stored))
}

/// Reads and checks all of an object.
fn read_whole(store: &dyn ArchiveStore, name: &SegmentName) -> Result<(Verified, StoredSegment), Unfit> {
    let location = store.location(name);
    let vanished = || Unfit::blocked(format!("{location} has vanished"));
    let object = store.open(name)?.ok_or_else(vanished)?;
    let mut stat = store.head(name)?.ok_or_else(vanished)?;
    let mut object = Md5Reader::new(object);
    let verified = verify(&mut object, name.start).map_err(|error| unfit(&location, error))?;
    stat.md5.get_or_insert(object.finish());
    let stored = stored_segment(&verified, location, &stat);
    Ok((verified, stored))
}

/// What an object of ours holds, by its header and what the store says of it.
pub(super) fn stored_by_header(
    header: &SegmentHeader,
    stat: &ObjectStat,
    crc32c: u32,
    location: String,
) -> StoredSegment {
    let SegmentSummary { timestamps, gaps, topic_id, .. } = &header.summary;
    StoredSegment {
        content: SegmentContent {
            range: header.range(),
            record_count: header.record_count,
            content_hash: Some(*header.content_hash.as_bytes()),
            file_bytes: stat.bytes,
            crc32c,
        },
        timestamps: Timestamps { first: timestamps.first, least: timestamps.min, greatest: timestamps.max },
        invisible_count: header.invisible_count(),
        gaps: gaps.clone(),
        topic_id: *topic_id,
        object: stat.object(location),
    }
}

/// What was found, with what the store says of it.
pub(super) fn stored_segment(verified: &Verified, location: String, stat: &ObjectStat) -> StoredSegment {
    let ours = verified.header.ours();
    let Verified { timestamps, .. } = verified;
    StoredSegment {
        content: SegmentContent {
            range: verified.range,
            record_count: verified.record_count,
            content_hash: ours.map(|_| *verified.content_hash.as_bytes()),
            file_bytes: verified.file_bytes,
            crc32c: verified.crc32c,
        },
        timestamps: Timestamps { first: timestamps.first, least: timestamps.min, greatest: timestamps.max },
        invisible_count: ours.map_or(0, SegmentHeader::invisible_count),
        gaps: ours.map(|header| header.summary.gaps.clone()).unwrap_or_default(),
        topic_id: ours.and_then(|header| header.summary.topic_id),
        object: stat.object(location),
    }
}

fn or_unknown(id: Option<&str>) -> &str {
    id.unwrap_or("(without an id)")
}

/// More than any header has that a writer of this format writes, in either tool.
const FRONT_BYTES: u64 = 64 * 1024;

fn unfit(location: &str, error: ReadError) -> Unfit {
    let error = match error {
        // The store gave up in the middle. What it gives with a wrong checksum is wrong, and stays so.
        ReadError::Io { source, .. } if source.kind() != ErrorKind::InvalidData => {
            return Unfit::Store(StoreError::reading(location.to_owned(), source));
        }
        error => error,
    };
    let advice = if error.is_truncated() {
        "it was cut off while it was written: move it out of the archive, and its records are archived anew if Kafka \
         still has them"
    } else {
        "restore it from a copy, or move it out of the archive"
    };
    Unfit::blocked(format!("{location} is not a whole segment: {error}; {advice}"))
}
