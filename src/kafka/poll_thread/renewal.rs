//! Replacing a client that librdkafka declares fatally failed. Nothing heals it, and the process needs no restart: the old
//! one is destroyed, and a new one joins the group with the same subscription.

use super::super::blocked;
use super::super::ffi::{EventKind, KafkaError};
use super::super::source::Order;
use super::{IDLE_WAIT, PollThread, SHORT_WAIT, Step};
use crate::chance::Chance;
use crate::store::Draw;
use crossbeam_channel::RecvTimeoutError;
use kafka_store_actors::consumer::LogSink;
use kafka_store_actors::messages::LogEvent;
use kafka_store_statecharts::backoff;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::topic::TopicPartition;
use slog::{info, warn};
use std::time::{Duration, Instant};

/// A new client is a load for the group: the first wait is as after so many failures of other calls, most of a second.
const EARLIER_FAILURES: u32 = 3;
/// A client that has lived this long was a good one: the next failure is a first one.
const GOOD_LIFE: Duration = Duration::from_secs(60);

/// How long librdkafka may take to report the revocation that comes with a failure.
const REVOCATION_TIME: Duration = Duration::from_secs(1);
/// How long it may take to end a failed client.
const DESTROY_TIME: Duration = Duration::from_secs(5);

/// Clients that have failed in a row.
#[derive(Debug)]
pub(super) struct Renewals {
    failures: u32,
    born: Instant,
    chance: Chance,
}

impl Renewals {
    pub(super) fn new() -> Renewals {
        Renewals { failures: 0, born: Instant::now(), chance: Chance::from_system() }
    }

    /// Wait before the next client, which is the longer the more have failed.
    fn failed(&mut self, now: Instant) -> Duration {
        if now.saturating_duration_since(self.born) >= GOOD_LIFE {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        backoff::delay(self.failures.saturating_add(EARLIER_FAILURES), self.chance.draw().to_bits())
    }

    fn renewed(&mut self, now: Instant) {
        self.born = now;
    }
}

impl PollThread {
    /// Deals with a client that can do nothing more.
    pub(super) fn end_client(&mut self, error: KafkaError) -> Step {
        let error = self.client.fatal_error().unwrap_or(error);
        if self.leaving.is_some() {
            return Step::End;
        }
        if blocked::is_fenced(&error) {
            self.out.push(LogEvent::ClientFailed { reason: error.to_string() });
            // What was read is in the store or still in Kafka.
            while !self.hand_over() && self.sink.as_ref().is_some_and(LogSink::is_open) {
                std::thread::yield_now();
            }
            return Step::End;
        }
        self.answer_revocation();
        self.lose_assignment();
        if !self.client.destroy(DESTROY_TIME) {
            warn!(self.log, "librdkafka has not ended the failed client in time; going on without";
                "seconds" => DESTROY_TIME.as_secs());
        }
        let mut reason = error;
        loop {
            let wait = self.renewals.failed(Instant::now());
            warn!(self.log, "kafka client failed; replacing it"; "attempt" => self.renewals.failures,
                "reason" => %reason, "in_seconds" => wait.as_secs_f64(), "hint" => blocked::fatal_hint(&reason));
            if let Step::End = self.wait_without_client(wait) {
                return Step::End;
            }
            match self.maker.make() {
                Ok(client) => {
                    self.client.replace(client);
                    break;
                }
                Err(error) => reason = error,
            }
        }
        self.renewals.renewed(Instant::now());
        info!(self.log, "kafka client replaced"; "attempt" => self.renewals.failures);
        self.subscribe();
        Step::GoOn
    }

    /// With the failure, librdkafka takes the assignment away, and its end waits for the answer.
    fn answer_revocation(&mut self) {
        let deadline = Instant::now() + REVOCATION_TIME;
        while self.partitions.iter_mut().next().is_some() && Instant::now() < deadline {
            if let Some(EventKind::Revoke(partitions)) = self.client.next_event(SHORT_WAIT).map(|event| event.kind()) {
                self.revoked(partitions);
            }
        }
    }

    /// Forgets everything that the client had been given, and reports it as revoked.
    fn lose_assignment(&mut self) {
        let partitions: Vec<TopicPartition> =
            self.partitions.iter_mut().map(|fetching| fetching.partition.clone()).collect();
        self.partitions.remove(&partitions);
        self.commits.refuse_all("the client has failed and is replaced");
        self.held = None;
        self.parked.clear();
        self.unproven.clear();
        self.turns.quiet_since = None;
        (self.paused_bytes, self.is_eager, self.assign_is_due, self.assigned_anew_at) = (0, false, false, None);
        if !partitions.is_empty() {
            self.out.push(LogEvent::Revoked { partitions });
        }
    }

    /// Takes orders while there is no client to carry them out.
    fn wait_without_client(&mut self, wait: Duration) -> Step {
        let deadline = Instant::now() + wait;
        loop {
            self.heartbeat.beat();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Step::GoOn;
            }
            let most = if self.hand_over() { IDLE_WAIT } else { SHORT_WAIT };
            match self.orders.recv_timeout(left.min(most)) {
                // They are for partitions of an assignment that is gone.
                Ok(Order::Start { .. } | Order::Stop { .. }) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::Subscribe { topics }) => self.topics = topics,
                Ok(Order::Commit { answer, .. }) => {
                    // The one who asked may be gone.
                    let _ =
                        answer.send(Err(Failure::new(Port::Commit, Class::Other, "the partition is no longer ours")));
                }
                Ok(Order::Leave { answer }) => {
                    let _ = answer.send(());
                    return Step::End;
                }
                Err(RecvTimeoutError::Disconnected) => return Step::End,
            }
        }
    }
}

#[cfg(test)]
mod tests;
