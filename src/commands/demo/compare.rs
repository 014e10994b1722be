//! Reads the archive back and compares each record with the one that was produced at its place.

use super::super::CommandError;
use super::sample::{SampleRecord, TOPICS, Topic};
use crate::archive::{ArchiveError, ChainReader, OffsetWindow, header_of};
use crate::avro::{Record, SegmentHeader};
use crate::commands::interrupt::Interrupt;
use crate::store::{ArchiveStore, LocalStore};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::record::TimestampType;
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the archive holds of one topic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Archived {
    pub(super) partitions: u64,
    pub(super) records: u64,
    pub(super) segments: u64,
    pub(super) record_bytes: u64,
    pub(super) file_bytes: u64,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) topics: Vec<(&'static str, Archived)>,
    /// The first files of a partition, to be shown.
    pub(super) examples: Vec<PathBuf>,
}

impl Archived {
    /// How many records are in the archive so far; for the progress bar, so what cannot be read counts nothing.
    pub(super) fn count(directory: &Path) -> u64 {
        let Ok(store) = LocalStore::open_read_only(directory) else { return 0 };
        let chains = store.chains().unwrap_or_default();
        chains.iter().flat_map(|chain| last_header(&store, chain)).map(|header| header.next_offset().get() as u64).sum()
    }
}

/// The header of a chain's last segment. Each chain of the demo begins at 0, so its end is its record count.
fn last_header(store: &LocalStore, chain: &ChainName) -> Option<SegmentHeader> {
    let start = store.segments_from(chain, None).ok()?.pop()?;
    header(store, &chain.segment(start))
}

fn header(store: &LocalStore, name: &SegmentName) -> Option<SegmentHeader> {
    header_of(store, name).ok()?.ours().cloned()
}

/// Compares the whole archive.
pub(super) fn compare(
    directory: &Path,
    total: u64,
    progress: impl Fn(u64),
    interrupt: &Interrupt,
) -> Result<Comparison, CommandError> {
    let store = Arc::new(LocalStore::open_read_only(directory).map_err(|error| CommandError::from_error(&error))?);
    let mut comparison = Comparison { topics: Vec::new(), examples: Vec::new() };
    let mut done = 0;
    for topic in TOPICS {
        let mut archived = Archived::default();
        for partition in 0..topic.partitions {
            let chain = chain(topic, partition);
            let count = topic.records_in(partition, total);
            compare_chain(&store, &chain, topic, count, |bytes| {
                archived.record_bytes += bytes;
                done += 1;
                if done % 1_000 == 0 {
                    progress(done);
                }
            })?;
            if interrupt.is_set() {
                return Ok(comparison);
            }
            let starts = store.segments_from(&chain, None).map_err(|error| CommandError::from_error(&error))?;
            archived.partitions += 1;
            archived.records += count;
            archived.segments += starts.len() as u64;
            for start in &starts {
                let stat = store.head(&chain.segment(*start)).map_err(|error| CommandError::from_error(&error))?;
                archived.file_bytes += stat.map_or(0, |stat| stat.bytes);
            }
            if topic.name == "orders" && partition == 0 {
                let paths = starts.iter().take(3).map(|start| directory.join(chain.segment(*start).to_string()));
                comparison.examples.extend(paths);
            }
        }
        comparison.topics.push((topic.name, archived));
    }
    Ok(comparison)
}

fn chain(topic: Topic, partition: i32) -> ChainName {
    ChainName::first_lineage(TopicPartition {
        topic: TopicName::new(topic.name).expect("a legal name"),
        partition: PartitionId::new(partition).expect("not negative"),
    })
}

fn compare_chain(
    store: &Arc<LocalStore>,
    chain: &ChainName,
    topic: Topic,
    count: u64,
    mut each: impl FnMut(u64),
) -> Result<(), CommandError> {
    let partition = chain.topic_partition.partition.get();
    let mut next = 0_u64;
    let mut difference = None;
    let mut reader =
        ChainReader::new(Arc::clone(store) as Arc<dyn ArchiveStore>, chain.clone(), OffsetWindow::default())
            .map_err(|error| CommandError::from_error(&error))?;
    reader
        .for_each_record(|_, record| {
            let expected = topic.record(partition, next, count);
            if difference.is_none() && (record.fields.offset.get() as u64 != next || !is_same(record, &expected)) {
                difference =
                    Some(format!("the record at offset {next} of {} is not what was produced", chain.topic_partition));
            }
            next += 1;
            let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len) as u64;
            each(length(record.fields.key) + length(record.fields.value));
            Ok::<(), ArchiveError>(())
        })
        .map_err(|error| CommandError::from_error(&error))?;
    if let Some(difference) = difference {
        return Err(CommandError::new(difference));
    }
    if next != count {
        let partition = &chain.topic_partition;
        return Err(CommandError::new(format!(
            "{partition} has {next} records in the archive, and {count} were produced"
        )));
    }
    Ok(())
}

fn is_same(record: &Record<'_>, expected: &SampleRecord) -> bool {
    record.fields.key == expected.key.as_deref()
        && record.fields.value == expected.value.as_deref()
        && record.fields.timestamp == expected.timestamp
        && record.fields.timestamp_type == TimestampType::CreateTime
        && record.headers.len() == expected.headers.len()
        && record
            .headers
            .iter()
            .zip(&expected.headers)
            .all(|(header, (name, value))| *header.name == *name.as_bytes() && header.value == value.as_deref())
}
