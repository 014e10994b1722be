//! Where changes of states are kept: in the audit log, on the status page, and as lines of the process's log.

use crate::audit::AuditLog;
use crate::status::Board;
use kafka_store_actors::transition::{TransitionLog, TransitionRecord};
use slog::{Logger, debug};
use std::sync::Arc;

/// Keeps each change of a state's name in the audit log and on the board, if there are such, and as a debug line.
#[derive(Debug)]
pub struct KeptTransitions {
    audit: Option<Arc<AuditLog>>,
    board: Option<Arc<Board>>,
    log: Logger,
}

impl KeptTransitions {
    /// Into these.
    pub fn new(audit: Option<Arc<AuditLog>>, board: Option<Arc<Board>>, log: Logger) -> KeptTransitions {
        KeptTransitions { audit, board, log }
    }
}

impl TransitionLog for KeptTransitions {
    fn record(&self, transition: &TransitionRecord<'_>) {
        if let Some(audit) = &self.audit {
            audit.record(transition);
        }
        if let Some(board) = &self.board {
            board.record(transition);
        }
        let TransitionRecord { subject, chart, from, event, to, detail, .. } = transition;
        debug!(self.log, "state changed"; "to" => to, "event" => event, "from" => from, "chart" => chart,
            "detail" => ?detail,
            "segment" => subject.and_then(|subject| subject.segment_start).map(|start| start.get()),
            "partition" => subject.map(|subject| subject.chain.topic_partition.to_string()));
    }
}
