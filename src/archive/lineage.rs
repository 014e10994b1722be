//! Which of a partition's chains its records go to.
//!
//! A chain that cannot go on is begun anew by hand, as a later lineage of its partition. The latest is the one that
//! is archived to; those before it stay as they are.

use super::origin_object::{OriginError, OriginObject};
use crate::store::ArchiveStore;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::topic::TopicPartition;

/// The partition's latest chain: the first, where none was begun anew.
pub(super) fn latest(store: &dyn ArchiveStore, partition: &TopicPartition) -> Result<ChainName, OriginError> {
    let mut chain = ChainName::first_lineage(partition.clone());
    loop {
        let next = chain.next_lineage();
        if !is_begun(store, &next)? {
            return Ok(chain);
        }
        chain = next;
    }
}

/// By its origin; or by its segments, where a tree was copied without `~kafka-store/`.
fn is_begun(store: &dyn ArchiveStore, chain: &ChainName) -> Result<bool, OriginError> {
    Ok(OriginObject::read(store, chain)?.is_some() || store.has_segments(chain)?)
}
