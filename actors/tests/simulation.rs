//! Goal: the real actors keep the promise in a world where everything goes wrong. Method: Consumer, writers, Uploaders
//! and Indexer run on one thread in virtual time; Kafka, store, index and spool are played by a seeded simulator that
//! fails, loses answers, is late, lets others write, rebalances and kills. One seed is one run, byte for byte.
//!
//! `KAFKA_STORE_SEED=n` runs one seed and prints what its charts did; `KAFKA_STORE_SEEDS=n` runs so many.

mod sim;

use kafka_store_statecharts::assignment::Assignment;
use kafka_store_statecharts::chart::{Chart, Kind};
use kafka_store_statecharts::failure::Port;
use kafka_store_statecharts::partition::Partition;
use kafka_store_statecharts::segment::{Segment, SegmentStateKind};
use sim::outages::pairs;
use sim::run::{Outcome, run, run_world};
use sim::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many seeds are run where nobody says how many.
const SEEDS: u64 = 2_000;
/// And how many of a crowd.
const CROWDED_SEEDS: u64 = 12;

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
fn the_same_records_give_the_same_chain_whatever_happens_meanwhile() {
    let mut changes = 0;
    for seed in 0..12 {
        let first = run_world(World::of_records_alone(seed, 1));
        assert!(first.violations.is_empty(), "{}", tell(seed, &first));
        for course in 2..5 {
            let other = run_world(World::of_records_alone(seed, course));
            assert!(other.violations.is_empty(), "course {course}, {}", tell(seed, &other));
            assert_eq!(first.chains, other.chains, "seed {seed}: course {course} gave another chain");
            changes += usize::from(first.lines != other.lines);
        }
    }
    assert!(changes > 30, "the courses are all the same");
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
    let (taken, met) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeMap::new()));
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
            taken.lock().expect("whole").extend(outcome.taken);
            for (what, count) in outcome.met {
                *met.lock().expect("whole").entry(what).or_insert(0_u64) += count;
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
    let met = met.into_inner().expect("whole");
    println!("{seeds} seeds: {seen:#?}");
    for ((port, kind, state), count) in &met {
        println!("a failure of {} that {kind} met {state} {count} times", port.as_str());
    }
    let seeds_failed: Vec<&u64> = failed.keys().collect();
    assert!(failed.is_empty(), "seeds {seeds_failed:?} failed; {}", failed.values().next().expect("one"));
    if seeds >= SEEDS {
        for what in SOMETIMES {
            assert!(seen.contains_key(what), "in {seeds} seeds it never happened that: {what}");
        }
        let taken = taken.into_inner().expect("whole");
        let mut all = rows::<Segment>(SegmentStateKind::path);
        all.extend(rows::<Partition>(|state| state.as_str()));
        all.extend(rows::<Assignment>(|state| state.as_str()));
        let never: Vec<&String> = all.difference(&taken).filter(|row| !RARE.contains(&row.as_str())).collect();
        assert!(never.is_empty(), "in {seeds} seeds never taken: {never:#?}");
        let apart = |(port, kind, state): &(Port, &str, &str)| {
            CANNOT_MEET
                .iter()
                .any(|(ports, kinds, states, _)| ports.contains(port) && kinds.contains(kind) && states.contains(state))
        };
        let is_rare = |pair: &(Port, &str, &str)| seeds < MANY_SEEDS && RARE_MEETINGS.contains(pair);
        let never: Vec<_> = pairs().filter(|pair| !met.contains_key(pair) && !apart(pair) && !is_rare(pair)).collect();
        assert!(never.is_empty(), "in {seeds} seeds these failures never met these states: {never:#?}");
    }
}

/// A topic is deleted while a writer holds its records, and other writers store some of them under other boundaries.
#[test]
fn no_record_that_was_held_is_lost_with_its_topic() {
    let (mut seen, mut taken) = (BTreeMap::new(), BTreeSet::new());
    let seeds = match number("KAFKA_STORE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KAFKA_STORE_SEEDS").unwrap_or(SEEDS) / 4,
    };
    let alone = seeds.end - seeds.start == 1;
    for seed in seeds {
        let outcome = run_world(World::departing(seed));
        assert!(outcome.violations.is_empty(), "departing: {}", tell(seed, &outcome));
        for (what, count) in outcome.seen {
            *seen.entry(what).or_insert(0) += count;
        }
        taken.extend(outcome.taken);
    }
    println!("{seen:#?}");
    for what in ["a sealed segment was read back", "adopted", "another writer, late"] {
        assert!(alone || seen.contains_key(what), "it never happened that: {what}");
    }
}

