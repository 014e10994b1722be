//! Telling the changes of an upload's state.

use super::upload::{CHART, UploadLog};
use kafka_store_actors::ports::Clock;
use kafka_store_actors::transition::{Detail, Subject, TransitionLog, TransitionRecord};
use kafka_store_statecharts::chart::{Kind, Transition};
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::upload::Upload;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where changes of uploads' states are told; nowhere by default.
#[derive(Clone, Debug, Default)]
pub struct UploadTransitions {
    to: Option<(Arc<dyn TransitionLog>, Arc<dyn Clock>)>,
    last: Arc<AtomicU64>,
}

impl UploadTransitions {
    /// Into this log, with the times of this clock.
    pub fn new(log: Arc<dyn TransitionLog>, clock: Arc<dyn Clock>) -> UploadTransitions {
        UploadTransitions { to: Some((log, clock)), last: Arc::default() }
    }

    /// Of one more upload, of this segment.
    pub(super) fn upload<'a>(&'a self, name: &'a SegmentName) -> OfUpload<'a> {
        OfUpload { transitions: self, name, number: self.last.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

/// Of one upload.
pub(super) struct OfUpload<'a> {
    transitions: &'a UploadTransitions,
    name: &'a SegmentName,
    number: u64,
}

impl UploadLog for OfUpload<'_> {
    fn record(&mut self, transition: &Transition<Upload>) {
        let Some((log, clock)) = &self.transitions.to else { return };
        if transition.from == transition.to {
            return;
        }
        log.record(&TransitionRecord {
            now: clock.now(),
            subject: Some(Subject {
                chain: &self.name.chain,
                epoch: None,
                segment_start: Some(self.name.start),
                upload: Some(self.number),
            }),
            chart: CHART,
            from: transition.from.as_str(),
            event: transition.event.as_str(),
            to: transition.to.as_str(),
            detail: Detail::None,
        });
    }
}
