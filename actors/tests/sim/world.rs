//! What outlives a process, and the faults it meets: logs, stored objects, rows, committed offsets.

use super::kafka::Group;
use super::log::{Log, LogRecord};
use super::outages::Outages;
use super::plan::Plan;
use super::prng::Prng;
use kafka_store_actors::ports::{StoreAnswer, StoredObject, StoredSegment, Timestamps};
use kafka_store_statecharts::anchor::Anchor;
use kafka_store_statecharts::boundary::{BoundaryRule, SealReason, Verdict};
use kafka_store_statecharts::gap::Gap;
use kafka_store_statecharts::last_record::RecordHash;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::record::Decoder;
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::{TopicId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Wall-clock time at the simulation's start.
const WALL_START_MS: i64 = 1_700_000_000_000;

/// Everything there is, besides the process.
pub(crate) struct World {
    pub(crate) rng: Prng,
    pub(crate) plan: Plan,
    /// Whether anything may still go wrong.
    pub(crate) faults: bool,
    /// Whether store and index take longer to answer than a process that stops will wait.
    pub(crate) hangs: bool,
    /// Whether the store refuses what the process sends.
    pub(crate) store_is_down: bool,
    /// Virtual time at which the present process started.
    pub(crate) started_ms: u64,
    pub(crate) partitions: BTreeMap<TopicPartition, PartitionWorld>,
    pub(crate) group: Group,
    /// Objects that the store will have, though their writers were told otherwise.
    pub(crate) late_puts: Vec<LatePut>,
    /// The spool's files: complete ones by their paths.
    pub(crate) spool: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) spool_files: u64,
    pub(crate) spool_bytes: u64,
    /// `--until-end`: what the present process is to archive, and nothing beyond.
    pub(crate) targets: Option<BTreeMap<TopicPartition, Offset>>,
    /// What the charts did.
    pub(crate) lines: Vec<String>,
    /// The transitions that were taken, whenever.
    pub(crate) taken: BTreeSet<String>,
    /// What must not happen.
    pub(crate) violations: Vec<String>,
    /// How often something happened that a good run of the simulation has seen.
    pub(crate) seen: BTreeMap<&'static str, u64>,
    /// What is away.
    pub(crate) outages: Outages,
    /// The topic's id: another one each time it is created.
    pub(crate) topic_id: u8,
    /// Until then, the topic does not exist.
    pub(crate) absent_until_ms: u64,
    /// Why segments were sealed, by what the charts said last.
    pub(crate) reasons: BTreeMap<(TopicPartition, Offset), SealReason>,
}

/// What there is of one partition.
pub(crate) struct PartitionWorld {
    pub(crate) origin: Offset,
    pub(crate) log: Log,
    /// True as long as the chain is the front of the present log.
    pub(crate) is_of_log: bool,
    /// False once the topic was re-created.
    pub(crate) is_of_topic: bool,
    /// Every log that there was, for what was read of it and is sealed later.
    pub(crate) read: Vec<Log>,
    /// Logs that there were, as they were when they were lost; those that the chain is the front of.
    pub(crate) lost: Vec<Log>,
    /// The offsets that sealed segments say were deleted before they were archived, by the segments' hashes.
    pub(crate) deleted: BTreeMap<[u8; 32], Vec<OffsetRange>>,
    /// A finding was written: the chain ended here, and the log was another.
    pub(crate) finding: Option<Offset>,
    /// An operator decided that the log is of the chain's history, although it differs before this end of the chain.
    pub(crate) joined: Option<Offset>,
    pub(crate) objects: BTreeMap<Offset, Object>,
    pub(crate) rows: BTreeMap<Offset, SegmentContent>,
    /// What the mirror holds.
    pub(crate) mirror: BTreeMap<Offset, SegmentContent>,
    pub(crate) committed: Option<Offset>,
}

/// A stored object.
#[derive(Clone)]
pub(crate) enum Object {
    Segment {
        content: SegmentContent,
        bytes: Vec<u8>,
    },
    /// Something that must not be adopted.
    Foreign,
}

