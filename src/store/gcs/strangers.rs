//! What lies in an archive's place and does not belong to it.

use super::{GcsStore, Level};
use crate::store::{Scope, StoreError};
use kafka_store_statecharts::name::{ChainName, RESERVED, SegmentName};
use kafka_store_statecharts::topic::TopicName;

/// Names relative to the archive, in order.
pub(super) fn find(store: &GcsStore, scope: &Scope) -> Result<Vec<String>, StoreError> {
    let mut strangers = Vec::new();
    match scope {
        Scope::Archive => in_archive(store, &mut strangers)?,
        Scope::Topic(topic) => in_topic(store, topic, &mut strangers)?,
        Scope::Chain(chain) => in_chain(store, chain, &mut strangers)?,
    }
    strangers.sort();
    Ok(strangers)
}

fn in_archive(store: &GcsStore, strangers: &mut Vec<String>) -> Result<(), StoreError> {
    let Level { folders, objects } = store.level("")?;
    strangers.extend(objects);
    for folder in folders.into_iter().filter(|folder| folder != RESERVED) {
        match TopicName::new(&folder) {
            Ok(topic) => in_topic(store, &topic, strangers)?,
            Err(_) => strangers.push(folder),
        }
    }
    Ok(())
}

fn in_topic(store: &GcsStore, topic: &TopicName, strangers: &mut Vec<String>) -> Result<(), StoreError> {
    let Level { folders, objects } = store.level(&format!("{topic}/"))?;
    let chain_of = |folder: &str| ChainName::parse(topic.as_str(), folder);
    let has_any = !(folders.is_empty() && objects.is_empty());
    if has_any && folders.iter().all(|folder| chain_of(folder).is_none()) {
        strangers.push(topic.to_string());
        return Ok(());
    }
    strangers.extend(objects.into_iter().map(|object| format!("{topic}/{object}")));
    for folder in folders {
        match chain_of(&folder) {
            Some(chain) => in_chain(store, &chain, strangers)?,
            None => strangers.push(format!("{topic}/{folder}")),
        }
    }
    Ok(())
}

fn in_chain(store: &GcsStore, chain: &ChainName, strangers: &mut Vec<String>) -> Result<(), StoreError> {
    let Level { folders, objects } = store.level(&format!("{chain}/"))?;
    let others = objects.into_iter().filter(|object| SegmentName::parse_file_name(object).is_none());
    strangers.extend(folders.into_iter().chain(others).map(|name| format!("{chain}/{name}")));
    Ok(())
}
