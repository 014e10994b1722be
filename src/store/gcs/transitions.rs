//! Telling the changes of an upload's state.

use super::upload::{CHART, UploadLog};
use kafka_store_actors::ports::Clock;
use kafka_store_actors::transition::{Detail, Subject, TransitionLog, TransitionRecord};
use kafka_store_statecharts::chart::{Kind, Transition};
use kafka_store_statecharts::failure::Class;
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::upload::Upload;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A log, and what time it is.
type Told = (Arc<dyn TransitionLog>, Arc<dyn Clock>);

/// Where changes of uploads' states are told; nowhere by default.
#[derive(Clone, Debug, Default)]
pub struct UploadTransitions {
    to: Arc<OnceLock<Told>>,
    last: Arc<AtomicU64>,
    failures: Arc<Mutex<BTreeMap<Class, u64>>>,
}

impl UploadTransitions {
    /// From now on into this log, with the times of this clock. Once.
    pub fn tell(&self, log: Arc<dyn TransitionLog>, clock: Arc<dyn Clock>) {
        // Whoever was first is told.
        let _ = self.to.set((log, clock));
    }

    /// How often anything about an upload had to be tried again, by class.
    pub fn failures(&self) -> BTreeMap<Class, u64> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
    fn failed(&mut self, class: Class) {
        let mut failures = self.transitions.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(class).or_default() += 1;
    }

    fn record(&mut self, transition: &Transition<Upload>) {
        let Some((log, clock)) = self.transitions.to.get() else { return };
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
