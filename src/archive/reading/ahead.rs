//! Memory for pieces that are read and decoded ahead of their turn.
//!
//! Pieces are taken in one order, and each has its place in it. A thread that needs more memory for a piece waits until
//! some is released, except for the piece that is taken next: that piece needs none of this memory, because it has the
//! other part of the limit to itself, on the thread that takes it. Threads therefore cannot deadlock.

use crate::avro::MemoryParts;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The place of a piece in the order in which they are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Number of its segment among those that are read.
    pub(super) segment: u64,
    /// Its number within its segment.
    pub(super) piece: u64,
}

/// Answer to a request for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is granted.
    Granted,
    /// There is none, but the piece is the next to be taken.
    IsNext,
    /// The piece is not wanted any more.
    NotWanted,
}

/// The memory, and the place that is taken next.
#[derive(Debug)]
pub(super) struct Ahead {
    parts: MemoryParts,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken_bytes: u64,
    next: Place,
    is_closed: bool,
    waiting: usize,
}

/// A piece's part of the memory; released on drop.
#[derive(Debug)]
pub(super) struct Charge {
    ahead: Arc<Ahead>,
    bytes: u64,
}

impl Ahead {
    pub(super) fn new(parts: MemoryParts) -> Arc<Ahead> {
        Arc::new(Ahead { parts, state: Mutex::default(), changed: Condvar::new() })
    }

    /// The bytes that the piece that is taken next may have for one block, beside this memory.
    pub(super) fn alone_bytes(&self) -> u64 {
        self.parts.alone
    }

    /// Sets the piece that is taken next. Pieces before it are not wanted any more.
    pub(super) fn next(&self, place: Place) {
        let mut state = self.state();
        state.next = place;
        self.wake(&state);
    }

    /// Ends all waiting: nothing is taken any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        self.wake(&state);
    }

    pub(super) fn charge(self: &Arc<Ahead>) -> Charge {
        Charge { ahead: Arc::clone(self), bytes: 0 }
    }

    /// The most that all pieces may have together when one at this place grows. Later segments leave half to the
    /// segment that is being taken; otherwise that one could only be decoded on one thread.
    fn most(&self, place: Place, next: Place) -> u64 {
        if place.segment == next.segment { self.parts.shared } else { self.parts.shared / 2 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a panic ends the process")
    }

    fn wake(&self, state: &State) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }
}

impl Charge {
    /// Changes it to `bytes` in total if there is memory for that now. Fewer bytes than before are always granted.
    pub(super) fn try_set(&mut self, place: Place, bytes: u64) -> bool {
        let ahead = Arc::clone(&self.ahead);
        let mut state = ahead.state();
        self.set_in(&mut state, place, bytes)
    }

    /// Changes it to `bytes` in total. Waits until there is memory for that, or the piece is the next one to be taken.
    pub(super) fn set(&mut self, place: Place, bytes: u64) -> Answer {
        let ahead = Arc::clone(&self.ahead);
        let mut state = ahead.state();
        loop {
            if state.is_closed || place < state.next {
                return Answer::NotWanted;
            }
            if self.set_in(&mut state, place, bytes) {
                return Answer::Granted;
            }
            if place == state.next {
                return Answer::IsNext;
            }
            state.waiting += 1;
            state = ahead.changed.wait(state).expect("a panic ends the process");
            state.waiting -= 1;
        }
    }

    fn set_in(&mut self, state: &mut State, place: Place, bytes: u64) -> bool {
        let others = state.taken_bytes - self.bytes;
        let is_less = bytes <= self.bytes;
        if !is_less && others.saturating_add(bytes) > self.ahead.most(place, state.next) {
            return false;
        }
        state.taken_bytes = others + bytes;
        self.bytes = bytes;
        if is_less {
            self.ahead.wake(state);
        }
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut state = self.ahead.state();
            state.taken_bytes -= self.bytes;
            self.ahead.wake(&state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn place(segment: u64, piece: u64) -> Place {
        Place { segment, piece }
    }

    fn ahead() -> Arc<Ahead> {
        Ahead::new(MemoryParts { shared: 100, alone: 700 })
    }

    #[test]
    fn later_segments_leave_half_to_the_one_that_is_taken() {
        let ahead = ahead();
        let [mut now, mut later] = [0, 1].map(|_| ahead.charge());
        assert!(!later.try_set(place(1, 0), 51) && later.try_set(place(1, 0), 50));
        assert!(!now.try_set(place(0, 1), 51) && now.try_set(place(0, 1), 50));
        drop(later);
        assert!(now.try_set(place(0, 1), 100) && !now.try_set(place(0, 1), 101));
        drop(now);
        assert_eq!(ahead.state().taken_bytes, 0);
    }

    #[test]
    fn the_next_piece_and_unwanted_ones_never_wait() {
        let ahead = ahead();
        let (mut full, mut piece) = (ahead.charge(), ahead.charge());
        assert_eq!(full.set(place(0, 3), 100), Answer::Granted);
        assert_eq!(piece.set(place(0, 0), 1), Answer::IsNext);
        ahead.next(place(1, 0));
        assert_eq!(piece.set(place(0, 9), 1), Answer::NotWanted);
        ahead.close();
        assert_eq!(piece.set(place(1, 0), 1), Answer::NotWanted);
    }

    #[test]
    fn memory_a_turn_and_the_end_wake_waiting_threads() {
        type Wake = fn(&Arc<Ahead>, &mut Charge);
        let wakes: [(Wake, Answer); 4] = [
            (|_, full| assert!(full.try_set(place(0, 1), 90)), Answer::Granted),
            (|ahead, _| ahead.next(place(0, 2)), Answer::IsNext),
            (|ahead, _| ahead.next(place(0, 3)), Answer::NotWanted),
            (|ahead, _| ahead.close(), Answer::NotWanted),
        ];
        for (wake, expected) in wakes {
            let ahead = ahead();
            let mut full = ahead.charge();
            assert_eq!(full.set(place(0, 1), 100), Answer::Granted);
            thread::scope(|scope| {
                let waits = scope.spawn(|| ahead.charge().set(place(0, 2), 10));
                while ahead.state().waiting == 0 {
                    thread::yield_now();
                }
                wake(&ahead, &mut full);
                assert_eq!(waits.join().expect("no panic"), expected);
            });
        }
    }
}
