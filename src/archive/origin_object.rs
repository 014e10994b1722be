//! Origins, as a store keeps them.

use super::identity::Identity;
use crate::store::{ArchiveStore, SmallOutcome, StoreError};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::origin::{Origin, OriginReason};
use kafka_store_statecharts::topic::TopicId;
use serde_json::{Value, json};

/// An origin and the topic that it was settled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OriginObject {
    pub(super) origin: Origin,
    pub(super) cluster_id: Option<String>,
    pub(super) topic_id: Option<TopicId>,
    /// Epoch of the leader whose log had the offset, where the brokers reported one.
    pub(super) leader_epoch: Option<LeaderEpoch>,
    /// Why the chain before it could not go on, where it was begun anew.
    pub(super) resolves: Option<String>,
}

/// Why there is no origin.
#[derive(Debug, thiserror::Error)]
pub(super) enum OriginError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{name} in {store} is not an origin that this version can read")]
    Unreadable { name: String, store: String },
}

impl OriginObject {
    pub(super) fn new(origin: Origin, identity: &Identity, topic_id: Option<TopicId>) -> OriginObject {
        OriginObject { origin, cluster_id: identity.cluster_id.clone(), topic_id, leader_epoch: None, resolves: None }
    }

    fn encode(&self) -> Vec<u8> {
        let mut object = json!({
            "format": 1,
            "offset": self.origin.offset.get(),
            "reason": self.origin.reason.as_str(),
        });
        if let Some(id) = &self.cluster_id {
            object["cluster_id"] = Value::from(id.as_str());
        }
        if let Some(id) = self.topic_id {
            object["topic_id"] = Value::from(id.to_string());
        }
        if let Some(epoch) = self.leader_epoch {
            object["leader_epoch"] = Value::from(epoch.get());
        }
        if let Some(reason) = &self.resolves {
            object["resolves"] = Value::from(reason.as_str());
        }
        format!("{object}\n").into_bytes()
    }

    fn parse(bytes: &[u8]) -> Option<OriginObject> {
        let object: Value = serde_json::from_slice(bytes).ok()?;
        if object["format"].as_i64()? != 1 {
            return None;
        }
        Some(OriginObject {
            origin: Origin {
                offset: Offset::new(object["offset"].as_i64()?)?,
                reason: OriginReason::parse(object["reason"].as_str()?)?,
            },
            cluster_id: object["cluster_id"].as_str().map(str::to_owned),
            topic_id: object["topic_id"].as_str().and_then(TopicId::parse),
            leader_epoch: leader_epoch_of(&object),
            resolves: object["resolves"].as_str().map(str::to_owned),
        })
    }

    /// The origin of a chain, if it is settled.
    pub(super) fn read(store: &dyn ArchiveStore, chain: &ChainName) -> Result<Option<OriginObject>, OriginError> {
        let name = chain.origin_object();
        match store.read_small(&name)? {
            None => Ok(None),
            Some(bytes) => parse_stored(store, &name, &bytes).map(Some),
        }
    }

    /// As [`OriginObject::read`], but what this version does not write is an error.
    pub(super) fn read_exactly(
        store: &dyn ArchiveStore,
        chain: &ChainName,
    ) -> Result<Option<OriginObject>, OriginError> {
        let name = chain.origin_object();
        let Some(bytes) = store.read_small(&name)? else { return Ok(None) };
        let origin = parse_stored(store, &name, &bytes)?;
        let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
        if value(&origin.encode()) == value(&bytes) {
            Ok(Some(origin))
        } else {
            Err(OriginError::Unreadable { name, store: store.describe() })
        }
    }

    /// Settles the origin of a chain. Of several who try, one wins, and all get the winner's.
    pub(super) fn settle(self, store: &dyn ArchiveStore, chain: &ChainName) -> Result<OriginObject, OriginError> {
        let name = chain.origin_object();
        match store.create_small(&name, &self.encode())? {
            SmallOutcome::Created => Ok(self),
            SmallOutcome::AlreadyExists(bytes) => parse_stored(store, &name, &bytes),
        }
    }
}

/// The leader epoch that an object records; `None` in those of earlier versions.
pub(super) fn leader_epoch_of(object: &Value) -> Option<LeaderEpoch> {
    object["leader_epoch"].as_i64().and_then(|epoch| i32::try_from(epoch).ok()).and_then(LeaderEpoch::new)
}

fn parse_stored(store: &dyn ArchiveStore, name: &str, bytes: &[u8]) -> Result<OriginObject, OriginError> {
    OriginObject::parse(bytes).ok_or_else(|| OriginError::Unreadable { name: name.to_owned(), store: store.describe() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_back() {
        for reason in OriginReason::ALL {
            let object = OriginObject {
                origin: Origin { offset: Offset::new(42).expect("legal"), reason },
                cluster_id: Some("a \"cluster\"".to_owned()),
                topic_id: TopicId::new([7; 16]),
                leader_epoch: LeaderEpoch::new(3).filter(|_| reason != OriginReason::Latest),
                resolves: (reason == OriginReason::NewLineage).then(|| "it had a \"hole\"".to_owned()),
            };
            assert_eq!(OriginObject::parse(&object.encode()), Some(object));
        }
        assert_eq!(OriginObject::parse(b"{\"format\":2,\"offset\":1,\"reason\":\"latest\"}"), None);
        assert_eq!(OriginObject::parse(b"torn"), None);
    }
}
