//! Says that the index cannot be reached, but not a hundred times a second.

use super::error::{IndexError, IndexErrorKind};
use kafka_store_statecharts::backoff;
use slog::{Logger, debug, error, info};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the same trouble is told while it lasts.
const TELL_AGAIN: Duration = Duration::from_secs(30);
/// Deadlocks solve themselves: only so many in a row are trouble.
const BUSY_TRIES: u32 = 8;

/// One for the process, whichever thread meets the trouble.
#[derive(Debug)]
pub(super) struct Alarm {
    index: String,
    log: Logger,
    trouble: Mutex<Option<Trouble>>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    told: Instant,
    why: IndexError,
}

impl Alarm {
    pub(super) fn new(index: String, log: Logger) -> Alarm {
        Alarm { index, log, trouble: Mutex::new(None) }
    }

    /// Tells of the trouble if it is time to, and waits: longer after each failure, and not all at the same moment.
    pub(super) fn wait(&self, failures: u32, why: &IndexError) {
        if why.kind() == IndexErrorKind::Busy && failures < BUSY_TRIES {
            debug!(self.log, "index busy, trying again"; "reason" => %why);
        } else {
            self.tell(why);
        }
        // A new RandomState hashes with keys of its own: the standard library's only source of chance.
        std::thread::sleep(backoff::delay(failures, RandomState::new().hash_one(failures)));
    }

    fn tell(&self, why: &IndexError) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let known = trouble.get_or_insert_with(|| Trouble { since: now, told: now, why: why.clone() });
        known.why = why.clone();
        let seconds = now.duration_since(known.since).as_secs();
        if known.since == now || now.duration_since(known.told) >= TELL_AGAIN {
            known.told = now;
            error!(self.log, "the index cannot be written, trying again: rows and commits wait";
                "seconds" => seconds, "index" => &self.index, "reason" => %why);
        }
    }

    /// Why the index does not answer, and for how long.
    pub(super) fn trouble(&self) -> Option<(IndexError, Duration)> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map(|trouble| (trouble.why.clone(), trouble.since.elapsed()))
    }

    /// The index answers.
    pub(super) fn over(&self) {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Trouble { since, .. }) = trouble {
            info!(self.log, "the index answers again"; "after_seconds" => since.elapsed().as_secs());
        }
    }
}
