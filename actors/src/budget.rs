//! The bytes that records may take in this process, from when they are encoded until they are on disk.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// One bound for the whole process.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
    waiters: AtomicUsize,
    given_back: (Mutex<()>, Condvar),
}

impl Budget {
    /// A budget of `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Arc<Budget> {
        Arc::new(Budget {
            limit_bytes,
            used_bytes: AtomicU64::new(0),
            waiters: AtomicUsize::new(0),
            given_back: Default::default(),
        })
    }

    /// A share of one partition, empty for now.
    pub fn share(self: &Arc<Budget>, partition: &PartitionUse) -> BudgetShare {
        BudgetShare { bytes: 0, budget: Some((Arc::clone(self), partition.clone())) }
    }

    /// Takes `bytes` for a batch of one partition. It is never refused: whoever takes looks first whether
    /// the budget [is used up](Budget::is_used_up), and may overshoot by one batch.
    pub fn take(self: &Arc<Budget>, bytes: u64, partition: &PartitionUse) -> BudgetShare {
        let mut share = self.share(partition);
        share.set(bytes);
        share
    }

    /// The bound.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// What is taken.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::SeqCst)
    }

    /// Whether nothing should be taken until something is given back.
    pub fn is_used_up(&self) -> bool {
        self.used_bytes() >= self.limit_bytes
    }

    /// Whether so many bytes fit; if nothing is taken at all, any number does.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        let used = self.used_bytes();
        used == 0 || used.saturating_add(bytes) <= self.limit_bytes
    }

    /// Waits until so many bytes fit, at most `timeout`; for the poll thread, never for an actor.
    pub fn wait_for(&self, bytes: u64, timeout: Duration) {
        let (lock, given_back) = &self.given_back;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Before it looks: whoever gives back after that look sees the waiter.
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let waited = given_back.wait_timeout_while(guard, timeout, |()| !self.has_room_for(bytes));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.waiters.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What one partition has taken of the budget.
#[derive(Clone, Debug, Default)]
pub struct PartitionUse(Arc<UseCounts>);

/// Both only grow.
#[derive(Debug, Default)]
struct UseCounts {
    taken: AtomicU64,
    given_back: AtomicU64,
}

impl PartitionUse {
    /// What it has now, in bytes.
    pub fn bytes(&self) -> u64 {
        // In this order: what is given back was taken before.
        let given_back = self.given_back();
        self.0.taken.load(Ordering::Acquire) - given_back
    }

    /// All that it ever gave back, in bytes: as long as it does not change, the partition stands still.
    pub fn given_back(&self) -> u64 {
        self.0.given_back.load(Ordering::Acquire)
    }
}

/// Bytes taken from the budget; dropping it gives them back.
#[derive(Debug, Default)]
pub struct BudgetShare {
    bytes: u64,
    budget: Option<(Arc<Budget>, PartitionUse)>,
}

impl BudgetShare {
    /// Takes more, or gives some back, so that it is `bytes`.
    pub fn set(&mut self, bytes: u64) {
        let Some((budget, partition)) = &self.budget else { return };
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            budget.used_bytes.fetch_add(bytes - before, Ordering::SeqCst);
            partition.0.taken.fetch_add(bytes - before, Ordering::Release);
        } else if bytes < before {
            budget.used_bytes.fetch_sub(before - bytes, Ordering::SeqCst);
            partition.0.given_back.fetch_add(before - bytes, Ordering::Release);
            if budget.waiters.load(Ordering::SeqCst) > 0 {
                // Under the lock, so that it cannot fall between the waiter's look and its sleep.
                let (lock, given_back) = &budget.given_back;
                drop(lock.lock().unwrap_or_else(PoisonError::into_inner));
                given_back.notify_all();
            }
        }
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let budget = Budget::new(100);
        let partition = PartitionUse::default();
        let first = budget.take(60, &partition);
        assert!(!budget.is_used_up());
        let second = budget.take(60, &partition);
        assert!(budget.is_used_up());
        assert_eq!((budget.used_bytes(), partition.bytes()), (120, 120));
        drop(first);
        assert!(!budget.is_used_up());
        drop(second);
        assert_eq!((budget.used_bytes(), partition.bytes()), (0, 0));
    }

    #[test]
    fn a_share_grows_and_shrinks() {
        let budget = Budget::new(100);
        let partition = PartitionUse::default();
        let mut share = budget.share(&partition);
        assert!(budget.has_room_for(1_000), "alone there is room for anything");
        share.set(80);
        assert!(budget.has_room_for(20) && !budget.has_room_for(21));
        share.set(30);
        assert_eq!((budget.used_bytes(), partition.bytes(), partition.given_back()), (30, 30, 50));
        drop(share);
        assert_eq!((budget.used_bytes(), partition.bytes()), (0, 0));
    }

    #[test]
    fn a_waiter_wakes_when_there_is_room() {
        let budget = Budget::new(1);
        let share = budget.take(1, &PartitionUse::default());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| budget.wait_for(1, Duration::from_secs(60)));
            drop(share);
            waiter.join().expect("the waiter does not panic");
        });
        assert!(!budget.is_used_up());
    }
}
