//! Says that the index cannot be reached, but not a hundred times a second.

use super::error::{IndexError, IndexErrorKind};
use slog::{Logger, debug, error, info};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
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
        std::thread::sleep(wait(failures));
    }

    fn tell(&self, why: &IndexError) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let known = trouble.get_or_insert(Trouble { since: now, told: now });
        let seconds = now.duration_since(known.since).as_secs();
        if known.since == now || now.duration_since(known.told) >= TELL_AGAIN {
            known.told = now;
            error!(self.log, "the index cannot be written, trying again: rows and commits wait";
                "seconds" => seconds, "index" => &self.index, "reason" => %why);
        }
    }

    /// The index answers.
    pub(super) fn over(&self) {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Trouble { since, .. }) = trouble {
            info!(self.log, "the index answers again"; "after_seconds" => since.elapsed().as_secs());
        }
    }
}

/// Doubles up to its limit; between half of that and all of it, so that daemons which lost the same server do not come
/// back as one.
fn wait(failures: u32) -> Duration {
    let whole = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    // A new RandomState hashes with keys of its own: the standard library's only source of chance.
    let draw = RandomState::new().hash_one(failures) % 1000;
    whole / 2 + whole / 2 * u32::try_from(draw).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_their_limit_and_differ() {
        for (failures, longest) in [(1, 100), (2, 200), (5, 1_600), (8, 10_000), (1_000_000, 10_000)] {
            let waits: Vec<u128> = (0..50).map(|_| wait(failures).as_millis()).collect();
            assert!(waits.iter().all(|wait| (longest / 2..=longest).contains(wait)), "{failures}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{failures}: always {}", waits[0]);
        }
    }
}
