//! The arbiter store as the actors see it.

use super::identity::{Identity, Unfit};
use super::md5;
use super::stored_header::Front;
use super::topic_facts::TopicFacts;
use crate::avro::SegmentHeader;
use crate::blocking::BlockingPool;
use crate::kafka::ffi::Client;
use crate::store::{ArchiveStore, CreateOutcome, ObjectStat, SegmentFile, StoreError, attribute};
use kafka_store_actors::ports::{CompletedSegment, ObjectStore, PortFuture, StoreAnswer, StoredSegment};
use kafka_store_statecharts::failure::{Class, Failure, Port};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Who writes, for stores that keep it.
const WRITER: &str = concat!("kafka-store/", env!("CARGO_PKG_VERSION"));

/// Stores segments create-only, and looks at what is there where a name is taken.
#[derive(Debug)]
pub struct Arbiter {
    client: Arc<Client>,
    facts: Arc<TopicFacts>,
    store: Arc<dyn ArchiveStore>,
    identity: Identity,
    /// Whether a row of the index needs the MD5 of each file.
    needs_md5: bool,
    pool: BlockingPool,
}

impl Arbiter {
    /// The arbiter over a store. The client is asked whose records a segment holds.
    pub fn new(
        client: Arc<Client>,
        facts: Arc<TopicFacts>,
        store: Arc<dyn ArchiveStore>,
        identity: Identity,
        pool: BlockingPool,
    ) -> Arbiter {
        Arbiter { client, facts, store, identity, needs_md5: false, pool }
    }

    /// Says the MD5 of each stored file, and reads it for that where the store does not know it.
    #[must_use]
    pub fn with_md5(self, needs_md5: bool) -> Arbiter {
        Arbiter { needs_md5, ..self }
    }
}

impl ObjectStore for Arbiter {
    fn store(&self, segment: &CompletedSegment) -> PortFuture<Result<StoreAnswer, Failure>> {
        let (client, facts, store) = (Arc::clone(&self.client), Arc::clone(&self.facts), Arc::clone(&self.store));
        let (identity, segment, needs_md5) = (self.identity.clone(), segment.clone(), self.needs_md5);
        self.pool.run(move || match created_anew(&client, &facts, &segment)? {
            Some(reason) => Ok(StoreAnswer::Conflicts { reason }),
            None => match store_or_look(store.as_ref(), &identity, &segment)? {
                StoreAnswer::Stored(stored) if needs_md5 => with_md5(store.as_ref(), &segment, stored),
                answer => Ok(answer),
            },
        })
    }
}

/// Why a segment's records may be another topic's of the same name, if they may.
///
/// librdkafka goes on at the same offset when a topic is deleted and created anew, and says nothing. An id never comes
/// back: if the topic still has the one that the chain was located with, all that was fetched before is of that topic.
fn created_anew(client: &Client, facts: &TopicFacts, segment: &CompletedSegment) -> Result<Option<String>, Failure> {
    // A topic that is gone is asked for in vain: what was read before its id was last confirmed is of the one that there was.
    let Some(ours) = segment.topic_id.filter(|_| !segment.is_confirmed) else { return Ok(None) };
    let partition = &segment.name.chain.topic_partition;
    let topic = &partition.topic;
    let fetched = segment.file.completed_at().unwrap_or_else(Instant::now);
    match facts.id(client, topic, fetched) {
        Ok(Some(now)) if now != ours => Ok(Some(format!(
            "{partition}: its topic had the id {ours} when it was assigned, and has {now} now: it was re-created; kafka-store \
             resolve --partition {partition} explains the ways out"
        ))),
        // Deleted: what was fetched is of the one that there was.
        Ok(_) => Ok(None),
        Err(error) if error.name == "UNKNOWN_TOPIC_OR_PART" => Ok(None),
        Err(error) => {
            let reason = format!("it is not known whether {topic} was re-created: {error}");
            Err(Failure::new(Port::Kafka, error.class(Port::Kafka), reason))
        }
    }
}