/// Sixty partitions and a spool of four segments: nobody waits for ever.
#[test]
fn a_spool_of_four_segments_is_enough_for_many_partitions() {
    let mut waited = 0;
    for seed in 0..number("KAFKA_STORE_SEEDS").map_or(CROWDED_SEEDS, |seeds| seeds / 40) {
        let outcome = run_world(World::crowded(seed));
        assert!(outcome.violations.is_empty(), "crowded: {}", tell(seed, &outcome));
        waited += outcome.seen.get("waited for room in the spool").copied().unwrap_or(0);
    }
    println!("{waited} times a partition waited for room");
    assert!(waited > 0);
}

/// The rows of a chart's table that change the state's name, as the log of transitions has them.
fn rows<C: Chart>(name: fn(C::StateKind) -> &'static str) -> BTreeSet<String> {
    let changes = C::TABLE.iter().filter(|row| row.from != row.to);
    changes.map(|row| format!("{}: {} --{}--> {}", C::NAME, name(row.from), row.event.as_str(), name(row.to))).collect()
}

/// Rows that chance has not met in so many seeds, since two rare things would have to happen within milliseconds: the tables'
/// and traces' tests of the charts take them.
const RARE: [&str; 6] = [
    "partition: Relocating --Interrupted--> Retrying",
    "partition: Examining --Interrupted--> Retrying",
    "partition: Relocating --RevokedHolding--> Leaving",
    "partition: Examining --LogUnchanged--> WaitingForSlot",
    "partition: WaitingForSlot --TopicGone--> Departing",
    "partition: WaitingForSpool --TopicGone--> Departing",
];

/// From so many seeds on, the rare meetings too must have happened.
const MANY_SEEDS: u64 = 20_000;
/// Failures that stay, or the spool's, in states that last for milliseconds.
const RARE_MEETINGS: &[(Port, &str, &str)] = &[
    (Port::Commit, "stays", "Examining"),
    (Port::Store, "passes", "Relocating"),
    (Port::Store, "stays", "Relocating"),
    (Port::Store, "stays", "Examining"),
    (Port::Mirrors, "passes", "Relocating"),
    (Port::Mirrors, "stays", "Relocating"),
    (Port::Mirrors, "stays", "Examining"),
    (Port::Mirrors, "stays", "Departing"),
    (Port::Mirrors, "stays", "Revoking"),
    (Port::Index, "stays", "Examining"),
    (Port::Spool, "passes", "Departing"),
    (Port::Spool, "stays", "Departing"),
];

/// Failures and states of a partition that do not meet (a late answer apart, which is void), and why.
type Apart = (&'static [Port], &'static [&'static str], &'static [&'static str], &'static str);

const BOTH: &[&str] = &["passes", "stays"];
const CANNOT_MEET: &[Apart] = &[
    (&Port::ALL, BOTH, &["Doubting", "Retrying", "Frozen", "Gone"], "nothing is asked: answers that are late are void"),
    (
        &[Port::Kafka],
        BOTH,
        &["WaitingForSpool", "Relocating", "Leaving", "Departing", "Revoking"],
        "nothing is fetched, and no chain is located",
    ),
    (
        &[Port::Spool],
        BOTH,
        &["Locating", "WaitingForSpool", "Examining", "Relocating", "Leaving", "Revoking"],
        "no record is buffered",
    ),
    (&[Port::Mirrors], BOTH, &["Locating"], "no segment is on its way"),
];

/// What a simulation that proves something has seen.
const SOMETIMES: [&str; 40] = [
    "a log cut below the chain's end",
    "a log cut beyond the chain",
    "a log did not continue",
    "a sealed segment was discarded",
    "a topic re-created",
    "adopted",
    "an end amid faults",
    "an open segment was cut",
    "an open segment was discarded",
    "another history was accepted",
    "another history was found",
    "another row",
    "another writer",
    "a frozen partition was looked at again",
    "another writer, late",
    "calm",
    "commit failed",
    "committed",
    "discarded while committing",
    "drained with segments on their way",
    "frozen",
    "killed",
    "late put",
    "more mail at once than a writer's box holds",
    "other bytes in a mirror",
    "own object found",
    "records of a block were set aside",
    "records that may be another topic's were refused",
    "records that were read were given up",
    "records that were set aside came back damaged",
    "relocated",
    "retention",
    "retention passed what was read",
    "revoked",
    "revoked and assigned at once",
    "stopped",
    "the Consumer was full",
    "waited for a slot",
    "what was held was fetched again",
    "waited for room in the spool",
];
