//! The other ports: clock, spool, store, index, walk, log of transitions.

use super::Sim;
use super::world::{LatePut, Object, World};
use kafka_store_actors::ports::{
    Blocked, BrokenLog, Cause, ChainLocator, Clock, CompletedSegment, Coverage, EachBlock, IndexAnswer, IndexRow,
    Located, MirrorAnswer, MirrorStores, ObjectStore, OpenFile, PortFuture, SegmentIndex, SegmentSpool, SegmentSummary,
    SpoolBlocks, SpoolError, SpoolFile, StoreAnswer, TopicAnswer,
};
use kafka_store_actors::transition::{Detail, TransitionLog, TransitionRecord};
use kafka_store_statecharts::anchor::Proof;
use kafka_store_statecharts::backoff;
use kafka_store_statecharts::chart::Now;
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::gap::{Gap, GapReason};
use kafka_store_statecharts::last_record::RecordHash;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::record::{BLOCK_BYTES, Decoder};
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::{TopicId, TopicName, TopicPartition};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

impl Clock for Sim {
    fn now(&self) -> Now {
        let monotonic_ms = self.now_ms();
        Now { monotonic_ms, wall_ms: World::wall_ms(monotonic_ms) }
    }
}

impl TransitionLog for Sim {
    fn record(&self, record: &TransitionRecord<'_>) {
        let mut world = self.lock();
        let of = record.subject.map(|subject| &subject.chain.topic_partition);
        let segment_start = record.subject.and_then(|subject| subject.segment_start);
        let seal_reason = match record.detail {
            Detail::Sealed { reason, .. } => Some(reason),
            _ => None,
        };
        let partition = of.map_or("-".to_owned(), ToString::to_string);
        let start = segment_start.map_or(String::new(), |start| format!(" {start}"));
        let reason = seal_reason.map_or(String::new(), |reason| format!(" ({reason})"));
        let (now_ms, chart) = (record.now.monotonic_ms, record.chart);
        let step = format!("{} --{}--> {}{reason}", record.from, record.event, record.to);
        world.taken.insert(format!("{chart}: {} --{}--> {}", record.from, record.event, record.to));
        world.lines.push(format!("{now_ms:>7} {partition} {chart}{start}: {step}"));
        if let (Some(partition), Some(start), Some(reason)) = (of, segment_start, seal_reason) {
            world.reasons.insert((partition.clone(), start), reason);
        }
        if let (Some(partition), "partition") = (of, record.chart) {
            world.note_state(partition, record.to);
        }
        match (record.chart, record.from, record.event, record.to) {
            ("partition", _, _, "Frozen") => world.saw("frozen"),
            ("partition", "Frozen", _, "Locating") => world.saw("a frozen partition was looked at again"),
            ("partition", _, _, "Retrying") => world.saw("what was held was fetched again"),
            ("partition", _, _, "WaitingForSlot") => world.saw("waited for a slot"),
            ("partition", "WaitingForSpool", "SpoolGranted", _) => world.saw("waited for room in the spool"),
            ("segment", "Buffering", "Discarded", _) => world.saw("an open segment was discarded"),
            ("partition", _, "DrainRequested", "Revoking") => world.saw("drained with segments on their way"),
            ("partition", "WaitingForSlot" | "Active", _, "Relocating") => world.saw("relocated"),
            ("segment", "Sealing.AwaitingTurn", "Discarded", _) => world.saw("a sealed segment was discarded"),
            ("segment", "Committing.AwaitingOffsetCommit", "Discarded", _) => world.saw("discarded while committing"),
            _ => {}
        }
    }
}

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

/// What becomes of a question.
#[derive(Clone, Copy)]
enum Fate {
    Answered,
    /// It has its effect, and the answer is lost.
    AnswerLost,
    /// It has its effect later, and the answer says that it has none.
    Late,
    Failed,
}

impl Sim {
    fn fate(&self) -> (Fate, Duration, Duration) {
        let mut world = self.lock();
        let fate = if !world.fails() {
            Fate::Answered
        } else {
            *world.rng.one(&[Fate::AnswerLost, Fate::Late, Fate::Failed, Fate::Failed])
        };
        let before_ms = if world.hangs { 100_000 } else { world.latency_ms() };
        (fate, Duration::from_millis(before_ms), Duration::from_millis(world.latency_ms() / 4))
    }
}

