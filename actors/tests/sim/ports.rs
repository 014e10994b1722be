//! The other ports: clock, store, index, walk, log of transitions.

use super::Sim;
use super::world::{LatePut, Object, World};
use kafka_store_actors::ports::{
    Blocked, BrokenLog, Cause, ChainLocator, Clock, CompletedSegment, Coverage, IndexAnswer, IndexRow, Located,
    MirrorAnswer, MirrorStores, ObjectStore, PortFuture, SegmentIndex, StoreAnswer, TopicAnswer,
};
use kafka_store_actors::transition::{Detail, TransitionLog, TransitionRecord};
use kafka_store_statecharts::anchor::Proof;
use kafka_store_statecharts::backoff;
use kafka_store_statecharts::chart::Now;
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::gap::{Gap, GapReason};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::{TopicId, TopicName, TopicPartition};
use std::collections::BTreeMap;
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
