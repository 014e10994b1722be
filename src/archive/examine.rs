//! Why a log does not continue where it was read.

use super::history::{ChainHistory, Finding, LogFound};
use super::locate::{LocatorParams, Unanswered};
use super::topic_facts::Look;
use super::walk::Tail;
use crate::kafka::ffi::{LogEnd, LogPosition};
use kafka_store_actors::ports::{BrokenLog, Cause, TopicAnswer};
use kafka_store_statecharts::anchor::{Evidence, Proof};
use kafka_store_statecharts::failure::Class;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::LeaderEpoch;
use kafka_store_statecharts::topic::{TopicId, TopicName, TopicPartition};
use std::collections::BTreeMap;
use std::time::Instant;

/// What the brokers say of a broken log.
#[derive(Clone, Copy, Debug)]
struct Asked {
    topic: TopicAnswer,
    log_start: LogPosition,
    /// Fetching did not begin at the anchor: that log start has passed it explains nothing.
    began_without_record: bool,
}

/// The judgement of what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// This is why.
    Cause(Cause),
    /// Two looks have missed the chain's last record.
    OtherHistory,
}

impl LocatorParams {
    /// Finds out why the log does not continue. Every answer is to a question asked from now on.
    pub(super) fn examine(
        &self,
        partition: &TopicPartition,
        broken: BrokenLog,
        began_without_record: bool,
    ) -> Result<Cause, Unanswered> {
        let look = self.look(partition)?;
        let mut asked = Asked { topic: look.topic, log_start: LogPosition::default(), began_without_record };
        if gone(partition, broken.topic_id, look.topic).is_some() {
            asked.topic = self.certain_answer(partition)?;
        } else {
            asked.log_start = self.log_position(partition, LogEnd::Start)?;
        }
        match judge(partition, &broken, &asked) {
            Verdict::Cause(cause) => Ok(cause),
            Verdict::OtherHistory => self.other_history(partition, &broken),
        }
    }

    /// What several brokers say of the cluster and a topic from now on. Stops where they are another cluster's.
    fn look(&self, partition: &TopicPartition) -> Result<Look, Unanswered> {
        let look = self.facts.look(&self.client, &partition.topic, Instant::now())?;
        look.cluster_ids.iter().try_for_each(|id| self.check_cluster(partition, Some(id)))?;
        Ok(look)
    }

    /// What two brokers say of a topic from now on, where there are two.
    pub(super) fn certain_answer(&self, partition: &TopicPartition) -> Result<TopicAnswer, Unanswered> {
        let look = self.look(partition)?;
        if look.is_certain {
            return Ok(look.topic);
        }
        Err(Unanswered::for_now(Class::Absent, format!("only one broker says what topic {} is", partition.topic)))
    }

    /// Topics that exist and those that do not. Without an answer: those of which brokers say nothing, and all if the brokers
    /// are another cluster's.
    pub(super) fn topics(&self, topics: &[TopicName]) -> BTreeMap<TopicName, TopicAnswer> {
        let ours = self.identity.cluster_id.as_ref();
        let of_ours = |look: &Look| ours.is_none_or(|ours| look.cluster_ids.iter().all(|id| id == ours));
        let looks = self.facts.looks(&self.client, topics);
        let certain = looks.into_iter().filter(|(_, look)| look.is_certain && of_ours(look));
        certain.map(|(topic, look)| (topic, look.topic)).collect()
    }

    /// Writes down that the log is another one, or says why that is not certain.
    fn other_history(&self, partition: &TopicPartition, broken: &BrokenLog) -> Result<Cause, Unanswered> {
        let chain = self.chain(partition)?;
        let history = self.history(&chain)?;
        let commit = self.committed(&chain)?;
        let tail = self.walk(&chain, broken.topic_id, &history).tail(commit, None)?;
        let archived = tail.archived().last_record;
        if tail.end() != Some(broken.position) || broken.anchor.is_some_and(|anchor| archived != Some(anchor)) {
            // The chain has gone on meanwhile: it is walked again, and the log compared with its new end.
            return Ok(Cause::Cut);
        }
        if let Some(finding) = history.unresolved_at(broken.position) {
            return Err(Unanswered::blocked(finding.reason()));
        }
        let topic = self.certain_answer(partition)?;
        let log_end = self.log_position(partition, LogEnd::HighWatermark)?;
        self.check_leader(partition, archived.and_then(|anchor| anchor.record.leader_epoch), log_end)?;
        let log_start = self.log_position(partition, LogEnd::Start)?;
        let finding = self.finding(&chain, &history, tail, broken, (topic, log_start, log_end));
        Err(Unanswered::blocked(self.histories.record(self.store.as_ref(), finding)?.reason()))
    }

