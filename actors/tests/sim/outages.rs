//! Things outside that are away for a while, each for any reason that the table of failures has, and what they met.

use super::world::World;
use kafka_store_actors::ports::SpoolError;
use kafka_store_statecharts::chart::Kind;
use kafka_store_statecharts::failure::{Class, FAILURES, Failure, Lasts, Port};
use kafka_store_statecharts::partition::PartitionStateKind;
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::BTreeMap;

/// What is away, and what it has met.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    away: BTreeMap<Port, (Class, u64)>,
    /// The states of partitions, as the charts said last.
    states: BTreeMap<TopicPartition, &'static str>,
    /// How often a failure of a port that passes or does not met a partition in a state.
    pub(crate) met: BTreeMap<(Port, &'static str, &'static str), u64>,
}

/// A failure that was met is of this kind.
fn kind(failure: &Failure) -> &'static str {
    match failure.lasts() {
        Lasts::ForNow => "passes",
        Lasts::UntilSomebodyActs => "stays",
    }
}

impl World {
    /// Lets something be away from now on, at times.
    pub(crate) fn begin_outages(&mut self, now_ms: u64) {
        if !self.faults {
            self.outages.away.clear();
            return;
        }
        self.outages.away.retain(|_, (_, until_ms)| *until_ms > now_ms);
        if self.rng.between(0, 9_999) < self.plan.outages {
            let port = *self.rng.one(&Port::ALL);
            let seconds = *self.rng.one(&[1, 1, 3, 10, 40, 300]);
            let until_ms = now_ms + self.rng.between(seconds * 500, seconds * 1_000);
            let class = self.any_class(port);
            self.outages.away.insert(port, (class, until_ms));
        }
    }

    pub(crate) fn is_away(&self, port: Port) -> bool {
        self.faults && self.outages.away.contains_key(&port)
    }

    /// True in states that last for moments: chance alone would hardly ever let a failure meet them.
    fn is_in_rare_state(&self, partition: &TopicPartition) -> bool {
        let rare = ["Examining", "Leaving", "Departing", "Relocating", "Revoking", "WaitingForSpool"];
        self.outages.states.get(partition).is_some_and(|state| rare.contains(state))
    }

    /// One of all failures that a port has.
    fn any_class(&mut self, port: Port) -> Class {
        let classes: Vec<Class> =
            FAILURES.iter().filter(|row| row.ports.contains(&port)).map(|row| row.class).collect();
        *self.rng.one(&classes)
    }

    /// The failure of a port that is away now.
    pub(crate) fn outage(&mut self, port: Port, partition: &TopicPartition) -> Option<Failure> {
        let away = self.outages.away.get(&port).map(|(class, _)| *class);
        let class = match away {
            _ if !self.faults => return None,
            Some(class) => class,
            None if self.is_in_rare_state(partition) && self.fault(self.plan.failures_in_rare_states) => {
                self.any_class(port)
            }
            None => return None,
        };
        let failure = Failure::new(port, class, format!("{}: {}", port.as_str(), class.as_str()));
        self.meets(&failure, partition);
        Some(failure)
    }

    /// A failure that passes, as one call alone may have it.
    pub(crate) fn one_failure(&mut self, port: Port, partition: &TopicPartition) -> Failure {
        let failure = Failure::new(port, Class::Unavailable, "no answer");
        self.meets(&failure, partition);
        failure
    }

    /// The disk of the spool is away, or fails this once.
    pub(crate) fn spool_fault(&mut self, partition: &TopicPartition) -> Option<SpoolError> {
        if let Some(failure) = self.outage(Port::Spool, partition) {
            return Some(SpoolError { class: failure.class, reason: failure.reason });
        }
        if !self.disk_fails() {
            return None;
        }
        let class = self.any_class(Port::Spool);
        self.meets(&Failure::new(Port::Spool, class, ""), partition);
        Some(SpoolError { class, reason: format!("the spool: {}", class.as_str()) })
    }

    /// Whether a complete file of the spool is gone.
    pub(crate) fn file_is_lost(&mut self, partition: &TopicPartition) -> bool {
        let is_rare = self.is_in_rare_state(partition);
        self.file_is_damaged() || (is_rare && self.fault(self.plan.failures_in_rare_states / 4))
    }

    /// A failure meets a partition.
    pub(crate) fn meets(&mut self, failure: &Failure, partition: &TopicPartition) {
        let state = self.outages.states.get(partition).copied().unwrap_or(PartitionStateKind::Locating.as_str());
        *self.outages.met.entry((failure.port, kind(failure), state)).or_default() += 1;
    }

    /// A partition has another state.
    pub(crate) fn note_state(&mut self, partition: &TopicPartition, state: &'static str) {
        self.outages.states.insert(partition.clone(), state);
    }

    /// A new process begins with every partition anew.
    pub(crate) fn forget_states(&mut self) {
        self.outages.states.clear();
    }
}

/// All that could meet: every port, what passes and what does not, every state.
pub(crate) fn pairs() -> impl Iterator<Item = (Port, &'static str, &'static str)> {
    let has =
        |port: Port, lasts: Lasts| FAILURES.iter().any(move |row| row.ports.contains(&port) && row.lasts == lasts);
    let kinds = [("passes", Lasts::ForNow), ("stays", Lasts::UntilSomebodyActs)];
    Port::ALL.into_iter().flat_map(move |port| {
        let of_port = kinds.into_iter().filter(move |(_, lasts)| has(port, *lasts));
        of_port.flat_map(move |(kind, _)| PartitionStateKind::ALL.iter().map(move |state| (port, kind, state.as_str())))
    })
}
