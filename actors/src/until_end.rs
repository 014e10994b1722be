//! `--until-end`: which partitions still lack what they had when the run began.

use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};

/// The targets of a run, fixed at its start.
#[derive(Debug)]
pub(crate) struct UntilEnd {
    targets: BTreeMap<TopicPartition, Offset>,
    open: BTreeSet<TopicPartition>,
}

impl UntilEnd {
    pub(crate) fn new(targets: BTreeMap<TopicPartition, Offset>) -> UntilEnd {
        let open = targets.keys().cloned().collect();
        UntilEnd { targets, open }
    }

    pub(crate) fn target(&self, partition: &TopicPartition) -> Option<Offset> {
        self.targets.get(partition).copied()
    }

    pub(crate) fn reached(&mut self, partition: &TopicPartition) {
        self.open.remove(partition);
    }

    /// The partitions whose targets are not reached yet.
    pub(crate) fn open(&self) -> &BTreeSet<TopicPartition> {
        &self.open
    }
}
