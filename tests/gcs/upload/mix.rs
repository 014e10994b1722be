//! Faults by chance.

use super::{Gcs, MIB};
use crate::support::fake_gcs::{After, Fault, Kind};
use crate::support::seed;
use kafka_store::chance::Chance;
use std::sync::Arc;
use std::time::Duration;

/// Several uploads at a time, while anything goes wrong that can: all of them end, with their very bytes, once.
///
/// But for a session that claims more than was sent: with a time-out this short the client may be gone before the claim
/// reaches it, and rightly goes on by what it is told then. That fault has a test of its own.
#[test]
fn any_mix_of_faults_ends_well() {
    let mut chance = seed::Chance::from_seed();
    let mut fired = 0;
    for round in 0..4 {
        let gcs = Gcs::start();
        let seed = chance.below(u64::MAX);
        let store = gcs.store_with(|settings| {
            settings.chunk_bytes = [None, Some(256 << 10), Some(1 << 20)][round % 3];
            settings.idle_timeout = Duration::from_millis(400);
            settings.jitter = Arc::new(Chance::from_seed(seed));
        });
        let files: Vec<_> = (0..6).map(|start| gcs.segment(start, 2 * MIB + start as usize * 1000)).collect();
        let data = [Kind::DataPut];
        gcs.fake.faults(|faults| {
            for (number, (kinds, fault, per_mille)) in [
                (Kind::UPLOAD, Fault::Reset, 60),
                (Kind::UPLOAD, Fault::Answer(503), 60),
                (Kind::UPLOAD, Fault::Answer(429), 20),
                (Kind::SESSION, Fault::Answer(408), 40),
                (Kind::SESSION, Fault::SessionGone, 10),
                (&data, Fault::ResetAfter(After::Request(200_000)), 60),
                (&data, Fault::AnswerAfter(After::Request(256 << 10), 503), 40),
                (&data, Fault::StallAfter(After::Request(100_000)), 10),
                (&data, Fault::NoRange, 40),
                (Kind::UPLOAD, Fault::DropAnswer, 60),
                (Kind::SESSION, Fault::DropFinalAnswer, 100),
                (Kind::SESSION, Fault::GarbledFinal, 60),
                (Kind::SESSION, Fault::WrongFinalCrc32c, 30),
                (&[Kind::MetadataGet], Fault::Answer(503), 60),
            ]
            .into_iter()
            .enumerate()
            {
                faults.arm_chance(kinds, fault, per_mille, seed.wrapping_add(number as u64));
            }
        });
        std::thread::scope(|scope| {
            for file in &files {
                scope.spawn(|| {
                    let stat = gcs.store_patiently(&store, file);
                    gcs.check_stored(file, &stat);
                });
            }
        });
        let faults = gcs.fake.faults(|faults| faults.fired().len());
        println!("round {round}: {faults} faults");
        fired += faults;
    }
    // Not of each round: six files that are sent whole are few requests, and one time in a hundred nothing befalls them.
    // With the round in small pieces, of fifty requests at least, it is less than one in a hundred million.
    assert!(fired > 0, "a test without faults shows nothing");
}