    /// A leader that was replaced, and has not heard of it, proves nothing.
    pub(super) fn check_leader(
        &self,
        partition: &TopicPartition,
        known: Option<LeaderEpoch>,
        log_end: LogPosition,
    ) -> Result<(), Unanswered> {
        match (known, log_end.leader_epoch) {
            (Some(known), Some(now)) if now < known => Err(Unanswered::blocked(format!(
                "{partition}: the archive's last record was written in leader epoch {}, and the leader that answers is of \
                 epoch {}: it was replaced and does not know it, or the cluster was restored from an old copy. The \
                 partition is examined again at its next assignment; kafka-store resolve --partition {partition} compares \
                 the log with the archive",
                known.get(),
                now.get()
            ))),
            _ => Ok(()),
        }
    }

    fn finding(
        &self,
        chain: &ChainName,
        history: &ChainHistory,
        tail: Tail,
        broken: &BrokenLog,
        (topic, log_start, log_end): (TopicAnswer, LogPosition, LogPosition),
    ) -> Finding {
        let topic_id = match topic {
            TopicAnswer::Exists(id) => id,
            TopicAnswer::Absent => None,
        };
        Finding {
            chain: chain.clone(),
            end: broken.position,
            number: history.next_number(broken.position),
            cluster_id: self.identity.cluster_id.clone(),
            archived: tail.archived(),
            log: LogFound {
                topic_id,
                difference: broken.evidence.into(),
                start: log_start.offset,
                end: log_end.offset,
                leader_epoch: log_end.leader_epoch,
            },
            choice: None,
        }
    }
}

/// What the answers mean.
fn judge(partition: &TopicPartition, broken: &BrokenLog, asked: &Asked) -> Verdict {
    let cause = |cause| Verdict::Cause(cause);
    if let Some(reason) = gone(partition, broken.topic_id, asked.topic) {
        return cause(Cause::TopicGone { reason });
    }
    let log_start = asked.log_start.offset;
    if log_start > broken.position {
        return cause(Cause::Retention);
    }
    if let (Evidence::OutOfRange, Some(anchor), false) = (broken.evidence, broken.anchor, asked.began_without_record)
        && anchor.offset < log_start
    {
        return cause(Cause::Unchanged { proof: Proof::Record(anchor).without_record() });
    }
    match (broken.holds_records, broken.was_doubted) {
        (true, _) => cause(Cause::Cut),
        (false, false) => cause(Cause::Doubted),
        (false, true) => Verdict::OtherHistory,
    }
}

