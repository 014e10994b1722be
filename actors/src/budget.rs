//! The bytes that records may take in this process, from when they are encoded until they are on disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// One bound for the whole process.
#[derive(Debug)]
pub struct Budget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
    given_back: (Mutex<()>, Condvar),
}

impl Budget {
    /// A budget of `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Arc<Budget> {
        Arc::new(Budget { limit_bytes, used_bytes: AtomicU64::new(0), given_back: Default::default() })
    }

    /// Takes `bytes` for a batch of one partition. It is never refused: whoever takes looks first whether
    /// the budget [is used up](Budget::is_used_up), and may overshoot by one batch.
    pub fn take(self: &Arc<Budget>, bytes: u64, partition: &PartitionUse) -> BudgetShare {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        partition.0.fetch_add(bytes, Ordering::Relaxed);
        BudgetShare { bytes, budget: Some((Arc::clone(self), partition.clone())) }
    }

    /// The bound.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// What is taken.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Whether nothing should be taken until something is given back.
    pub fn is_used_up(&self) -> bool {
        self.used_bytes() >= self.limit_bytes
    }

    /// Waits until the budget is not used up, at most `timeout`; for the poll thread, never for an actor.
    pub fn wait(&self, timeout: Duration) {
        let (lock, given_back) = &self.given_back;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = given_back.wait_timeout_while(guard, timeout, |()| self.is_used_up());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// What one partition has taken of the budget.
#[derive(Clone, Debug, Default)]
pub struct PartitionUse(Arc<AtomicU64>);

impl PartitionUse {
    /// In bytes.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes taken from the budget; dropping it gives them back.
#[derive(Debug, Default)]
pub struct BudgetShare {
    bytes: u64,
    budget: Option<(Arc<Budget>, PartitionUse)>,
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        if let Some((budget, partition)) = &self.budget {
            partition.0.fetch_sub(self.bytes, Ordering::Relaxed);
            let before = budget.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
            if before >= budget.limit_bytes {
                // Under the lock, so that it cannot fall between the waiter's look and its sleep.
                let (lock, given_back) = &budget.given_back;
                drop(lock.lock().unwrap_or_else(PoisonError::into_inner));
                given_back.notify_all();
            }
        }
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
    fn a_waiter_wakes_when_there_is_room() {
        let budget = Budget::new(1);
        let share = budget.take(1, &PartitionUse::default());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| budget.wait(Duration::from_secs(60)));
            drop(share);
            waiter.join().expect("the waiter does not panic");
        });
        assert!(!budget.is_used_up());
    }
}
