//! Chance that can be repeated.

/// A generator (SplitMix64) whose seed is printed, so that a failure shows it.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// From `KAFKA_STORE_SEED`, or from the clock.
    pub(crate) fn from_seed() -> Chance {
        let seed = match std::env::var("KAFKA_STORE_SEED") {
            Ok(text) => text.parse().expect("KAFKA_STORE_SEED is a number"),
            Err(_) => u64::from(std::process::id()) ^ nanoseconds_now(),
        };
        println!("KAFKA_STORE_SEED={seed}");
        Chance(seed)
    }

    /// One that depends on nothing.
    pub(crate) fn fixed(seed: u64) -> Chance {
        Chance(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Bytes that no codec makes smaller.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

fn nanoseconds_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    now.as_secs().wrapping_mul(1_000_000_000).wrapping_add(u64::from(now.subsec_nanos()))
}
