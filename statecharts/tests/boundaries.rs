//! Boundaries are a pure function of the records from a segment's start on.
//!
//! Properties over records with times and lengths of every kind: neither batches, nor restarts, nor how
//! much of the log there is yet, move a boundary. A failure prints its seed; `KAFKA_STORE_SEED=…` repeats it.

use core::num::NonZeroU64;
use kafka_store_statecharts::boundary::{BoundaryRule, BoundarySettings, SealReason, Verdict};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::hash::{BuildHasher, RandomState};

/// What the rule reads of a record.
#[derive(Clone, Copy, Debug)]
struct Record {
    canonical_bytes: u64,
    timestamp: i64,
}

/// A sealed segment: the indices of its first record and of the next segment's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sealed {
    start: usize,
    next: usize,
    reason: SealReason,
}

/// Cuts records into segments as a PartitionWriter does, and can be fed bit by bit.
#[derive(Clone)]
struct Cutter {
    settings: BoundarySettings,
    rule: BoundaryRule,
    start: usize,
    position: usize,
    sealed: Vec<Sealed>,
}

impl Cutter {
    fn new(settings: BoundarySettings) -> Cutter {
        Cutter { settings, rule: BoundaryRule::new(settings), start: 0, position: 0, sealed: Vec::new() }
    }

    fn feed(&mut self, batch: &[Record]) {
        for record in batch {
            let before = (self.rule.record_count(), self.rule.record_bytes());
            let mut verdict = self.rule.observe(record.canonical_bytes, record.timestamp);
            if let Verdict::SealBefore(reason) = verdict {
                assert_eq!((self.rule.record_count(), self.rule.record_bytes()), before, "not counted");
                assert!(before.0 > 0, "an empty segment is never sealed");
                self.seal(reason);
                verdict = self.rule.observe(record.canonical_bytes, record.timestamp);
            }
            self.position += 1;
            match verdict {
                Verdict::Keep => {}
                Verdict::SealAfter(reason) => self.seal(reason),
                Verdict::SealBefore(_) => panic!("a segment is sealed before its own first record"),
            }
        }
    }

    fn seal(&mut self, reason: SealReason) {
        self.sealed.push(Sealed { start: self.start, next: self.position, reason });
        self.start = self.position;
        self.rule = BoundaryRule::new(self.settings);
    }
}

fn cut(settings: BoundarySettings, records: &[Record]) -> Vec<Sealed> {
    let mut cutter = Cutter::new(settings);
    cutter.feed(records);
    cutter.sealed
}

fn not_zero(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("not zero")
}

fn settings_of(segment_bytes: u64, segment_age_ms: u64) -> BoundarySettings {
    BoundarySettings {
        segment_bytes: not_zero(segment_bytes),
        segment_records: None,
        segment_age_ms: not_zero(segment_age_ms),
    }
}

/// Log times that grow, with now and then a leap, a wrong time, or no time at all.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let step = prop_oneof![8 => 0..120_000_i64, 1 => -7_200_000..7_200_000_i64, 1 => 0..90_000_000_i64];
    let no_times = vec![0, -1, i64::MIN, i64::MAX, 1_700_000_000, 32_503_680_000_000];
    let wrong = prop_oneof![
        16 => Just(None),
        1 => any::<i64>().prop_map(Some),
        1 => prop::sample::select(no_times).prop_map(Some),
        1 => (1_690_000_000_000..1_710_000_000_000_i64).prop_map(Some),
    ];
    let length = prop_oneof![40 => 10..2_000_u64, 1 => 0..200_000_u64, 1 => any::<u64>()];
    prop::collection::vec((step, wrong, length), 0..400).prop_map(|raw| {
        let mut now = 1_700_000_000_000;
        raw.into_iter()
            .map(|(step, wrong, canonical_bytes)| {
                now += step;
                Record { canonical_bytes, timestamp: wrong.unwrap_or(now) }
            })
            .collect()
    })
}

fn settings() -> impl Strategy<Value = BoundarySettings> {
    let segment_bytes = prop_oneof![4 => 1..100_000_u64, 1 => Just(1), 2 => Just(u64::MAX)];
    let segment_records = prop::option::of(prop_oneof![1..100_u64, Just(u64::MAX)]);
    let segment_age_ms = prop_oneof![6 => 1..10_000_000_u64, 1 => Just(1), 1 => Just(u64::MAX), 1 => 1..u64::MAX];
    (segment_bytes, segment_records, segment_age_ms).prop_map(|(bytes, records, age_ms)| BoundarySettings {
        segment_records: records.map(not_zero),
        ..settings_of(bytes, age_ms)
    })
}

