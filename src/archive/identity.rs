//! Whose records a segment holds.

use super::md5::Md5Reader;
use super::stored_header::Front;
use crate::avro::{Isolation, ReadError, SegmentHeader, SegmentSummary, Verified, sync_marker, verify};
use crate::store::{ArchiveStore, ObjectStat, StoreError};
use kafka_store_actors::ports::{Blocked, StoredSegment, Timestamps};
use kafka_store_statecharts::last_record::LastRecord;
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

/// A segment of a chain, as far as its walk looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// False for the original tool's.
    pub(super) is_ours: bool,
    /// The offset after its end.
    pub(super) next_offset: Offset,
    /// Its last record, where its header says it.
    pub(super) last_record: Option<LastRecord>,
    /// The topic's id, where its header says one.
    pub(super) topic_id: Option<TopicId>,
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
    /// Why a segment of ours belongs to another chain, if it does. An id that one side lacks proves nothing.
    fn contradiction(&self, header: &SegmentHeader, name: &SegmentName) -> Option<String> {
        let summary = &header.summary;
        if header.name != *name {
            return Some(format!("it says of itself that it is {}", header.name));
        }
        if let (Some(theirs), Some(ours)) = (&summary.cluster_id, &self.cluster_id)
            && theirs != ours
        {
            return Some(format!("it is from the Kafka cluster {theirs}, and this one is {ours}"));
        }
        if summary.isolation != self.isolation {
            return Some(format!("it was read {}, and this process reads {}", summary.isolation, self.isolation));
        }
        None
    }

    /// Looks at the front of an object; reads the whole of the original's, which say nothing of their end.
    pub(super) fn look(&self, store: &dyn ArchiveStore, name: &SegmentName) -> Result<Found, Unfit> {
        let location = store.location(name);
        let Some(front) = Front::of_object(store, name)? else {
            return Err(Unfit::blocked(format!("{location} is missing although it was listed or committed")));
        };
        let header = front.header.map_err(|error| unfit(&location, error))?;
        match header.ours() {
            Some(header) => match self.contradiction(header, name) {
                None => {
                    check_end(store, name, header)?;
                    Ok(Found {
                        is_ours: true,
                        next_offset: header.next_offset(),
                        last_record: header.summary.last_record,
                        topic_id: header.summary.topic_id,
                    })
                }
                Some(why) => Err(foreign(&location, &why)),
            },
            None => {
                let object = store.open(name)?.ok_or_else(|| Unfit::blocked(format!("{location} has vanished")))?;
                let verified = verify(object, name.start).map_err(|error| unfit(&location, error))?;
                let next_offset = verified.range.next_offset();
                Ok(Found { is_ours: false, next_offset, last_record: None, topic_id: None })
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
        match self.contradiction(header, name).or_else(|| other_topic(header.summary.topic_id, topic_id)) {
            None => Ok(stored),
            Some(why) => Err(foreign(&location, &why)),
        }
    }

    /// What the row of an object of this chain says, ours or the original's. The whole object is read, unless it is ours
    /// and the store knows its checksums.
    pub(super) fn describe(&self, store: &dyn ArchiveStore, name: &SegmentName) -> Result<StoredSegment, Unfit> {
        let location = store.location(name);
        let (header, stored) = describe(store, name)?;
        match header.as_ref().and_then(|header| self.contradiction(header, name)) {
            None => Ok(stored),
            Some(why) => Err(foreign(&location, &why)),
        }
    }
}

/// Why a segment is another topic's, if it is. An id that one side lacks proves nothing.
pub(super) fn other_topic(theirs: Option<TopicId>, ours: Option<TopicId>) -> Option<String> {
    let (theirs, ours) = (theirs?, ours?);
    (theirs != ours)
        .then(|| format!("its topic had the id {theirs}, and the topic has {ours} now: it was deleted and re-created"))
}

pub(super) fn foreign(location: &str, why: &str) -> Unfit {
    Unfit::blocked(format!("{location} is not of this chain: {why}"))
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
        let front = Front::of_object(store, name)?.ok_or_else(missing)?;
        if let Some(header) = front.ours().filter(|header| has_its_length(header, &stat)) {
            let stored = stored_by_header(header, &stat, crc32c, location);
            return Ok((Some(header.clone()), stored));
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

/// True unless the object has another length than its header says: it was cut, or something follows it.
pub(super) fn has_its_length(header: &SegmentHeader, stat: &ObjectStat) -> bool {
    header.file_bytes.is_none_or(|file_bytes| file_bytes == stat.bytes)
}

/// Checks that a segment of ours ends where its header says, with the marker that ends a block. A header says nothing of
/// what lies behind it, and a disk may lose that. Costs one small read of a directory; a bucket cuts nothing off.
fn check_end(store: &dyn ArchiveStore, name: &SegmentName, header: &SegmentHeader) -> Result<(), Unfit> {
    let marker = sync_marker(name);
    let Some(end) = store.read_end(name, marker.len() as u64)? else { return Ok(()) };
    let location = store.location(name);
    let stat = store.head(name)?.ok_or_else(|| Unfit::blocked(format!("{location} has vanished")))?;
    let advice =
        "restore it from a copy, or move it out of the archive: its records are archived again if Kafka still has them";
    match header.file_bytes.filter(|said| *said != stat.bytes) {
        Some(said) => Err(Unfit::blocked(format!(
            "{location} is not a whole segment: it has {} bytes, and its header says {said}; {advice}",
            stat.bytes
        ))),
        None if end != marker => {
            Err(Unfit::blocked(format!("{location} is not a whole segment: it does not end with a block; {advice}")))
        }
        None => Ok(()),
    }
}

/// What an object of ours holds, by its header and what the store says of it.
pub(super) fn stored_by_header(
    header: &SegmentHeader,
    stat: &ObjectStat,
    crc32c: u32,
    location: String,
) -> StoredSegment {
    let SegmentSummary { timestamps, gaps, last_record, topic_id, .. } = &header.summary;
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
        last_record: *last_record,
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
        last_record: ours.and_then(|header| header.summary.last_record),
        topic_id: ours.and_then(|header| header.summary.topic_id),
        object: stat.object(location),
    }
}

pub(super) fn unfit(location: &str, error: ReadError) -> Unfit {
    let error = match error {
        // The store gave up in the middle. What it gives with a wrong checksum is wrong, and stays so.
        ReadError::Io { source, .. } if source.kind() != ErrorKind::InvalidData => {
            return Unfit::Store(StoreError::reading(location.to_owned(), source));
        }
        error => error,
    };
    if matches!(error, ReadError::TooLarge { .. }) {
        return Unfit::blocked(format!("{location} cannot be read: {error}"));
    }
    let advice = if error.is_truncated() {
        "it was cut off while it was written: move it out of the archive, and its records are archived anew if Kafka \
         still has them"
    } else {
        "restore it from a copy, or move it out of the archive"
    };
    Unfit::blocked(format!("{location} is not a whole segment: {error}; {advice}"))
}
