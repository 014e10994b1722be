//! How long to wait before what failed is tried again.

use std::time::Duration;

const FIRST_MS: u64 = 100;
const LONGEST_MS: u64 = 30_000;

/// The wait after `failures` tries have failed: doubling from 100 ms, at most 30 s.
///
/// There is no jitter: what is retried here is one writer's own work, and different partitions fail at
/// different moments.
pub fn delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    Duration::from_millis((FIRST_MS << doublings).min(LONGEST_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit() {
        let waits: Vec<u128> = [1, 2, 3, 9, 10, 1_000_000].map(|failures| delay(failures).as_millis()).into();
        assert_eq!(waits, [100, 200, 400, 25_600, 30_000, 30_000]);
    }
}
