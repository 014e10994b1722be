//! The only random numbers of the process: they spread retries, and decide nothing else.

use crate::store::Draw;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that look random (splitmix64).
#[derive(Debug)]
pub struct Chance(AtomicU64);

impl Chance {
    /// Another sequence in each process.
    pub fn from_system() -> Chance {
        Chance::from_seed(RandomState::new().hash_one(std::process::id()))
    }

    /// The same sequence for the same seed.
    pub fn from_seed(seed: u64) -> Chance {
        Chance(AtomicU64::new(seed))
    }
}

impl Draw for Chance {
    fn draw(&self) -> f64 {
        let mut mixed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // 53 bits, as many as a double holds.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_lie_between_nothing_and_one_and_follow_from_the_seed() {
        let (first, second) = (Chance::from_seed(7), Chance::from_seed(7));
        let draws: Vec<f64> = (0..1000).map(|_| first.draw()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        assert!(draws.iter().any(|draw| *draw < 0.1) && draws.iter().any(|draw| *draw > 0.9));
        assert!(draws.iter().all(|draw| *draw == second.draw()));
    }
}
