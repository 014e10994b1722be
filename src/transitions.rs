//! The log of transitions, as lines of the process's log.

use kafka_store_actors::ports::{TransitionLog, TransitionRecord};
use slog::{Logger, debug};

/// Writes each change of a state's name as a debug line.
#[derive(Debug)]
pub struct LoggedTransitions {
    log: Logger,
}

impl LoggedTransitions {
    /// Into this log.
    pub fn new(log: Logger) -> LoggedTransitions {
        LoggedTransitions { log }
    }
}

impl TransitionLog for LoggedTransitions {
    fn record(&self, transition: &TransitionRecord<'_>) {
        let TransitionRecord { partition, segment_start, chart, from, event, to, seal_reason, .. } = transition;
        debug!(self.log, "state changed"; "to" => to, "event" => event, "from" => from, "chart" => chart,
            "seal_reason" => seal_reason.map(|reason| reason.as_str()),
            "segment" => segment_start.map(|start| start.get()), "partition" => partition.map(ToString::to_string));
    }
}
