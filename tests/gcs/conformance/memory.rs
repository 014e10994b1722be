//! The smallest store that there can be.

use kafka_store::store::{ArchiveStore, CreateOutcome, ObjectStat, Scope, SegmentFile, SmallOutcome, StoreError};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicName;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::sync::{Mutex, MutexGuard};

/// Objects in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    objects: Mutex<Objects>,
}

#[derive(Debug, Default)]
struct Objects {
    segments: BTreeMap<SegmentName, Vec<u8>>,
    small: BTreeMap<String, Vec<u8>>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().expect("no panic")
    }
}

fn stat(bytes: &[u8]) -> ObjectStat {
    ObjectStat { bytes: bytes.len() as u64, crc32c: Some(crc32c::crc32c(bytes)), ..ObjectStat::default() }
}

fn not_legal(name: &str) -> bool {
    let mut parts = name.split('/');
    parts.next() != Some("~kafka-store")
        || parts.clone().next().is_none()
        || parts.any(|part| matches!(part, "" | "." | ".."))
}

impl ArchiveStore for MemoryStore {
    fn create_segment(&self, file: &SegmentFile) -> Result<CreateOutcome, StoreError> {
        let bytes = std::fs::read(&file.path).map_err(|error| StoreError::from_io("read", &file.path, error))?;
        let mut objects = self.lock();
        if objects.segments.contains_key(&file.name) {
            return Ok(CreateOutcome::AlreadyExists);
        }
        let created = CreateOutcome::Created(stat(&bytes));
        objects.segments.insert(file.name.clone(), bytes);
        Ok(created)
    }

    fn create_small(&self, name: &str, bytes: &[u8]) -> Result<SmallOutcome, StoreError> {
        if not_legal(name) {
            let error = std::io::Error::from(std::io::ErrorKind::InvalidInput);
            return Err(StoreError::from_io("create", name.as_ref(), error));
        }
        let mut objects = self.lock();
        if let Some(there) = objects.small.get(name) {
            return Ok(SmallOutcome::AlreadyExists(there.clone()));
        }
        objects.small.insert(name.to_owned(), bytes.to_vec());
        Ok(SmallOutcome::Created)
    }

    fn read_small(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().small.get(name).cloned())
    }

    fn list_small(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        if not_legal(folder) {
            let error = std::io::Error::from(std::io::ErrorKind::InvalidInput);
            return Err(StoreError::from_io("list", folder.as_ref(), error));
        }
        let prefix = format!("{folder}/");
        Ok(self.lock().small.keys().filter(|name| name.starts_with(&prefix)).cloned().collect())
    }

    fn chains(&self) -> Result<Vec<ChainName>, StoreError> {
        let chains: BTreeSet<ChainName> = self.lock().segments.keys().map(|name| name.chain.clone()).collect();
        Ok(chains.into_iter().collect())
    }

    fn chains_of(&self, topic: &TopicName) -> Result<Vec<ChainName>, StoreError> {
        let mut chains = self.chains()?;
        chains.retain(|chain| chain.topic_partition.topic == *topic);
        Ok(chains)
    }

    fn segments_from(&self, chain: &ChainName, from: Option<Offset>) -> Result<Vec<Offset>, StoreError> {
        Ok(self.objects_from(chain, from)?.into_iter().map(|(start, _)| start).collect())
    }

    fn objects_from(&self, chain: &ChainName, from: Option<Offset>) -> Result<Vec<(Offset, ObjectStat)>, StoreError> {
        let objects = self.lock();
        let of_chain = objects.segments.iter().filter(|(name, _)| name.chain == *chain);
        let wanted = of_chain.filter(|(name, _)| from.is_none_or(|from| from <= name.start));
        Ok(wanted.map(|(name, bytes)| (name.start, stat(bytes))).collect())
    }

    fn head(&self, name: &SegmentName) -> Result<Option<ObjectStat>, StoreError> {
        Ok(self.lock().segments.get(name).map(|bytes| stat(bytes)))
    }

    fn open(&self, name: &SegmentName) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        let bytes = self.lock().segments.get(name).cloned();
        Ok(bytes.map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read + Send>))
    }

    fn read_front(&self, name: &SegmentName, length: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let front = |bytes: &Vec<u8>| bytes[..bytes.len().min(length as usize)].to_vec();
        Ok(self.lock().segments.get(name).map(front))
    }

    fn strangers(&self, _: &Scope) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn location(&self, name: &SegmentName) -> String {
        format!("memory:{name}")
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}
