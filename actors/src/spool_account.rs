//! The bytes that spool files may take on disk, in this process: of open segments, and of sealed ones until they are
//! stored.
//!
//! As long as there is room, segments are opened without asking how large they will become: a thousand quiet
//! partitions need little. When it runs short, the youngest open segments are given up, for Kafka has their records;
//! their partitions stand in line, and the older ones go on to their boundary. Who comes out of the line has room for
//! a whole segment set aside, so it is not given up again; and as long as somebody stands there, everybody does.
//!
//! Why nothing waits for ever: sealed segments leave by themselves. What has room set aside ends at its boundary, or
//! catches up with its log, and then counts only what it is. The others give way. So room for one segment comes, and
//! the first in line gets it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// One bound for the whole process.
#[derive(Debug)]
pub struct SpoolAccount {
    limit_bytes: u64,
    segment_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By age: a younger segment has a higher number.
    segments: BTreeMap<u64, Entry>,
    next: u64,
    line: VecDeque<oneshot::Sender<SpoolShare>>,
    given_up: u64,
}

/// What one segment takes.
#[derive(Debug)]
struct Entry {
    bytes: u64,
    phase: Phase,
    /// Tells its owner to give it up.
    give_up: Option<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Open, with room for a whole segment set aside.
    Reserved,
    /// Open.
    Open,
    /// Its owner was told to give it up.
    GivingUp,
    /// On its way into the store.
    Sealed,
}

/// What becomes of a segment that has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Growth {
    /// It goes on.
    Kept,
    /// There is no room, and it is the youngest: it is to be given up.
    GiveUp,
}

/// A segment's part of the spool; dropping it gives it back.
#[derive(Debug)]
pub struct SpoolShare {
    account: Arc<SpoolAccount>,
    number: u64,
    told: Option<oneshot::Receiver<()>>,
}

impl SpoolAccount {
    /// An account of `limit_bytes`, for segments that end at `segment_bytes`.
    ///
    /// A segment counts with that size at the most: its header and the rest of its last record may come on top.
    pub fn new(limit_bytes: u64, segment_bytes: u64) -> Arc<SpoolAccount> {
        let segment_bytes = segment_bytes.min(limit_bytes);
        Arc::new(SpoolAccount { limit_bytes, segment_bytes, state: Mutex::default() })
    }

    /// Room for another segment, of whatever size; `None` if its partition is to [wait](SpoolAccount::wait).
    pub fn open(self: &Arc<SpoolAccount>) -> Option<SpoolShare> {
        let mut state = self.lock();
        let has_room = self.taken(&state) < self.limit_bytes && !state.somebody_waits();
        has_room.then(|| self.enter(&mut state, Phase::Open))
    }

    /// Room for another segment, also beyond the limit: for records that are in no log any more.
    pub fn open_beyond(self: &Arc<SpoolAccount>) -> SpoolShare {
        self.enter(&mut self.lock(), Phase::Open)
    }

    /// Stands in line for room for a whole segment.
    pub fn wait(self: &Arc<SpoolAccount>) -> oneshot::Receiver<SpoolShare> {
        let (granted, answer) = oneshot::channel();
        self.lock().line.push_back(granted);
        self.admit();
        answer
    }

    /// How many open segments were given up so far.
    pub fn given_up(&self) -> u64 {
        self.lock().given_up
    }

