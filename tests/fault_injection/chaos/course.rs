//! The course of a run: how long it lasts, what has happened in it, and how often.

use crate::support::seed::Chance;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Shared by all that fail or cause failures.
pub(super) struct Course {
    started: Instant,
    length: Duration,
    counts: Mutex<BTreeMap<String, u32>>,
    /// What must not happen, and has happened.
    wrong: Mutex<Vec<String>>,
}

impl Course {
    pub(super) fn new(length: Duration) -> Course {
        Course { started: Instant::now(), length, counts: Mutex::default(), wrong: Mutex::default() }
    }

    /// True until faults and traffic are to stop.
    pub(super) fn lasts(&self) -> bool {
        self.started.elapsed() < self.length
    }

    /// Lets up to so much time pass, but for a quarter of a second at the least, and not beyond the end.
    pub(super) fn pause(&self, chance: &mut Chance, longest: Duration) {
        let milliseconds = 250 + chance.below(u64::try_from(longest.as_millis()).expect("a short time"));
        let left = self.length.saturating_sub(self.started.elapsed());
        // How long a fault lasts, or the time between two: nothing is waited for.
        std::thread::sleep(Duration::from_millis(milliseconds).min(left));
    }

    /// A line of the run's log.
    pub(super) fn say(&self, what: &str) {
        println!("{:8.1} s  {what}", self.started.elapsed().as_secs_f64());
    }

    /// A fault begins: a line of the log, and counted by its kind.
    pub(super) fn fault(&self, kind: &str, on: &str) {
        self.say(&format!("{kind} {on}"));
        *self.counts.lock().expect("whole").entry(kind.to_owned()).or_default() += 1;
    }

    /// Something that must not happen has happened; the run goes on.
    pub(super) fn is_wrong(&self, what: String) {
        self.say(&format!("WRONG: {what}"));
        self.wrong.lock().expect("whole").push(what);
    }

    pub(super) fn wrong(&self) -> Vec<String> {
        self.wrong.lock().expect("whole").clone()
    }

    /// How often each kind of fault came.
    pub(super) fn counts(&self) -> BTreeMap<String, u32> {
        self.counts.lock().expect("whole").clone()
    }
}
