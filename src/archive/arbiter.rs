//! The arbiter store as the actors see it.

use super::identity::{Identity, Unfit};
use crate::blocking::BlockingPool;
use crate::kafka::ffi::Client;
use crate::store::{ArchiveStore, CreateOutcome};
use kafka_store_actors::ports::{CompletedSegment, ObjectStore, PortFuture, StoreAnswer, StoreFailure};
use std::sync::Arc;
use std::time::Duration;

/// How long a broker may take to say whether a topic is still the one that it was.
const TOPIC_ID_TIME: Duration = Duration::from_secs(5);

/// Stores segments create-only, and looks at what is there where a name is taken.
#[derive(Debug)]
pub struct Arbiter {
    client: Arc<Client>,
    store: Arc<dyn ArchiveStore>,
    identity: Identity,
    pool: BlockingPool,
}

impl Arbiter {
    /// The arbiter over a store. The client is asked whose records a segment holds.
    pub fn new(client: Arc<Client>, store: Arc<dyn ArchiveStore>, identity: Identity, pool: BlockingPool) -> Arbiter {
        Arbiter { client, store, identity, pool }
    }
}

impl ObjectStore for Arbiter {
    fn store(&self, segment: &CompletedSegment) -> PortFuture<Result<StoreAnswer, StoreFailure>> {
        let (client, store) = (Arc::clone(&self.client), Arc::clone(&self.store));
        let (identity, segment) = (self.identity.clone(), segment.clone());
        self.pool.run(move || match created_anew(&client, &segment)? {
            Some(reason) => Ok(StoreAnswer::Conflicts { reason }),
            None => store_or_look(store.as_ref(), &identity, &segment),
        })
    }
}

/// Why a segment's records may be another topic's of the same name, if they may.
///
/// librdkafka goes on at the same offset when a topic is deleted and created anew, and says nothing. An id never comes
/// back: if the topic still has the one that the chain was located with, all that was fetched before is of that topic.
fn created_anew(client: &Client, segment: &CompletedSegment) -> Result<Option<String>, StoreFailure> {
    let Some(ours) = segment.topic_id else { return Ok(None) };
    let topic = &segment.name.chain.topic_partition.topic;
    match client.topic_id(topic, TOPIC_ID_TIME) {
        Ok(Some(now)) if now != ours => Ok(Some(format!(
            "{}: its topic had the id {ours} when it was assigned, and has {now} now: it was re-created; archive it under \
             another name or into another store",
            segment.name.chain.topic_partition
        ))),
        // Deleted: what was fetched is of the one that there was.
        Ok(_) => Ok(None),
        Err(error) if error.name == "UNKNOWN_TOPIC_OR_PART" => Ok(None),
        Err(error) => Err(StoreFailure { reason: format!("it is not known whether {topic} was re-created: {error}") }),
    }
}

fn store_or_look(
    store: &dyn ArchiveStore,
    identity: &Identity,
    segment: &CompletedSegment,
) -> Result<StoreAnswer, StoreFailure> {
    let failure = |error: &dyn std::fmt::Display| StoreFailure { reason: error.to_string() };
    match store.create_segment(&segment.name, segment.file.path()).map_err(|error| failure(&error))? {
        CreateOutcome::Created(stored) if stored.bytes == segment.content.file_bytes => {
            Ok(StoreAnswer::Stored(segment.content))
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
            Ok(content) => Ok(StoreAnswer::AlreadyExists(content)),
            Err(Unfit::Blocked(blocked)) => Ok(StoreAnswer::Conflicts { reason: blocked.reason }),
            Err(Unfit::Store(error)) => Err(failure(&error)),
        },
    }
}
