//! What the walk of a chain finds about its history, and a second look must confirm before it is written down.
//!
//! Mostly a log is judged by fetching: it must have the chain's last record. Two things show before: that the topic is another
//! one of the same name, and, where the archive does not say its last record, that the log ends before the archive does.

use super::history::{Archived, Difference, Finding, LogFound, other_topic_reason};
use super::locate::{LocatorParams, Unanswered};
use crate::kafka::ffi::LogEnd;
use kafka_store_actors::ports::TopicAnswer;
use kafka_store_statecharts::failure::Class;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::topic::TopicId;

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) chain: ChainName,
    /// The end of the chain.
    pub(super) end: Offset,
    /// The archive's side.
    pub(super) archived: Archived,
    /// Number of the finding.
    pub(super) number: u32,
    pub(super) about: Doubtful,
}

/// What speaks against a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubtful {
    /// The topic has this id now.
    OtherTopic(TopicId),
    /// It ends here.
    EndsAt {
        offset: Offset,
        /// Epoch of the leader that wrote the record before the chain's end, where a commit says it.
        known_epoch: Option<LeaderEpoch>,
    },
}

impl Doubt {
    /// True if another look has found the same.
    pub(super) fn confirms(&self, before: &Doubt) -> bool {
        let is_same = match (self.about, before.about) {
            (Doubtful::OtherTopic(now), Doubtful::OtherTopic(before)) => now == before,
            // It may grow meanwhile.
            (Doubtful::EndsAt { .. }, Doubtful::EndsAt { .. }) => true,
            _ => false,
        };
        is_same && (&self.chain, self.end, self.number) == (&before.chain, before.end, before.number)
    }

    /// What is said before it is written down.
    pub(super) fn reason(&self) -> String {
        let partition = &self.chain.topic_partition;
        let found = match self.about {
            Doubtful::OtherTopic(now) => other_topic_reason(self.archived.topic_id, Some(now)),
            Doubtful::EndsAt { offset, .. } => {
                format!("the archive ends before {}, and Kafka's log before {offset}", self.end)
            }
        };
        format!("{partition}: {found}; kafka-store resolve --partition {partition} explains the ways out")
    }
}

impl LocatorParams {
    /// Writes down what two looks have found, if the brokers agree; the answer is why the partition is frozen.
    pub(super) fn record_doubt(&self, doubt: &Doubt) -> Unanswered {
        match self.confirm_doubt(doubt) {
            Ok(finding) => Unanswered::blocked(finding.reason()),
            Err(unanswered) => unanswered,
        }
    }

    fn confirm_doubt(&self, doubt: &Doubt) -> Result<Finding, Unanswered> {
        let partition = &doubt.chain.topic_partition;
        let topic_id = match (self.certain_answer(partition)?, doubt.about) {
            (TopicAnswer::Exists(Some(now)), Doubtful::OtherTopic(id)) if now == id => Some(now),
            (TopicAnswer::Exists(now), Doubtful::EndsAt { .. }) => now,
            _ => {
                return Err({
                    let reason = format!("topic {} is being deleted or created", partition.topic);
                    Unanswered::for_now(Class::Absent, reason)
                });
            }
        };
        let log_end = self.log_position(partition, LogEnd::HighWatermark)?;
        let difference = match doubt.about {
            Doubtful::OtherTopic(_) => Difference::OtherTopic,
            Doubtful::EndsAt { known_epoch, .. } => {
                self.check_leader(partition, known_epoch, log_end)?;
                Difference::EndsAt(log_end.offset)
            }
        };
        let finding = Finding {
            chain: doubt.chain.clone(),
            end: doubt.end,
            number: doubt.number,
            cluster_id: self.identity.cluster_id.clone(),
            archived: doubt.archived,
            log: LogFound {
                topic_id,
                difference,
                start: self.log_position(partition, LogEnd::Start)?.offset,
                end: log_end.offset,
                leader_epoch: log_end.leader_epoch,
            },
            choice: None,
        };
        Ok(self.histories.record(self.store.as_ref(), finding)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::test_segments::{chain, id, offset};

    #[test]
    fn a_second_look_confirms_what_the_first_one_found() {
        let doubt =
            |end, about| Doubt { chain: chain(), end: offset(end), archived: Archived::default(), number: 1, about };
        let other = |number| doubt(10, Doubtful::OtherTopic(id(number)));
        let ends = |at| doubt(10, Doubtful::EndsAt { offset: offset(at), known_epoch: None });
        assert!(other(2).confirms(&other(2)) && !other(3).confirms(&other(2)));
        assert!(ends(7).confirms(&ends(5)) && !ends(5).confirms(&other(2)) && !other(2).confirms(&ends(5)));
        let elsewhere = doubt(12, Doubtful::OtherTopic(id(2)));
        assert!(!elsewhere.confirms(&other(2)), "the chain has gone on");
        assert!(!Doubt { number: 2, ..other(2) }.confirms(&other(2)), "something was decided");
    }
}