impl ObjectStore for Sim {
    fn store(&self, segment: &CompletedSegment) -> PortFuture<Result<StoreAnswer, Failure>> {
        let (sim, segment) = (self.clone(), segment.clone());
        Box::pin(async move {
            let partition = segment.name.chain.topic_partition.clone();
            let failure = || Err(sim.lock().one_failure(Port::Store, &partition));
            let (fate, before, after) = sim.fate();
            tokio::time::sleep(before).await;
            if let Some(away) = sim.lock().outage(Port::Store, &partition) {
                return Err(away);
            }
            let is_down = sim.lock().store_is_down;
            if matches!(fate, Fate::Failed) || is_down {
                return failure();
            }
            if sim.lock().file_is_lost(&partition) {
                let lost = Failure::new(Port::Store, Class::Lost, "the spool file is gone");
                sim.lock().meets(&lost, &partition);
                return Err(lost);
            }
            let answer = {
                let now_ms = sim.now_ms();
                let mut world = sim.lock();
                // An id never comes back: what was read before it is seen again is that topic's.
                let other_topic = world.topic_id(now_ms).is_some_and(|now| Some(now) != segment.topic_id);
                if other_topic && !segment.is_confirmed {
                    world.saw("records that may be another topic's were refused");
                    return Ok(StoreAnswer::Conflicts { reason: "the topic was re-created".to_owned() });
                }
                let bytes = world.spool.get(segment.file.path()).cloned().unwrap_or_default();
                if let Fate::Late = fate {
                    let due_ms = now_ms + world.rng.between(10, 5_000);
                    let (partition, content) = (partition.clone(), segment.content);
                    world.late_puts.push(LatePut { due_ms, partition, content, bytes });
                    None
                } else {
                    Some(world.put(&partition, segment.content, &bytes))
                }
            };
            let Some(answer) = answer else { return failure() };
            tokio::time::sleep(after).await;
            if let Fate::AnswerLost = fate { failure() } else { Ok(answer) }
        })
    }
}

impl MirrorStores for Sim {
    fn copy(&self, segment: &CompletedSegment, stored: &SegmentContent) -> PortFuture<Result<MirrorAnswer, Failure>> {
        let (sim, segment, stored) = (self.clone(), segment.clone(), *stored);
        Box::pin(async move {
            let partition = segment.name.chain.topic_partition.clone();
            let failure = || Err(sim.lock().one_failure(Port::Mirrors, &partition));
            let (fate, before, after) = sim.fate();
            tokio::time::sleep(before).await;
            if let Some(away) = sim.lock().outage(Port::Mirrors, &partition) {
                return Err(away);
            }
            if let Fate::Failed | Fate::Late = fate {
                return failure();
            }
            let answer = {
                let mut world = sim.lock();
                if world.disk_fails() {
                    // As rare, and put right as soon: somebody takes the other bytes away.
                    world.saw("other bytes in a mirror");
                    MirrorAnswer::Conflicts { reason: "other bytes are there".to_owned() }
                } else {
                    let has_file = world.spool.contains_key(segment.file.path());
                    world.mirror(&segment.name.chain.topic_partition, stored, has_file);
                    MirrorAnswer::Stored
                }
            };
            tokio::time::sleep(after).await;
            if let Fate::AnswerLost = fate { failure() } else { Ok(answer) }
        })
    }
}

impl SegmentIndex for Sim {
    fn write_row(&self, row: IndexRow) -> PortFuture<Result<IndexAnswer, Failure>> {
        let sim = self.clone();
        Box::pin(async move {
            let partition = row.name.chain.topic_partition.clone();
            let failure = || Err(sim.lock().one_failure(Port::Index, &partition));
            let (fate, before, after) = sim.fate();
            tokio::time::sleep(before).await;
            if let Some(away) = sim.lock().outage(Port::Index, &partition) {
                return Err(away);
            }
            if let Fate::Failed | Fate::Late = fate {
                return failure();
            }
            let answer = {
                let mut world = sim.lock();
                if world.disk_fails() {
                    // As rare, and put right as soon: somebody takes the other row away.
                    world.saw("another row");
                    IndexAnswer::Conflicts { reason: "another row is there".to_owned() }
                } else {
                    world.insert_row(&row.name.chain.topic_partition, row.stored.content);
                    IndexAnswer::Written
                }
            };
            tokio::time::sleep(after).await;
            if let Fate::AnswerLost = fate { failure() } else { Ok(answer) }
        })
    }
}

impl Sim {
    /// Asks until ports answer, as the adapter does: what passes is waited for.
    async fn is_answered(&self, partition: &TopicPartition, ports: &[Port]) -> Result<(), Blocked> {
        let mut failures = 0;
        for port in ports {
            loop {
                let away = self.lock().outage(*port, partition);
                match away {
                    None => break,
                    Some(failure) if !failure.passes() => return Err(Blocked { reason: failure.advice() }),
                    Some(_) => {}
                }
                failures += 1;
                tokio::time::sleep(backoff::delay(failures, 0)).await;
            }
        }
        Ok(())
    }
}

impl ChainLocator for Sim {
    fn locate(&self, partition: &TopicPartition, from: Option<Offset>) -> PortFuture<Result<Located, Blocked>> {
        let (sim, partition) = (self.clone(), partition.clone());
        Box::pin(async move {
            sim.is_answered(&partition, &[Port::Kafka, Port::Commit, Port::Store, Port::Index]).await?;
            let (_, before, after) = sim.fate();
            tokio::time::sleep(before).await;
            let located = sim.lock().walk(&partition, from);
            tokio::time::sleep(after).await;
            located
        })
    }

    fn examine(&self, partition: &TopicPartition, broken: BrokenLog) -> PortFuture<Result<Cause, Blocked>> {
        let (sim, partition) = (self.clone(), partition.clone());
        Box::pin(async move {
            sim.is_answered(&partition, &[Port::Kafka]).await?;
            let (_, before, after) = sim.fate();
            tokio::time::sleep(before).await;
            let cause = sim.lock().cause(&partition, &broken);
            tokio::time::sleep(after).await;
            cause
        })
    }