/// The seed comes from outside or from chance, and is printed before anything can fail.
fn config() -> ProptestConfig {
    let given = std::env::var("KAFKA_STORE_SEED").ok();
    let seed = given.map_or_else(|| RandomState::new().hash_one(0), |seed| seed.parse().expect("a number"));
    println!("KAFKA_STORE_SEED={seed}");
    ProptestConfig { rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn batches_do_not_move_a_boundary(
        settings in settings(),
        records in records(),
        splits in prop::collection::vec(0..50_usize, 0..40),
    ) {
        let mut cutter = Cutter::new(settings);
        let mut rest = &records[..];
        for split in splits {
            let (batch, later) = rest.split_at(split.min(rest.len()));
            cutter.feed(batch);
            // Between batches the state may be moved; nothing of it may lie elsewhere.
            cutter = cutter.clone();
            rest = later;
        }
        cutter.feed(rest);
        prop_assert_eq!(cutter.sealed, cut(settings, &records));
    }

    #[test]
    fn a_restart_at_any_segment_start_finds_the_same_boundaries(settings in settings(), records in records()) {
        let sealed = cut(settings, &records);
        for (index, segment) in sealed.iter().enumerate() {
            let again: Vec<Sealed> = cut(settings, &records[segment.next..])
                .into_iter()
                .map(|later| Sealed { start: later.start + segment.next, next: later.next + segment.next, ..later })
                .collect();
            prop_assert_eq!(&again[..], &sealed[index + 1..]);
        }
    }

    #[test]
    fn what_comes_later_does_not_move_a_boundary(
        settings in settings(),
        records in records(),
        seen in any::<prop::sample::Index>(),
    ) {
        let sealed = cut(settings, &records);
        let seen = cut(settings, &records[..seen.index(records.len() + 1)]);
        prop_assert_eq!(&seen[..], &sealed[..seen.len()]);
    }

    #[test]
    fn segments_are_whole_and_sealed_for_their_reason(settings in settings(), records in records()) {
        let mut start = 0;
        for segment in cut(settings, &records) {
            prop_assert_eq!(segment.start, start);
            prop_assert!(segment.next > segment.start);
            let lengths = records[segment.start..segment.next].iter().map(|record| record.canonical_bytes);
            let all_bytes = lengths.clone().fold(0, u64::saturating_add);
            let bytes_but_last = lengths.take(segment.next - segment.start - 1).fold(0, u64::saturating_add);
            let record_count = (segment.next - segment.start) as u64;
            prop_assert!(bytes_but_last < settings.segment_bytes.get(), "it goes on after its size was reached");
            prop_assert!(settings.segment_records.is_none_or(|most| record_count <= most.get()));
            let has_size = all_bytes >= settings.segment_bytes.get();
            let has_records = settings.segment_records.is_some_and(|most| record_count == most.get());
            let expected = match (has_size, has_records) {
                (true, _) => SealReason::Size,
                (false, true) => SealReason::Records,
                (false, false) => SealReason::Age,
            };
            prop_assert_eq!(segment.reason, expected);
            start = segment.next;
        }
    }

    #[test]
    fn any_time_and_any_length_will_do(
        settings in settings(),
        raw in prop::collection::vec((any::<u64>(), any::<i64>()), 0..300),
    ) {
        let records: Vec<Record> =
            raw.into_iter().map(|(canonical_bytes, timestamp)| Record { canonical_bytes, timestamp }).collect();
        cut(settings, &records);
        // Nor does a rule panic whose verdicts nobody heeds.
        let mut rule = BoundaryRule::new(settings);
        for record in &records {
            rule.observe(record.canonical_bytes, record.timestamp);
        }
    }

    #[test]
    fn growing_times_seal_at_age_exactly(
        steps in prop::collection::vec(0..600_000_i64, 1..300),
        age_ms in 600_000..7_200_000_i64,
    ) {
        let mut now = 1_700_000_000_000;
        let records: Vec<Record> = steps
            .into_iter()
            .map(|step| {
                now += step;
                Record { canonical_bytes: 1, timestamp: now }
            })
            .collect();
        let mut expected = Vec::new();
        let mut start = 0;
        for (position, record) in records.iter().enumerate() {
            if record.timestamp - records[start].timestamp >= age_ms {
                expected.push(Sealed { start, next: position, reason: SealReason::Age });
                start = position;
            }
        }
        prop_assert_eq!(cut(settings_of(u64::MAX, age_ms as u64), &records), expected);
    }
}

#[test]
fn a_record_larger_than_a_segment_ends_it() {
    let record = |canonical_bytes| Record { canonical_bytes, timestamp: 1_700_000_000_000 };
    let sealed = cut(settings_of(1_000, 3_600_000), &[record(10), record(5_000), record(5_000), record(10)]);
    let size = |start, next| Sealed { start, next, reason: SealReason::Size };
    assert_eq!(sealed, [size(0, 2), size(2, 3)]);
}

#[test]
fn a_record_can_seal_the_segment_before_it_and_its_own() {
    let small = Record { canonical_bytes: 10, timestamp: 1_700_000_000_000 };
    let large = Record { canonical_bytes: 5_000, timestamp: 1_700_003_600_000 };
    let expected =
        [Sealed { start: 0, next: 1, reason: SealReason::Age }, Sealed { start: 1, next: 2, reason: SealReason::Size }];
    assert_eq!(cut(settings_of(1_000, 3_600_000), &[small, large]), expected);
}

#[test]
fn a_segment_of_one_byte_takes_one_record() {
    let record = |canonical_bytes| Record { canonical_bytes, timestamp: 1_700_000_000_000 };
    let sealed = cut(settings_of(1, u64::MAX), &[record(1), record(u64::MAX), record(7)]);
    assert_eq!(sealed.iter().map(|segment| segment.next).collect::<Vec<_>>(), [1, 2, 3]);
}
