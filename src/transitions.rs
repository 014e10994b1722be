//! Where changes of states are kept: in the audit log, on the status page, and as lines of the process's log.

use kafka_store_actors::transition::{TransitionLog, TransitionRecord};
use slog::{Logger, debug};
use std::sync::Arc;

/// Keeps each change of a state's name wherever it is to be kept, and as a debug line.
#[derive(Debug)]
pub struct KeptTransitions {
    logs: Vec<Arc<dyn TransitionLog>>,
    log: Logger,
}

impl KeptTransitions {
    /// Into these, in their order.
    pub fn new(logs: Vec<Arc<dyn TransitionLog>>, log: Logger) -> KeptTransitions {
        KeptTransitions { logs, log }
    }
}

impl TransitionLog for KeptTransitions {
    fn record(&self, transition: &TransitionRecord<'_>) {
        self.logs.iter().for_each(|log| log.record(transition));
        let TransitionRecord { subject, chart, from, event, to, detail, .. } = transition;
        debug!(self.log, "state changed"; "to" => to, "event" => event, "from" => from, "chart" => chart,
            "detail" => ?detail,
            "segment" => subject.and_then(|subject| subject.segment_start).map(|start| start.get()),
            "partition" => subject.map(|subject| subject.chain.topic_partition.to_string()));
    }
}