pub(crate) struct LatePut {
    pub(crate) due_ms: u64,
    pub(crate) partition: TopicPartition,
    pub(crate) content: SegmentContent,
    pub(crate) bytes: Vec<u8>,
}

impl PartitionWorld {
    /// The end of the chain: where the next object must start.
    pub(crate) fn tail(&self) -> Offset {
        match self.objects.last_key_value() {
            Some((_, Object::Segment { content, .. })) => content.range.next_offset(),
            Some((start, Object::Foreign)) => *start,
            None => self.origin,
        }
    }

    /// True if nothing can be archived: another's object is in the way, or the log is another than the chain's.
    pub(crate) fn is_blocked(&self) -> bool {
        matches!(self.objects.last_key_value(), Some((_, Object::Foreign)))
            || self.finding == Some(self.tail())
            || !self.may_follow()
    }

    /// True if the log may go on where the chain ends. Where it begins there or later, nothing but ids can tell.
    pub(crate) fn may_follow(&self) -> bool {
        self.is_of_log || (self.is_of_topic && self.tail() <= self.log.start)
    }

    /// The record that the chain ends with.
    pub(crate) fn last_record(&self) -> Option<Anchor> {
        let (_, content) = self.segments().last()?;
        let offset = content.range.final_offset();
        let logs = self.lost.iter().chain([&self.log]);
        logs.filter_map(|log| log.at(offset)).map(LogRecord::anchor).find(|anchor| self.ends_with(anchor))
    }

    fn ends_with(&self, anchor: &Anchor) -> bool {
        let Some((_, Object::Segment { bytes, .. })) =
            self.objects.iter().rev().find(|(_, object)| !matches!(object, Object::Foreign))
        else {
            return false;
        };
        let (mut decoder, mut from) = (Decoder::new(bytes), 0);
        while !decoder.rest().is_empty() {
            from = bytes.len() - decoder.rest().len();
            if decoder.record().is_err() {
                return false;
            }
        }
        RecordHash::of(&bytes[from..]) == anchor.record.hash
    }

    /// True if a segment says that the offset was deleted.
    fn is_deleted(&self, content: &SegmentContent, offset: Offset) -> bool {
        let gaps = content.content_hash.and_then(|hash| self.deleted.get(&hash));
        gaps.is_some_and(|gaps| gaps.iter().any(|range| range.contains(offset)))
    }

