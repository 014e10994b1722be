//! Waiting for what comes next.

use super::interrupt::Interrupt;
use std::time::Duration;

/// How long to wait before one looks again: shortly after there was something, longer and longer after there was not.
#[derive(Debug)]
pub(super) struct Patience {
    next: Duration,
    longest: Duration,
}

const SHORTEST: Duration = Duration::from_millis(50);
/// How soon Ctrl-C is seen.
const SLICE: Duration = Duration::from_millis(50);

impl Patience {
    pub(super) fn new(longest: Duration) -> Patience {
        Patience { next: SHORTEST, longest }
    }

    /// Waits. False if somebody wants no more.
    pub(super) fn wait(&mut self, is_news: bool, interrupt: &Interrupt) -> bool {
        self.next = if is_news { SHORTEST } else { (self.next * 2).min(self.longest) };
        let mut rest = self.next;
        while !rest.is_zero() && !interrupt.is_set() {
            let slice = rest.min(SLICE);
            std::thread::sleep(slice);
            rest -= slice;
        }
        !interrupt.is_set()
    }
}