    /// What is taken, room that is set aside included.
    pub fn taken_bytes(&self) -> u64 {
        self.taken(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn weight(&self, entry: &Entry) -> u64 {
        if entry.phase == Phase::Reserved { entry.bytes.max(self.segment_bytes) } else { entry.bytes }
    }

    fn taken(&self, state: &State) -> u64 {
        state.segments.values().map(|entry| self.weight(entry)).sum()
    }

    fn enter(self: &Arc<SpoolAccount>, state: &mut State, phase: Phase) -> SpoolShare {
        let (give_up, told) = oneshot::channel();
        let number = state.next;
        state.next += 1;
        state.segments.insert(number, Entry { bytes: 0, phase, give_up: Some(give_up) });
        SpoolShare { account: Arc::clone(self), number, told: Some(told) }
    }

    /// Lets the first in line in, as long as there is room for a whole segment, and for the oldest open one to become
    /// whole.
    fn admit(self: &Arc<SpoolAccount>) {
        loop {
            let mut state = self.lock();
            state.line.retain(|waiting| !waiting.is_closed());
            let taken = self.taken(&state);
            let oldest = state.segments.values().find(|entry| entry.phase == Phase::Open);
            let needed = oldest.map_or(0, |entry| self.segment_bytes.saturating_sub(entry.bytes));
            let fits = taken.saturating_add(needed).saturating_add(self.segment_bytes) <= self.limit_bytes;
            if !(fits || state.segments.is_empty()) {
                return;
            }
            let Some(first) = state.line.pop_front() else { return };
            let share = self.enter(&mut state, Phase::Reserved);
            drop(state);
            // Who has gone away meanwhile gives it back, and the next one is let in: not under the lock.
            drop(first.send(share));
        }
    }

    fn grow(&self, number: u64, bytes: u64) -> Growth {
        let mut told = Vec::new();
        let mut state = self.lock();
        if let Some(entry) = state.segments.get_mut(&number) {
            entry.bytes = bytes;
        }
        let going: u64 =
            state.segments.values().filter(|entry| entry.phase == Phase::GivingUp).map(|entry| entry.bytes).sum();
        let mut staying = self.taken(&state) - going;
        let mut growth = Growth::Kept;
        while staying > self.limit_bytes {
            let youngest = state.segments.iter_mut().rev().find(|(_, entry)| entry.phase == Phase::Open);
            // Only what has room set aside is open: large last records, which go on.
            let Some((victim, entry)) = youngest else { break };
            entry.phase = Phase::GivingUp;
            staying -= entry.bytes;
            if *victim == number {
                growth = Growth::GiveUp;
            } else {
                told.extend(entry.give_up.take());
            }
            state.given_up += 1;
        }
        drop(state);
        for give_up in told {
            // Its owner may have sealed it at this moment.
            let _ = give_up.send(());
        }
        growth
    }

    /// Gives a segment another phase and size.
    fn change(self: &Arc<SpoolAccount>, number: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().segments.get_mut(&number) {
            change(entry);
        }
        self.admit();
    }
}

impl State {
    fn somebody_waits(&self) -> bool {
        self.line.iter().any(|waiting| !waiting.is_closed())
    }
}

impl SpoolShare {
    /// Comes when the segment is to be given up for the sake of older ones. Once.
    pub fn told(&mut self) -> Option<oneshot::Receiver<()>> {
        self.told.take()
    }

    /// The open segment's file has become this long.
    pub fn grow(&self, bytes: u64) -> Growth {
        self.account.grow(self.number, bytes)
    }

    /// The segment has all that there is: it counts what it is, with nothing set aside.
    pub fn caught_up(&self) {
        let is_reserved =
            self.account.lock().segments.get(&self.number).is_some_and(|entry| entry.phase == Phase::Reserved);
        if is_reserved {
            self.account.change(self.number, |entry| entry.phase = Phase::Open);
        }
    }

    /// The segment is complete, with a file of this length.
    pub fn seal(&self, bytes: u64) {
        self.account.change(self.number, |entry| {
            entry.phase = Phase::Sealed;
            entry.bytes = bytes;
        });
    }
}

impl Drop for SpoolShare {
    fn drop(&mut self) {
        let entry = self.account.lock().segments.remove(&self.number);
        drop(entry);
        self.account.admit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(answer: &mut oneshot::Receiver<SpoolShare>) -> Option<SpoolShare> {
        answer.try_recv().ok()
    }

    #[test]
    fn the_youngest_gives_way_to_the_oldest() {
        let account = SpoolAccount::new(400, 100);
        let mut shares: Vec<SpoolShare> = (0..10).map(|_| account.open().expect("room")).collect();
        let mut told: Vec<_> = shares.iter_mut().map(|share| share.told().expect("once")).collect();
        for share in &shares {
            assert_eq!(share.grow(40), Growth::Kept);
        }
        assert_eq!(shares[0].grow(80), Growth::Kept);
        assert_eq!(told[9].try_recv(), Ok(()), "the youngest is told");
        assert_eq!(shares[8].grow(60), Growth::GiveUp, "and the next one asks itself");
        assert_eq!(shares[1].grow(60), Growth::Kept, "what is going leaves room");
        assert_eq!(account.given_up(), 2);
        assert!(told[0].try_recv().is_err() && account.open().is_none());
    }

    #[test]
    fn who_stood_in_line_has_room_for_a_whole_segment() {
        let account = SpoolAccount::new(400, 100);
        let oldest = account.open().expect("room");
        let sealed: Vec<SpoolShare> = (0..3).map(|_| account.open().expect("room")).collect();
        sealed.iter().for_each(|share| share.seal(100));
        assert_eq!(oldest.grow(50), Growth::Kept);
        let (mut first, mut second) = (account.wait(), account.wait());
        assert!(granted(&mut first).is_none());
        assert!(account.open().is_none(), "nobody overtakes them");
        drop(sealed);
        let (first, second) = (granted(&mut first).expect("room"), granted(&mut second).expect("room"));
        assert_eq!(account.taken_bytes(), 250);
        assert_eq!(first.grow(100), Growth::Kept);
        assert_eq!(oldest.grow(100), Growth::Kept, "the oldest can become whole");
        assert_eq!(second.grow(100), Growth::Kept);
        drop((oldest, first, second));
        assert_eq!(account.taken_bytes(), 0);
    }

    #[test]
    fn what_no_log_has_any_more_gets_room_beyond_the_limit() {
        let account = SpoolAccount::new(100, 100);
        let first = account.open().expect("room");
        first.seal(100);
        assert!(account.open().is_none());
        let beyond = account.open_beyond();
        beyond.seal(70);
        assert_eq!(account.taken_bytes(), 170);
        drop(first);
        assert!(account.open().is_some(), "the limit holds for the others");
    }

    #[test]
    fn a_segment_that_has_caught_up_sets_nothing_aside() {
        let account = SpoolAccount::new(100, 100);
        let mut waiting: Vec<_> = (0..3).map(|_| account.wait()).collect();
        let first = granted(&mut waiting[0]).expect("alone");
        assert_eq!(first.grow(10), Growth::Kept);
        first.caught_up();
        assert!(granted(&mut waiting[1]).is_none(), "the first may still become whole");
        drop(waiting.remove(1));
        drop(first);
        assert!(granted(&mut waiting[1]).is_some(), "who has gone away is passed over");
    }
}