    /// Why these are not all records that a log shows in a range.
    fn differs(&self, log: &Log, content: &SegmentContent, bytes: &[u8]) -> Option<&'static str> {
        let records = log.within(content.range);
        let shown: Vec<&LogRecord> = records.iter().filter(|record| !self.is_deleted(content, record.offset)).collect();
        if shown.iter().map(|record| record.bytes.as_slice()).collect::<Vec<_>>().concat() != bytes {
            Some("its records are not the log's")
        } else if shown.len() as u64 != content.record_count {
            Some("it counts another number of records than the log has")
        } else if shown.last().is_none_or(|last| last.offset != content.range.final_offset()) {
            Some("it does not end with a record")
        } else {
            None
        }
    }

    /// The log loses its records from an offset on.
    pub(crate) fn cut(&mut self, offset: Offset) {
        self.remember();
        // Where histories were joined, nothing tells one log from another until a record of it is archived.
        self.is_of_log &= self.tail() <= offset || self.joined == Some(self.tail());
        self.log.cut(offset);
    }

    /// An operator decides that the log goes on where the chain ends.
    pub(crate) fn join(&mut self) {
        self.joined = Some(self.tail());
        self.finding = None;
        self.is_of_log = true;
    }

    /// The topic is another one, and its log empty.
    pub(crate) fn recreate(&mut self) {
        self.remember();
        (self.is_of_log, self.is_of_topic) = (false, false);
        let generation = self.log.generation + 1;
        self.log = Log { generation, ..Log::new(Offset::default()) };
    }

    fn remember(&mut self) {
        self.read.push(self.log.clone());
        // A log that begins beyond the chain's end is continued after a gap, whatever it was before.
        if self.is_of_log || (self.is_of_topic && self.tail() <= self.log.start) {
            self.lost.push(self.log.clone());
        }
    }

    /// Whether every record below this offset is stored.
    pub(crate) fn is_archived_below(&self, end: Offset) -> bool {
        let records = &self.log.records[..self.log.index_at(end)];
        // What retention has deleted since is nobody's lag.
        records.last().is_none_or(|last| last.offset < self.tail() || last.offset < self.log.start)
    }

    /// Segments in the chain's order.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&Offset, &SegmentContent)> {
        self.objects.iter().filter_map(|(start, object)| match object {
            Object::Segment { content, .. } => Some((start, content)),
            Object::Foreign => None,
        })
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World::planned(seed, Plan::new)
    }

    /// A topic that is deleted while its records are held.
    pub(crate) fn departing(seed: u64) -> World {
        World { store_is_down: true, ..World::planned(seed, Plan::departing) }
    }

    /// Many partitions, and a spool of four segments.
    pub(crate) fn crowded(seed: u64) -> World {
        World::planned(seed, Plan::crowded)
    }

    fn planned(seed: u64, plan: fn(&mut Prng) -> Plan) -> World {
        let mut rng = Prng::new(seed);
        let plan = plan(&mut rng);
        let mut partitions = BTreeMap::new();
        for partition in &plan.partitions {
            let origin = Offset::new(rng.between(0, 50) as i64).expect("no sentinel");
            let mut log = Log::new(origin);
            let backlog = rng.between(0, plan.backlog_max);
            log.append(&mut rng, backlog, WALL_START_MS - 3_600_000);
            let world = PartitionWorld {
                origin,
                log,
                is_of_log: true,
                is_of_topic: true,
                read: Vec::new(),
                lost: Vec::new(),
                deleted: BTreeMap::new(),
                finding: None,
                joined: None,
                objects: BTreeMap::new(),
                rows: BTreeMap::new(),
                mirror: BTreeMap::new(),
                committed: None,
            };
            partitions.insert(partition.clone(), world);
        }
        World {
            rng,
            plan,
            faults: true,
            hangs: false,
            store_is_down: false,
            started_ms: 0,
            partitions,
            group: Group::default(),
            late_puts: Vec::new(),
            spool: BTreeMap::new(),
            spool_files: 0,
            spool_bytes: 0,
            targets: None,
            lines: Vec::new(),
            taken: BTreeSet::new(),
            violations: Vec::new(),
            seen: BTreeMap::new(),
            outages: Outages::default(),
            topic_id: 1,
            absent_until_ms: 0,
            reasons: BTreeMap::new(),
        }
    }

    /// The records of a seed, and another course of events around them.
    pub(crate) fn of_records_alone(seed: u64, course: u64) -> World {
        let mut world = World::new(seed);
        world.plan = world.plan.of_records_alone();
        world.rng = Prng::new(course);
        let mut shapes = Prng::new(course);
        world.plan.batches = *shapes.one(&[(16, 1), (5, 4), (1, 40)]);
        world.plan.sealed_max = shapes.between(1, 3) as usize;
        for partition in world.partitions.values_mut() {
            partition.log.append(&mut Prng::new(seed), 200, WALL_START_MS);
        }
        world
    }

    pub(crate) fn wall_ms(now_ms: u64) -> i64 {
        WALL_START_MS + now_ms as i64
    }

    pub(crate) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// True in so many of a thousand cases, while faults last.
    pub(crate) fn fault(&mut self, per_mille: u64) -> bool {
        self.faults && self.rng.per_mille(per_mille)
    }

    /// Whether a question to Kafka, store or index fails.
    pub(crate) fn fails(&mut self) -> bool {
        self.fault(self.plan.failures)
    }

    /// A file of the spool has become longer. While owners are told that they are to give theirs up, the others write
    /// on: at most what they have in memory, and a record of each.
    pub(crate) fn grow_spool(&mut self, bytes: u64) {
        self.spool_bytes += bytes;
        let slack = self.plan.budget_bytes + 200 * self.spool_files;
        // What no log has any more may go beyond.
        if self.topic_id == 1 && self.spool_bytes > self.plan.spool_bytes.saturating_add(slack) {
            self.violations.push(format!("the spool has {} bytes of {}", self.spool_bytes, self.plan.spool_bytes));
        }
    }

    /// Whether something fails this once that mostly freezes a partition: rarer.
    pub(crate) fn disk_fails(&mut self) -> bool {
        self.fault(self.plan.failures / 20)
    }

    /// Whether a file of the spool does not give back what was written to it.
    pub(crate) fn file_is_damaged(&mut self) -> bool {
        self.fault(self.plan.failures / 4)
    }

    /// How long an answer takes: mostly short, at times long.
    pub(crate) fn latency_ms(&mut self) -> u64 {
        if self.fault(40) { self.rng.between(500, 6_000) } else { self.rng.between(1, 80) }
    }

    pub(crate) fn partition(&self, partition: &TopicPartition) -> &PartitionWorld {
        &self.partitions[partition]
    }

    pub(crate) fn partition_mut(&mut self, partition: &TopicPartition) -> &mut PartitionWorld {
        self.partitions.get_mut(partition).expect("all partitions are known")
    }

    /// The create-only write: the arbiter's one decision.
    pub(crate) fn put(&mut self, partition: &TopicPartition, content: SegmentContent, bytes: &[u8]) -> StoreAnswer {
        let start = content.range.start();
        match self.partition(partition).objects.get(&start) {
            Some(Object::Foreign) => return StoreAnswer::Conflicts { reason: "another's object".to_owned() },
            Some(Object::Segment { content: stored, .. }) => {
                let (stored, same_end) = (*stored, stored.range == content.range);
                self.saw(if same_end { "own object found" } else { "adopted" });
                return StoreAnswer::AlreadyExists(self.in_store(partition, stored));
            }
            None => {}
        }
        self.check_new_object(partition, &content, bytes);
        let object = Object::Segment { content, bytes: bytes.to_vec() };
        self.partition_mut(partition).objects.insert(start, object);
        StoreAnswer::Stored(self.in_store(partition, content))
    }

    /// What a row says beside the content is not what is simulated.
    fn in_store(&self, partition: &TopicPartition, content: SegmentContent) -> StoredSegment {
        let world = self.partition(partition);
        let is_last = world.tail() == content.range.next_offset();
        StoredSegment {
            content,
            timestamps: Timestamps { first: 0, least: 0, greatest: 0 },
            invisible_count: content.range.offset_count() - content.record_count,
            gaps: Vec::new(),
            topic_id: TopicId::new([self.topic_id; 16]),
            last_record: world.last_record().filter(|_| is_last).map(|anchor| anchor.record),
            object: StoredObject::default(),
        }
    }

    /// Invariants 2 to 6 and 11 of the semantics, at the moment an object appears.
    fn check_new_object(&mut self, partition: &TopicPartition, content: &SegmentContent, bytes: &[u8]) {
        let world = &self.partitions[partition];
        let range = content.range;
        let mut wrong = Vec::new();
        if range.start() != world.tail() {
            wrong.push(format!("the chain ends before {}", world.tail()));
        }
        let starts_here = world.is_deleted(content, range.start()) || range.start() <= world.log.start;
        let begins_lost = world.is_of_topic && starts_here;
        let of_log = (world.is_of_log || begins_lost) && world.differs(&world.log, content, bytes).is_none();
        let mut lost = world.lost.clone();
        lost.retain(|log| world.differs(log, content, bytes).is_none());
        if !of_log && lost.is_empty() {
            let why = world.differs(&world.log, content, bytes).unwrap_or("the chain is of another log");
            wrong.push(format!("no log has its records and the chain's: {why}"));
        }
        if content.content_hash != Some(*blake3::hash(bytes).as_bytes()) {
            wrong.push("its hash is not its content's".to_owned());
        }
        for what in wrong {
            self.lines.push(format!("        {partition} object {range}: {what}"));
            self.violations.push(format!("object {partition} {range}: {what}"));
        }
        if self.violations.is_empty() {
            let world = self.partition_mut(partition);
            (world.is_of_log, world.lost) = (of_log, lost);
        }
    }

    /// Where the rule ends a segment that starts here, if it does, by each log that there was.
    fn boundaries(&self, partition: &TopicPartition, start: Offset, gaps: &[Gap]) -> Vec<Option<Offset>> {
        let world = self.partition(partition);
        let of = |log: &Log| {
            let mut rule = BoundaryRule::new(self.plan.boundary);
            let mut last = None;
            let is_lost = |record: &&LogRecord| gaps.iter().any(|gap| gap.offsets.contains(record.offset));
            for record in log.records[log.index_at(start)..].iter().filter(|record| !is_lost(record)) {
                match rule.observe(record.bytes.len() as u64, record.timestamp) {
                    Verdict::Keep => last = Some(record.offset),
                    Verdict::SealAfter(_) => return Some(record.offset),
                    Verdict::SealBefore(_) => return last,
                }
            }
            None
        };
        world.read.iter().chain([&world.log]).map(of).collect()
    }

    /// Invariant 11: what the records end, they end there; nothing goes beyond, nor beyond a target.
    pub(crate) fn check_boundary(&mut self, partition: &TopicPartition, range: OffsetRange, gaps: &[Gap]) {
        if !self.partition(partition).is_of_topic {
            // It may hold records of two topics, where the new one has none at the anchor's offset and begins with the
            // same epoch. The arbiter refuses it, unless its id was confirmed after all records had been read.
            return;
        }
        let (by_rules, last) = (self.boundaries(partition, range.start(), gaps), range.final_offset());
        let reason = self.reasons.get(&(partition.clone(), range.start())).copied();
        let target = self.targets.as_ref().and_then(|targets| targets.get(partition));
        if target.is_some_and(|target| last >= *target) {
            self.violations.push(format!("{partition} {range}: beyond the target {target:?}"));
        }
        let by_records = matches!(reason, Some(SealReason::Size | SealReason::Records | SealReason::Age));
        let is_right = |by_rule: &Option<Offset>| {
            !by_rule.is_some_and(|by_rule| last > by_rule) && (!by_records || *by_rule == Some(last))
        };
        if !by_rules.iter().any(is_right) {
            self.violations.push(format!("{partition} {range}: {reason:?} ends it, the rules at {by_rules:?}"));
        }
    }

    /// Invariants 7 and 8: a row says what is stored, and rows are a prefix of the chain.
    pub(crate) fn insert_row(&mut self, partition: &TopicPartition, row: SegmentContent) {
        let start = row.range.start();
        let world = self.partition_mut(partition);
        let stored = world.segments().find(|(at, _)| **at == start).map(|(_, content)| *content);
        let before = world.segments().take_while(|(at, _)| **at < start).all(|(at, _)| world.rows.contains_key(at));
        let other = world.rows.insert(start, row).is_some_and(|before| before != row);
        if stored != Some(row) || !before || other {
            self.violations.push(format!(
                "row {partition} {}: stored {stored:?}, all before it: {before}, another row: {other}",
                row.range
            ));
        }
    }

    /// A mirror holds what the arbiter holds, and lacks nothing before it; until it has it, the spool file is there.
    pub(crate) fn mirror(&mut self, partition: &TopicPartition, copied: SegmentContent, has_file: bool) {
        let start = copied.range.start();
        let world = self.partition_mut(partition);
        let arbiters: Vec<(Offset, SegmentContent)> =
            world.segments().take_while(|(at, _)| **at <= start).map(|(at, content)| (*at, *content)).collect();
        let stored = arbiters.last().copied();
        world.mirror.extend(arbiters);
        if stored != Some((start, copied)) || !has_file {
            self.violations.push(format!(
                "mirror {partition} {}: stored {stored:?}, the spool file is there: {has_file}",
                copied.range
            ));
        }
    }

    /// Invariants 9 and 10: a committed offset is the origin, or the end of a segment that is stored and indexed, as
    /// all before it.
    pub(crate) fn commit(&mut self, partition: &TopicPartition, next_offset: Offset) {
        let indexed = self.plan.indexed;
        let world = self.partition_mut(partition);
        let ends_there = next_offset == world.origin
            || world.segments().any(|(_, content)| content.range.next_offset() == next_offset);
        let covered = world.segments().take_while(|(start, _)| **start < next_offset);
        let all_rows = covered.into_iter().all(|(start, _)| !indexed || world.rows.contains_key(start));
        world.committed = Some(next_offset);
        if !ends_there || !all_rows {
            self.violations.push(format!(
                "commit {partition} {next_offset}: origin or end of a segment: {ends_there}, all indexed: {all_rows}"
            ));
        }
    }

    /// Lets the store have what it was sent long ago.
    pub(crate) fn arrive_late(&mut self, now_ms: u64) {
        let (due, later): (Vec<LatePut>, Vec<LatePut>) =
            std::mem::take(&mut self.late_puts).into_iter().partition(|put| put.due_ms <= now_ms);
        self.late_puts = later;
        for put in due {
            self.put(&put.partition, put.content, &put.bytes);
            self.saw("late put");
        }
    }

    /// Another process archives a piece of this partition, and may die at any point of it.
    pub(crate) fn another_writer(&mut self, partition: &TopicPartition) {
        let count = self.rng.between(1, 14) as usize;
        let (writes_rows, commits) = (self.rng.per_mille(600), self.rng.per_mille(500));
        let late = self.rng.per_mille(200);
        let world = self.partition(partition);
        // A process that hung while the log was lost writes what it had read.
        let log = match world.lost.last() {
            Some(lost) if late => lost,
            _ if world.is_blocked() => return,
            _ => &world.log,
        };
        if matches!(world.objects.last_key_value(), Some((_, Object::Foreign))) || world.tail() < log.start {
            return;
        }
        let first = log.index_at(world.tail());
        let records = &log.records[first..log.records.len().min(first + count)];
        let Some(last) = records.last() else { return };
        let range = OffsetRange::new(world.tail(), last.offset).expect("records lie beyond the tail");
        let bytes = records.iter().map(|record| record.bytes.as_slice()).collect::<Vec<_>>().concat();
        let content = SegmentContent {
            range,
            record_count: records.len() as u64,
            content_hash: Some(*blake3::hash(&bytes).as_bytes()),
            file_bytes: bytes.len() as u64 + 1,
            crc32c: 0,
        };
        self.put(partition, content, &bytes);
        self.saw(if late { "another writer, late" } else { "another writer" });
        if writes_rows && self.plan.indexed {
            self.write_missing_rows(partition, self.partition(partition).origin);
        }
        if commits && (writes_rows || !self.plan.indexed) {
            self.commit(partition, range.next_offset());
        }
    }

    /// Something that must not be adopted is where the chain goes on.
    pub(crate) fn block(&mut self, partition: &TopicPartition) {
        let world = self.partition_mut(partition);
        if !world.is_blocked() {
            let tail = world.tail();
            world.objects.insert(tail, Object::Foreign);
        }
    }

    /// Rows for all objects from here on that have none.
    pub(crate) fn write_missing_rows(&mut self, partition: &TopicPartition, from: Offset) {
        let world = self.partition(partition);
        let missing: Vec<SegmentContent> = world
            .segments()
            .filter(|(start, _)| **start >= from && !world.rows.contains_key(start))
            .map(|(_, content)| *content)
            .collect();
        for row in missing {
            self.insert_row(partition, row);
        }
    }
}
