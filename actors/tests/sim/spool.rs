//! The spool of the simulator.

use super::Sim;
use kafka_store_actors::ports::{
    CompletedSegment, EachBlock, OpenFile, SegmentSpool, SegmentSummary, SpoolBlocks, SpoolError, SpoolFile,
};
use kafka_store_statecharts::last_record::RecordHash;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::record::{BLOCK_BYTES, Decoder};
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::TopicId;
use std::path::{Path, PathBuf};
use std::sync::Arc;
impl SegmentSpool for Sim {
    fn open(
        &self,
        chain: &ChainName,
        topic_id: Option<TopicId>,
        start: Offset,
    ) -> Result<Box<dyn OpenFile>, SpoolError> {
        let mut world = self.lock();
        if let Some(error) = world.spool_fault(&chain.topic_partition) {
            return Err(error);
        }
        world.spool_files += 1;
        drop(world);
        let held = Held { sim: self.clone(), bytes: 0 };
        Ok(Box::new(SimOpenFile {
            chain: chain.clone(),
            topic_id,
            start,
            bytes: Vec::new(),
            last_block: 0,
            last_record: None,
            aside: Vec::new(),
            count: 0,
            held_bytes: 0,
            held,
        }))
    }

    fn read_back(&self, segment: &CompletedSegment) -> Result<Box<dyn SpoolBlocks>, SpoolError> {
        let mut world = self.lock();
        if world.disk_fails() || world.file_is_damaged() {
            world.saw("a sealed segment came back damaged");
            return Err(SpoolError::damaged("other records come back"));
        }
        world.saw("a sealed segment was read back");
        Ok(Box::new(SimBlocks(world.spool.get(segment.file.path()).cloned().unwrap_or_default())))
    }
}

/// What is left of a sealed segment.
#[derive(Debug)]
struct SimBlocks(Vec<u8>);

impl SpoolBlocks for SimBlocks {
    fn next_block(&mut self) -> Result<Option<Vec<u8>>, SpoolError> {
        let mut decoder = Decoder::new(&self.0);
        for _ in 0..3 {
            if !decoder.rest().is_empty() {
                decoder.record().expect("records were written");
            }
        }
        let length = self.0.len() - decoder.rest().len();
        let rest = self.0.split_off(length);
        let block = std::mem::replace(&mut self.0, rest);
        Ok((!block.is_empty()).then_some(block))
    }
}

/// Counts a file of the spool for as long as it lies there.
#[derive(Debug)]
struct Held {
    sim: Sim,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut world = self.sim.lock();
        world.spool_files -= 1;
        world.spool_bytes -= self.bytes;
    }
}

#[derive(Debug)]
struct SimOpenFile {
    chain: ChainName,
    topic_id: Option<TopicId>,
    start: Offset,
    bytes: Vec<u8>,
    /// Where its last block begins.
    last_block: usize,
    last_record: Option<RecordHash>,
    aside: Vec<u8>,
    count: u64,
    /// What waits to be written in a larger piece.
    held_bytes: u64,
    held: Held,
}

/// A file holds less than this.
const HELD_BYTES_MAX: u64 = 3 * BLOCK_BYTES as u64;

impl OpenFile for SimOpenFile {
    fn read_back(&mut self, each: EachBlock<'_>) -> Result<(), SpoolError> {
        let mut world = self.held.sim.lock();
        if let Some(error) = world.spool_fault(&self.chain.topic_partition) {
            return Err(error);
        }
        world.saw("an open segment was cut");
        drop(world);
        if self.count > 0 {
            let _ = each(&self.bytes, self.count);
        }
        Ok(())
    }

    fn append_block(&mut self, records: &[u8], record_count: u64) -> Result<(), SpoolError> {
        let mut world = self.held.sim.lock();
        if let Some(error) = world.spool_fault(&self.chain.topic_partition) {
            return Err(error);
        }
        let (mut decoder, mut count) = (Decoder::new(records), 0);
        let mut last = records;
        while !decoder.rest().is_empty() {
            last = decoder.rest();
            if decoder.record().is_err() {
                break;
            }
            last = &last[..last.len() - decoder.rest().len()];
            count += 1;
        }
        self.last_record = Some(RecordHash::of(last));
        if count != record_count {
            world.violations.push(format!("a block of {record_count} records has {count}"));
        }
        world.grow_spool(records.len() as u64);
        self.held.bytes += records.len() as u64;
        self.last_block = self.bytes.len();
        self.bytes.extend_from_slice(records);
        self.held_bytes = (self.held_bytes + records.len() as u64) % HELD_BYTES_MAX;
        self.count += record_count;
        Ok(())
    }

