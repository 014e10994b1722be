//! The wait before a failed call is made again: one rule for all of them.

use core::time::Duration;

const FIRST_MS: u64 = 100;
const LONGEST_MS: u64 = 30_000;

/// The wait after `failures` failures in a row: from 100 ms on it doubles, up to 30 s. The last quarter depends on `salt`.
///
/// What failed together, because one broker or bucket was away, must not come back together: callers give the hash of what
/// they retry as salt. It is no chance, so that a simulated run can be repeated.
pub fn delay(failures: u32, salt: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = (FIRST_MS << doublings).min(LONGEST_MS);
    let spread = whole / 4;
    let mixed = mix(salt ^ u64::from(failures).rotate_left(32));
    Duration::from_millis(whole - mixed % (spread + 1))
}

/// A salt from bytes: FNV-1a. Names that differ have salts that differ, nearly always.
pub fn salt(bytes: impl IntoIterator<Item = u8>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.into_iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input reaches every bit of the output.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn waits_double_up_to_thirty_seconds_less_at_most_a_quarter() {
        for (failures, whole) in [(1, 100), (2, 200), (3, 400), (9, 25_600), (10, 30_000), (u32::MAX, 30_000)] {
            for salt in 0..50 {
                let wait = delay(failures, salt).as_millis();
                assert!((whole * 3 / 4..=whole).contains(&wait), "{wait} ms after {failures} failures");
            }
        }
    }

    #[test]
    fn partitions_that_failed_together_wait_differently() {
        let waits: BTreeSet<Duration> = (0..100u64).map(|number| delay(10, salt(number.to_be_bytes()))).collect();
        assert!(waits.len() > 90, "{} different waits of 100", waits.len());
        assert_eq!(delay(4, 7), delay(4, 7));
    }
}