fn store_or_look(
    store: &dyn ArchiveStore,
    identity: &Identity,
    segment: &CompletedSegment,
) -> Result<StoreAnswer, Failure> {
    let failure = |error: &StoreError| error.failure(Port::Store);
    let file = SegmentFile {
        name: segment.name.clone(),
        path: segment.file.path().to_owned(),
        bytes: segment.content.file_bytes,
        crc32c: segment.content.crc32c,
        attributes: attributes(segment),
    };
    let outcome = match store.create_segment(&file) {
        Ok(outcome) => outcome,
        Err(error) => return Err(failure(&error)),
    };
    match outcome {
        CreateOutcome::Created(stat) if is_as_sent(&stat, &file) => {
            let location = store.location(&segment.name);
            Ok(StoreAnswer::Stored(as_stored(segment, &stat, location)))
        }
        CreateOutcome::Created(stored) => Ok(StoreAnswer::Conflicts {
            reason: format!(
                "{} holds {} bytes, and {} were written: the disk or its file system lost some",
                store.location(&segment.name),
                stored.bytes,
                segment.content.file_bytes
            ),
        }),
        CreateOutcome::AlreadyExists => match identity.examine(store, &segment.name, segment.topic_id) {
            Ok(stored) => Ok(StoreAnswer::AlreadyExists(stored)),
            Err(Unfit::Blocked(blocked)) => Ok(StoreAnswer::Conflicts { reason: blocked.reason }),
            Err(Unfit::Store(error)) => Err(failure(&error)),
        },
    }
}

/// With the MD5 of what is stored now.
fn with_md5(
    store: &dyn ArchiveStore,
    segment: &CompletedSegment,
    mut stored: StoredSegment,
) -> Result<StoreAnswer, Failure> {
    if let Some(said) = stored.object.md5 {
        // What it says goes into the row: it must be what was sent. Asked again, it looks at the object.
        let failure = |class, reason: String| Err(Failure::new(Port::Store, class, reason));
        match md5::of_file(segment.file.path()) {
            Ok(sent) if sent == said => {}
            Ok(_) => {
                return failure(
                    Class::Other,
                    format!("{} is said to have another MD5 than was sent", stored.object.location),
                );
            }
            Err(error) => return failure(Class::Lost, format!("the spool file cannot be read: {error}")),
        }
    } else {
        match md5::of_object(store, &segment.name) {
            Ok(md5) => stored.object.md5 = Some(md5),
            Err(Unfit::Store(error)) => return Err(error.failure(Port::Store)),
            Err(Unfit::Blocked(blocked)) => return Ok(StoreAnswer::Conflicts { reason: blocked.reason }),
        }
    }
    Ok(StoreAnswer::Stored(stored))
}

/// Whether the store has what it was sent, as far as it says.
fn is_as_sent(stat: &ObjectStat, file: &SegmentFile) -> bool {
    stat.bytes == file.bytes && stat.crc32c.is_none_or(|crc32c| crc32c == file.crc32c)
}

fn as_stored(segment: &CompletedSegment, stat: &ObjectStat, location: String) -> StoredSegment {
    let summary = &segment.summary;
    let mut object = stat.object(location);
    object.seal_reason = Some(summary.seal_reason);
    object.writer = Some(WRITER.to_owned());
    StoredSegment {
        content: segment.content,
        timestamps: summary.timestamps,
        invisible_count: summary.invisible_count,
        gaps: summary.gaps.clone(),
        last_record: Some(summary.last_record),
        topic_id: segment.topic_id,
        object,
    }
}

/// What its header says, and what the file must not say, for stores that keep more than bytes.
fn attributes(segment: &CompletedSegment) -> BTreeMap<String, String> {
    // A file that cannot be read is not stored either, and the store says why.
    let front = Front::of_file(segment.file.path(), segment.name.start).ok().flatten();
    let header = front.as_ref().and_then(Front::ours);
    let mut attributes = header.map(SegmentHeader::attributes).unwrap_or_default();
    attributes.insert(attribute::SEAL_REASON.to_owned(), segment.summary.seal_reason.as_str().to_owned());
    attributes.insert(attribute::WRITER.to_owned(), WRITER.to_owned());
    attributes
}