    fn set_aside(&mut self, records: &[u8]) -> Result<(), SpoolError> {
        let mut world = self.held.sim.lock();
        if let Some(error) = world.spool_fault(&self.chain.topic_partition) {
            return Err(error);
        }
        world.saw("records of a block were set aside");
        world.grow_spool(records.len() as u64);
        self.held.bytes += records.len() as u64;
        self.aside.extend_from_slice(records);
        Ok(())
    }

    fn take_back(&mut self, records: &mut Vec<u8>) -> Result<(), SpoolError> {
        let mut world = self.held.sim.lock();
        if let Some(error) = world.spool_fault(&self.chain.topic_partition) {
            return Err(error);
        }
        if world.file_is_damaged() {
            world.saw("records that were set aside came back damaged");
            return Err(SpoolError::damaged("other records come back"));
        }
        world.spool_bytes -= self.aside.len() as u64;
        self.held.bytes -= self.aside.len() as u64;
        records.append(&mut self.aside);
        Ok(())
    }

    fn read_last_block(&self) -> Result<Vec<u8>, SpoolError> {
        let mut world = self.held.sim.lock();
        if let Some(error) = world.spool_fault(&self.chain.topic_partition) {
            return Err(error);
        }
        world.saw("the last block was read back");
        Ok(self.bytes[self.last_block..].to_vec())
    }

    fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    fn write_held(&mut self) -> Result<(), SpoolError> {
        let mut world = self.held.sim.lock();
        if let Some(error) = world.spool_fault(&self.chain.topic_partition) {
            return Err(error);
        }
        world.saw("blocks that waited to be written together were written early");
        self.held_bytes = 0;
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        self.held.bytes
    }

    fn complete(self: Box<Self>, summary: &SegmentSummary) -> Result<CompletedSegment, SpoolError> {
        let mut world = self.held.sim.lock();
        if let Some(error) = world.spool_fault(&self.chain.topic_partition) {
            drop(world);
            return Err(error);
        }
        let deleted: u64 = summary.gaps.iter().map(|gap| gap.offsets.offset_count()).sum();
        let missing = summary.range.offset_count() - summary.record_count - deleted;
        let partition = self.chain.topic_partition.clone();
        let gaps = summary.gaps.iter().map(|gap| gap.offsets).collect();
        world.partition_mut(&partition).deleted.insert(*blake3::hash(&self.bytes).as_bytes(), gaps);
        if (summary.record_count, summary.invisible_count, summary.range.start()) != (self.count, missing, self.start) {
            world.violations.push(format!("the summary {summary:?} is not of {} records", self.count));
        }
        if self.last_record != Some(summary.last_record.hash) {
            world.violations.push(format!("the summary {summary:?} has another last record"));
        }
        // The chart has just said why: nothing comes between.
        world.check_boundary(&self.chain.topic_partition, summary.range, &summary.gaps);
        let path = PathBuf::from(format!("{}-{}-{}", self.chain.topic_partition, self.start, world.lines.len()));
        world.spool.insert(path.clone(), self.bytes.clone());
        drop(world);
        Ok(CompletedSegment {
            name: self.chain.segment(self.start),
            topic_id: self.topic_id,
            content: SegmentContent {
                range: summary.range,
                record_count: self.count,
                content_hash: Some(*blake3::hash(&self.bytes).as_bytes()),
                file_bytes: self.bytes.len() as u64,
                crc32c: 0,
            },
            summary: summary.clone(),
            is_confirmed: false,
            file: Arc::new(SimSpoolFile { path, held: self.held }),
        })
    }
}

#[derive(Debug)]
struct SimSpoolFile {
    path: PathBuf,
    held: Held,
}

impl SpoolFile for SimSpoolFile {
    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SimSpoolFile {
    fn drop(&mut self) {
        self.held.sim.lock().spool.remove(&self.path);
    }
}
