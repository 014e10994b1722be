//! Memory that decoding may take: one limit for a process, whatever its files say.
//!
//! All readers share an eighth of the limit. The rest is for one block at a time, for a block that does not fit into
//! the shared part. Whether a block is refused therefore depends on its size and the limit alone, never on other
//! readers. And readers cannot deadlock: the one that holds the rest waits for nothing.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};

/// The limit where none is given.
pub const DECODE_MEMORY_DEFAULT: u64 = 256_000_000;

/// Memory for decoding blocks, shared by threads.
#[derive(Debug)]
pub struct DecodeMemory {
    limit_bytes: u64,
    taken: Mutex<Taken>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct Taken {
    shared_bytes: u64,
    /// True if a reader has the part for one block.
    is_alone_taken: bool,
}

/// The parts of a limit in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryParts {
    /// For all blocks that are decoded at the same time.
    pub shared: u64,
    /// For one block that is too large for that: its stored and its decompressed bytes.
    pub alone: u64,
}

impl MemoryParts {
    /// Divides a limit.
    pub const fn of(limit_bytes: u64) -> MemoryParts {
        let shared = limit_bytes / 8;
        MemoryParts { shared, alone: limit_bytes - shared }
    }
}

static OF_PROCESS: OnceLock<Arc<DecodeMemory>> = OnceLock::new();

impl DecodeMemory {
    /// Memory with this limit.
    pub fn new(limit_bytes: u64) -> Arc<DecodeMemory> {
        Arc::new(DecodeMemory { limit_bytes, taken: Mutex::default(), released: Condvar::new() })
    }

    /// The memory of all readers of this process that have none of their own.
    pub fn of_process() -> Arc<DecodeMemory> {
        Arc::clone(OF_PROCESS.get_or_init(|| DecodeMemory::new(DECODE_MEMORY_DEFAULT)))
    }

    /// Sets the limit of [`DecodeMemory::of_process`]. The first call counts, and it comes before anything is decoded.
    pub fn limit_process(limit_bytes: u64) {
        OF_PROCESS.get_or_init(|| DecodeMemory::new(limit_bytes));
    }

    /// The limit in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Its parts.
    pub fn parts(&self) -> MemoryParts {
        MemoryParts::of(self.limit_bytes)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("a panic ends the process")
    }
}

/// One reader's part of the memory; released on drop.
pub(super) struct MemoryShare {
    memory: Arc<DecodeMemory>,
    shared_bytes: u64,
    is_alone: bool,
}

impl MemoryShare {
    pub(super) fn of(memory: Arc<DecodeMemory>) -> MemoryShare {
        MemoryShare { memory, shared_bytes: 0, is_alone: false }
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.memory.limit_bytes
    }

    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// The most that it can have alone.
    pub(super) fn alone_bytes(&self) -> u64 {
        self.memory.parts().alone
    }

    /// Grows to `bytes` in total and returns the granted total: fewer bytes if it holds the part for one block and that
    /// is smaller, none if the shared part has no room for them. Never waits.
    pub(super) fn grow_to(&mut self, bytes: u64) -> u64 {
        let parts = self.memory.parts();
        if self.is_alone {
            return bytes.min(parts.alone);
        }
        let mut taken = self.memory.taken();
        let more = bytes.saturating_sub(self.shared_bytes);
        if taken.shared_bytes.saturating_add(more) > parts.shared {
            return 0;
        }
        taken.shared_bytes += more;
        self.shared_bytes += more;
        bytes
    }

    /// Waits for the part for one block. It keeps its share of the shared part, for the stored bytes that it already
    /// holds.
    pub(super) fn wait_to_be_alone(&mut self) {
        if self.is_alone {
            return;
        }
        let mut taken = self.memory.taken();
        while taken.is_alone_taken {
            taken = self.memory.released.wait(taken).expect("a panic ends the process");
        }
        taken.is_alone_taken = true;
        self.is_alone = true;
    }

    /// Releases everything.
    pub(super) fn release(&mut self) {
        if self.shared_bytes == 0 && !self.is_alone {
            return;
        }
        let mut taken = self.memory.taken();
        taken.shared_bytes -= self.shared_bytes;
        taken.is_alone_taken &= !self.is_alone;
        drop(taken);
        if self.is_alone {
            self.memory.released.notify_one();
        }
        (self.shared_bytes, self.is_alone) = (0, false);
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for MemoryShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryShare").field("shared_bytes", &self.shared_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_shared_part_is_never_exceeded_and_comes_back() {
        let memory = DecodeMemory::new(800);
        let [mut first, mut second] = [0, 1].map(|_| MemoryShare::of(Arc::clone(&memory)));
        assert_eq!((first.grow_to(60), second.grow_to(41), second.grow_to(40)), (60, 0, 40));
        assert_eq!((first.grow_to(61), first.grow_to(30)), (0, 30), "less needs no room");
        first.release();
        assert_eq!((second.grow_to(100), second.grow_to(101)), (100, 0));
        drop(second);
        assert_eq!(first.grow_to(100), 100);
    }

    #[test]
    fn one_at_a_time_has_the_rest() {
        let memory = DecodeMemory::new(800);
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mut share = MemoryShare::of(Arc::clone(&memory));
                        share.grow_to(10);
                        share.wait_to_be_alone();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        assert_eq!((share.grow_to(700), share.grow_to(701)), (700, 700));
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let taken = memory.taken();
        assert_eq!((taken.shared_bytes, taken.is_alone_taken), (0, false));
    }
}
