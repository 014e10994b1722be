//! The arbiter store as the actors see it.

use super::identity::{Identity, Unfit};
use crate::blocking::BlockingPool;
use crate::store::{ArchiveStore, CreateOutcome};
use kafka_store_actors::ports::{CompletedSegment, ObjectStore, PortFuture, StoreAnswer, StoreFailure};
use std::sync::Arc;

/// Stores segments create-only, and looks at what is there where a name is taken.
#[derive(Debug)]
pub struct Arbiter {
    store: Arc<dyn ArchiveStore>,
    identity: Identity,
    pool: BlockingPool,
}

impl Arbiter {
    /// The arbiter over a store.
    pub fn new(store: Arc<dyn ArchiveStore>, identity: Identity, pool: BlockingPool) -> Arbiter {
        Arbiter { store, identity, pool }
    }
}

impl ObjectStore for Arbiter {
    fn store(&self, segment: &CompletedSegment) -> PortFuture<Result<StoreAnswer, StoreFailure>> {
        let (store, identity, segment) = (Arc::clone(&self.store), self.identity.clone(), segment.clone());
        self.pool.run(move || store_or_look(store.as_ref(), &identity, &segment))
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
