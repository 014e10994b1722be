//! Goal: the real actors keep the promise in a world where everything goes wrong. Method: Consumer, writers, Uploaders
//! and Indexer run on one thread in virtual time; Kafka, store, index and spool are played by a seeded simulator that
//! fails, loses answers, is late, lets others write, rebalances and kills. One seed is one run, byte for byte.
//!
//! `KAFKA_STORE_SEED=n` runs one seed and prints what its charts did; `KAFKA_STORE_SEEDS=n` runs so many.

mod sim;

use sim::run::{Outcome, run};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many seeds are run where nobody says how many.
const SEEDS: u64 = 800;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn tell(seed: u64, outcome: &Outcome) -> String {
    let last = outcome.lines.len().saturating_sub(60);
    format!(
        "seed {seed} (KAFKA_STORE_SEED={seed} shows it again):\n{}\n  {}",
        outcome.lines[last..].join("\n"),
        outcome.violations.join("\n  "),
    )
}

#[test]
fn a_seed_is_one_run_byte_for_byte() {
    for seed in [3, 17, 40] {
        let (first, second) = (run(seed), run(seed));
        let differs = first.lines.iter().zip(&second.lines).position(|(first, second)| first != second);
        let line = differs.unwrap_or(first.lines.len().min(second.lines.len()));
        let from = line.saturating_sub(3);
        assert!(
            first.lines == second.lines,
            "seed {seed}: line {line}:\n{:#?}\n{:#?}",
            first.lines.get(from..line + 1),
            second.lines.get(from..line + 1)
        );
        assert!(first.lines.len() > 10, "seed {seed} does next to nothing");
    }
}

#[test]
fn every_record_is_archived_exactly_once_whatever_fails() {
    if let Some(seed) = number("KAFKA_STORE_SEED") {
        let outcome = run(seed);
        println!("{}\n{:#?}", outcome.lines.join("\n"), outcome.seen);
        assert!(outcome.violations.is_empty(), "{}", tell(seed, &outcome));
        return;
    }
    let seeds = number("KAFKA_STORE_SEEDS").unwrap_or(SEEDS);
    let (next, seen, failed) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            let outcome = run(seed);
            if !outcome.violations.is_empty() {
                failed.lock().expect("whole").insert(seed, tell(seed, &outcome));
            }
            for (what, count) in outcome.seen {
                *seen.lock().expect("whole").entry(what).or_insert(0) += count;
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let (seen, failed) = (seen.into_inner().expect("whole"), failed.into_inner().expect("whole"));
    println!("{seeds} seeds: {seen:#?}");
    let seeds_failed: Vec<&u64> = failed.keys().collect();
    assert!(failed.is_empty(), "seeds {seeds_failed:?} failed; {}", failed.values().next().expect("one"));
    if seeds >= SEEDS {
        for what in SOMETIMES {
            assert!(seen.contains_key(what), "in {seeds} seeds it never happened that: {what}");
        }
    }
}

/// What a simulation that proves something has seen.
const SOMETIMES: [&str; 20] = [
    "a sealed segment was discarded",
    "adopted",
    "another writer",
    "calm",
    "commit failed",
    "committed",
    "discarded while committing",
    "drained with segments on their way",
    "frozen",
    "killed",
    "late put",
    "more mail at once than a writer's box holds",
    "own object found",
    "records of a block were set aside",
    "relocated",
    "revoked",
    "revoked and assigned at once",
    "stopped",
    "the Consumer was full",
    "waited for a slot",
];
