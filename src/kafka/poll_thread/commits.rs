//! Commits, and who waits for their answers. None of them waits indefinitely.

use super::PollThread;
use crate::kafka::ffi::{CommitTicket, PartitionOffset};
use kafka_store_actors::ports::OffsetCommit;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long an answer is waited for. librdkafka keeps a commit for the session's timeout while the coordinator is away, and
/// sends it then; whoever has waited longer asks for the same commit again, which does no harm.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// The same once the partition is revoked: whoever has it now commits.
const ANSWER_TIME_REVOKED: Duration = Duration::from_secs(5);

/// Commits that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Commits {
    pending: BTreeMap<CommitTicket, Pending>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Pending {
    partition: TopicPartition,
    answer: oneshot::Sender<Result<(), Failure>>,
    deadline: Instant,
}

impl Pending {
    /// The one who asked may be gone.
    fn refuse(self, reason: &str) {
        let _ = self.answer.send(Err(Failure::new(Port::Commit, Class::Coordinator, reason)));
    }
}

impl Commits {
    fn next(&self) -> CommitTicket {
        CommitTicket(self.next_ticket)
    }

    fn add(&mut self, partition: TopicPartition, answer: oneshot::Sender<Result<(), Failure>>, now: Instant) {
        self.pending.insert(self.next(), Pending { partition, answer, deadline: now + ANSWER_TIME });
        self.next_ticket += 1;
    }

    /// Waits only a little longer for those of partitions that are no longer ours.
    pub(super) fn revoke(&mut self, partitions: &[TopicPartition], now: Instant) {
        for pending in self.pending.values_mut().filter(|pending| partitions.contains(&pending.partition)) {
            pending.deadline = pending.deadline.min(now + ANSWER_TIME_REVOKED);
        }
    }

    /// Refuses those whose answer has not come in time.
    fn expire(&mut self, now: Instant) {
        let expired: Vec<CommitTicket> =
            self.pending.iter().filter(|(_, pending)| pending.deadline <= now).map(|(ticket, _)| *ticket).collect();
        for pending in expired.into_iter().filter_map(|ticket| self.pending.remove(&ticket)) {
            pending.refuse("the group's coordinator has not answered in time");
        }
    }

    /// Refuses all of them.
    pub(super) fn refuse_all(&mut self, reason: &str) {
        std::mem::take(&mut self.pending).into_values().for_each(|pending| pending.refuse(reason));
    }
}

impl PollThread {
    pub(super) fn commit(&mut self, commit: &OffsetCommit, answer: oneshot::Sender<Result<(), Failure>>) {
        let refused = if self.partitions.find_in(&commit.partition, commit.epoch).is_none() {
            Failure::new(Port::Commit, Class::Other, "the partition is no longer ours")
        } else {
            let ticket = self.commits.next();
            let to = PartitionOffset { partition: commit.partition.clone(), offset: commit.next_offset };
            match self.client.commit(&to, commit.leader_epoch, &commit.metadata.encode(), ticket) {
                Ok(()) => return self.commits.add(to.partition, answer, Instant::now()),
                Err(error) => error.failure(Port::Commit),
            }
        };
        // The one who asked may be gone.
        let _ = answer.send(Err(refused));
    }

    pub(super) fn answer_commits(&mut self) {
        while let Some(answered) = self.client.poll_commits() {
            if let Some(pending) = self.commits.pending.remove(&answered.ticket) {
                // The one who asked may be gone.
                let result = answered.result.map_err(|error| error.failure(Port::Commit));
                let _ = pending.answer.send(result);
            }
        }
        self.commits.expire(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_store_statecharts::topic::{PartitionId, TopicName};

    #[test]
    fn an_answer_that_does_not_come_is_not_waited_for_indefinitely() {
        let partition = |number| TopicPartition {
            topic: TopicName::new("orders").expect("legal"),
            partition: PartitionId::new(number).expect("not negative"),
        };
        let (mut commits, now) = (Commits::default(), Instant::now());
        let mut answers: Vec<_> = (0..2)
            .map(|number| {
                let (answer, answered) = oneshot::channel();
                commits.add(partition(number), answer, now);
                answered
            })
            .collect();
        let mut is_refused = |number: usize| matches!(answers[number].try_recv(), Ok(Err(_)));
        commits.revoke(&[partition(1)], now);
        commits.expire(now + ANSWER_TIME_REVOKED - Duration::from_millis(1));
        assert!(!is_refused(0) && !is_refused(1));
        commits.expire(now + ANSWER_TIME_REVOKED);
        assert!(!is_refused(0) && is_refused(1), "a revoked partition's");
        commits.expire(now + ANSWER_TIME);
        assert!(is_refused(0));
    }
}