    fn topics(&self, topics: Vec<TopicName>) -> PortFuture<BTreeMap<TopicName, TopicAnswer>> {
        let sim = self.clone();
        Box::pin(async move {
            let (fate, before, after) = sim.fate();
            tokio::time::sleep(before).await;
            let now_ms = sim.now_ms();
            let answer = match sim.lock().topic_id(now_ms) {
                Some(id) => TopicAnswer::Exists(Some(id)),
                None => TopicAnswer::Absent,
            };
            tokio::time::sleep(after).await;
            match fate {
                Fate::Answered => topics.into_iter().map(|topic| (topic, answer)).collect(),
                _ => BTreeMap::new(),
            }
        })
    }

    fn coverage(&self, partition: &TopicPartition, target: Offset) -> PortFuture<Result<Coverage, Blocked>> {
        let (sim, partition) = (self.clone(), partition.clone());
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let tail = sim.lock().partition(&partition).tail();
            Ok(Coverage { is_covered: tail >= target, archived_to: Some(tail), committed: None })
        })
    }
}

impl World {
    fn topic_id(&self, now_ms: u64) -> Option<TopicId> {
        (now_ms >= self.absent_until_ms).then(|| TopicId::new([self.topic_id; 16]).expect("not zero"))
    }

    /// Why a log does not continue.
    fn cause(&mut self, partition: &TopicPartition, broken: &BrokenLog) -> Result<Cause, Blocked> {
        let topic_id = TopicId::new([self.topic_id; 16]);
        let world = self.partition(partition);
        if broken.topic_id != topic_id {
            return Ok(Cause::TopicGone { reason: "the topic was re-created".to_owned() });
        }
        if broken.position < world.log.start {
            self.saw("retention passed what was read");
            return Ok(Cause::Retention);
        }
        if let Some(anchor) = broken.anchor.filter(|anchor| anchor.offset < world.log.start) {
            let proof = Proof::Record(anchor).without_record();
            return Ok(Cause::Unchanged { proof });
        }
        if broken.holds_records {
            self.saw("records that were read were given up");
            return Ok(Cause::Cut);
        }
        // The brokers do not say the same wrong thing twice, a minute apart.
        if !broken.was_doubted || world.may_follow() {
            return Ok(Cause::Doubted);
        }
        let tail = world.tail();
        self.partition_mut(partition).finding = Some(tail);
        self.saw("another history was found");
        Err(Blocked { reason: format!("the log differs before {tail}") })
    }

    fn walk(&mut self, partition: &TopicPartition, from: Option<Offset>) -> Result<Located, Blocked> {
        if self.disk_fails() {
            return Err(Blocked { reason: "the store does not list".to_owned() });
        }
        let world = self.partition(partition);
        let start = from.unwrap_or(world.origin);
        let ends_there = |(_, content): (&Offset, &SegmentContent)| content.range.next_offset() == start;
        if start != world.origin && !world.segments().any(ends_there) {
            self.violations.push(format!("{partition}: walked on from {start}, where nothing ends"));
        }
        if self.plan.indexed {
            self.write_missing_rows(partition, start);
        }
        let world = self.partition(partition);
        if let Some((start, Object::Foreign)) = world.objects.last_key_value() {
            return Err(Blocked { reason: format!("another's object at {start}") });
        }
        if world.finding == Some(world.tail()) {
            return Err(Blocked { reason: "the log was found to be another".to_owned() });
        }
        // The chain's id is that of the topic that it was begun for.
        if self.topic_id != 1 {
            return Err(Blocked { reason: "the topic was re-created".to_owned() });
        }
        let last = world.segments().last().map(|(start, content)| (*start, content.range.next_offset()));
        let commit = last
            .filter(|(_, next)| world.committed != Some(*next))
            .map(|(start, _)| CommitMetadata { segment_start: Some(start), ..CommitMetadata::default() });
        let last_start = last.map(|(start, _)| start);
        let chain = ChainName::first_lineage(partition.clone());
        let (position, log_start) = (world.tail(), world.log.start);
        let last_record = world.last_record().filter(|_| world.joined != Some(position));
        let proof = match last_record.map_or(Proof::Nothing, Proof::Record) {
            Proof::Record(anchor) if anchor.offset < log_start => Proof::Record(anchor).without_record(),
            proof => proof,
        };
        let line = format!("        {partition} located at {position}, log begins at {log_start}, {proof:?}");
        // As with `--on-data-loss=record`.
        let lost = log_start.previous().and_then(|last| OffsetRange::new(position, last));
        let gap = lost.map(|offsets| Gap { offsets, reason: GapReason::Deleted });
        self.lines.push(line);
        Ok(Located {
            chain,
            topic_id: TopicId::new([self.topic_id; 16]),
            position,
            fetch_from: position.max(log_start),
            last_record,
            proof,
            gap,
            last_start,
            commit,
            retention_ms: None,
        })
    }
}