/// Why the topic is not the one that the chain was located for, if it is not.
fn gone(partition: &TopicPartition, ours: Option<TopicId>, answer: TopicAnswer) -> Option<String> {
    match (answer, ours) {
        (TopicAnswer::Absent, _) => Some(format!(
            "{partition}: the topic was deleted; what was read before is archived. If it is created again, it is another \
             topic: kafka-store resolve --partition {partition} then explains the ways out"
        )),
        (TopicAnswer::Exists(Some(now)), Some(ours)) if now != ours => Some(format!(
            "{partition}: the topic was deleted and re-created: it had the id {ours}, and has {now} now; what was read \
             before is archived. kafka-store resolve --partition {partition} explains the ways out"
        )),
        (TopicAnswer::Exists(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_store_statecharts::anchor::Anchor;
    use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
    use kafka_store_statecharts::offset::Offset;
    use kafka_store_statecharts::topic::PartitionId;

    fn partition() -> TopicPartition {
        TopicPartition {
            topic: TopicName::new("orders").expect("legal"),
            partition: PartitionId::new(0).expect("not negative"),
        }
    }

    fn offset(number: i64) -> Offset {
        Offset::new(number).expect("legal")
    }

    fn id(number: u8) -> Option<TopicId> {
        TopicId::new([number; 16])
    }

    fn record(bytes: &[u8]) -> LastRecord {
        LastRecord { hash: RecordHash::of(bytes), leader_epoch: LeaderEpoch::new(3) }
    }

    /// A log that ended before the record at 99, which the chain ends with.
    fn broken() -> BrokenLog {
        BrokenLog {
            position: offset(100),
            topic_id: id(1),
            anchor: Some(Anchor { offset: offset(99), record: record(b"the last one") }),
            evidence: Evidence::EndsAt(offset(50)),
            holds_records: false,
            was_doubted: false,
        }
    }

    fn asked(log_start: i64) -> Asked {
        Asked {
            topic: TopicAnswer::Exists(id(1)),
            log_start: LogPosition { offset: offset(log_start), leader_epoch: None },
            began_without_record: false,
        }
    }

    fn cause(broken: &BrokenLog, asked: &Asked) -> Cause {
        match judge(&partition(), broken, asked) {
            Verdict::Cause(cause) => cause,
            Verdict::OtherHistory => panic!("{broken:?}, {asked:?}: nothing was doubted before"),
        }
    }

    #[test]
    fn a_topic_that_is_gone_explains_everything() {
        for evidence in [Evidence::OutOfRange, Evidence::EndsAt(offset(0)), Evidence::Differs(record(b"x"))] {
            let broken = BrokenLog { evidence, holds_records: true, ..broken() };
            for topic in [TopicAnswer::Absent, TopicAnswer::Exists(id(2))] {
                assert!(matches!(cause(&broken, &Asked { topic, ..asked(0) }), Cause::TopicGone { .. }), "{topic:?}");
            }
        }
    }

    #[test]
    fn an_id_that_one_side_lacks_proves_nothing() {
        let has_none = BrokenLog { topic_id: None, holds_records: true, ..broken() };
        assert_eq!(cause(&has_none, &asked(0)), Cause::Cut);
        let broken = BrokenLog { holds_records: true, ..broken() };
        assert_eq!(cause(&broken, &Asked { topic: TopicAnswer::Exists(None), ..asked(0) }), Cause::Cut);
    }

    #[test]
    fn retention_is_told_from_a_cut_by_the_start_of_the_log() {
        let out_of_range = BrokenLog { evidence: Evidence::OutOfRange, ..broken() };
        assert_eq!(cause(&out_of_range, &asked(101)), Cause::Retention);
        // It has passed the record, and what comes next is there.
        let by_epoch = Cause::Unchanged { proof: Proof::Epoch(LeaderEpoch::new(3).expect("legal")) };
        assert_eq!(cause(&out_of_range, &asked(100)), by_epoch);
        assert_eq!(cause(&out_of_range, &asked(99)), Cause::Doubted);
    }

    /// Else the two would be repeated endlessly: the leader's epoch fails, and fetching begins by epoch again.
    #[test]
    fn a_log_that_failed_by_its_epoch_is_not_unchanged() {
        let out_of_range = BrokenLog { evidence: Evidence::OutOfRange, ..broken() };
        assert_eq!(cause(&out_of_range, &Asked { began_without_record: true, ..asked(100) }), Cause::Doubted);
    }

    #[test]
    fn a_log_cut_beyond_the_chains_end_is_read_again() {
        let holds = BrokenLog { holds_records: true, was_doubted: true, ..broken() };
        assert_eq!(cause(&holds, &asked(0)), Cause::Cut);
        assert_eq!(cause(&BrokenLog { evidence: Evidence::Differs(record(b"x")), ..holds }, &asked(0)), Cause::Cut);
    }

    #[test]
    fn the_chains_own_last_record_is_missed_twice_before_that_is_another_history() {
        for (evidence, anchor) in [
            (Evidence::EndsAt(offset(50)), broken().anchor),
            (Evidence::Differs(record(b"another one")), broken().anchor),
            (Evidence::OutOfRange, broken().anchor),
            (Evidence::OutOfRange, None),
        ] {
            let once = BrokenLog { evidence, anchor, ..broken() };
            assert_eq!(cause(&once, &asked(0)), Cause::Doubted);
            let twice = BrokenLog { was_doubted: true, ..once };
            assert_eq!(judge(&partition(), &twice, &asked(0)), Verdict::OtherHistory);
        }
    }
}
