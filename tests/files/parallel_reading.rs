//! Reading on several threads gives what reading on one gives: the same records in the same order, and the same error
//! after them, whatever is wrong with the archive.
//!
//! Random archives are spoiled at random places. A failure prints its seed; `KAFKA_STORE_SEED=…` repeats it.

use crate::support::seed::Chance;
use crate::support::segments::{CODECS, OwnedRecord, chain, offset, record, write_into_archive};
use kafka_store::archive::{
    ArchiveError, ChainReader, ChainStart, Made, OffsetWindow, ReadJob, SegmentContext, Watch, Window, Work,
};
use kafka_store::avro::{DECODE_MEMORY_DEFAULT, Record};
use kafka_store::store::{ArchiveStore, LocalStore};
use kafka_store_statecharts::name::ChainName;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What was read: where each record lies and a part of it, and the words of the error.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    records: Vec<(String, i64, Vec<u8>)>,
    error: Option<String>,
}

/// The records of a piece, which are charged as if they were large: with little memory, each way to give up on decoding
/// them ahead of their time is taken.
#[derive(Debug, Default)]
struct SeenRecords(Vec<(String, i64, Vec<u8>)>);

impl Made for SeenRecords {
    fn memory_bytes(&self) -> u64 {
        1_000 * self.0.len() as u64
    }

    fn most_bytes(&self, _: &Record<'_>) -> u64 {
        100_000
    }
}

fn seen_of(context: SegmentContext<'_>, record: &Record<'_>) -> (String, i64, Vec<u8>) {
    let value = record.fields.value.unwrap_or_default();
    (context.name.to_string(), record.fields.offset.get(), value[..value.len().min(20)].to_vec())
}

fn text_of(error: &ArchiveError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl Watch for Counted {
    fn begin(&self, _: Work) {}

    fn advance(&self, done: u64) {
        self.0.fetch_add(done, Ordering::Relaxed);
    }
}

fn store(root: &Path) -> Arc<dyn ArchiveStore> {
    Arc::new(LocalStore::open_read_only(root).expect("opens"))
}

fn on_one_thread(root: &Path, chains: &[ChainName], window: OffsetWindow) -> Seen {
    let mut seen = Seen::default();
    for chain in chains {
        let mut reader = ChainReader::new(store(root), chain.clone(), window).expect("listed");
        let read = reader.for_each_record(|context, record| {
            seen.records.push(seen_of(context, record));
            Ok::<(), ArchiveError>(())
        });
        if let Err(error) = read {
            seen.error = Some(text_of(&error));
            break;
        }
    }
    seen
}

fn on_threads(root: &Path, chains: &[ChainName], offsets: OffsetWindow, threads: usize, memory_limit: u64) -> Seen {
    let mut seen = Seen::default();
    let (source, watch, stop) = (store(root), Counted::default(), AtomicBool::new(false));
    let chains = chains.iter().map(|chain| ChainStart { chain: chain.clone(), before: None }).collect();
    let window = Window { offsets, ..Window::default() };
    let job = ReadJob { source: &source, chains, window, threads, memory_limit, stop: &stop, watch: &watch };
    let read = job.run(
        |context, record, made: &mut SeenRecords| made.0.push(seen_of(context, record)),
        |made| {
            seen.records.append(&mut made.0);
            Ok::<(), ArchiveError>(())
        },
    );
    seen.error = read.err().map(|error| text_of(&error));
    seen
}

/// Three chains of segments with blocks of all kinds: many small records, and one that is larger than a block.
fn archive(chance: &mut Chance) -> (tempfile::TempDir, Vec<ChainName>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let chains = ["000000", "000001", "000001~2"].map(|partition| chain("t", partition));
    for chain in &chains {
        let mut next = 0;
        for _ in 0..1 + chance.below(4) {
            let mut records: Vec<OwnedRecord> = Vec::new();
            let start = next;
            for _ in 0..1 + chance.below(900) {
                next += i64::from(chance.below(8) == 0);
                let length = if chance.below(300) == 0 { 100_000 } else { 200 + chance.below(500) } as usize;
                let mut record = record(next, "");
                record.value = Some(chance.bytes(length));
                records.push(record);
                next += 1;
            }
            let (_, codec) = CODECS[chance.below(4) as usize];
            write_into_archive(directory.path(), &chain.segment(offset(start)), codec, &records);
        }
    }
    (directory, chains.into())
}

fn files(root: &Path, chains: &[ChainName]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = chains
        .iter()
        .flat_map(|chain| fs::read_dir(root.join(chain.to_string())).expect("a directory"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

/// Does something to the archive, or nothing.
fn spoil(chance: &mut Chance, root: &Path, chains: &[ChainName]) {
    let files = files(root, chains);
    let file = &files[chance.below(files.len() as u64) as usize];
    let mut bytes = fs::read(file).expect("read");
    let place = chance.below(bytes.len() as u64) as usize;
    match chance.below(6) {
        0 => fs::remove_file(file).expect("removed"),
        1 => {
            bytes[place] ^= 1 << chance.below(8);
            fs::write(file, bytes).expect("written");
        }
        2 => {
            bytes.truncate(place);
            fs::write(file, bytes).expect("written");
        }
        3 => {
            let other = &files[chance.below(files.len() as u64) as usize];
            fs::write(file, fs::read(other).expect("read")).expect("written");
        }
        4 => {
            let start: i64 = file.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a name");
            let copy = file.with_file_name(format!("{:020}", start + 1));
            fs::copy(file, copy).expect("copied");
        }
        _ => {}
    }
}

#[test]
fn the_same_records_and_the_same_error_as_on_one_thread() {
    let (mut with_error, mut without) = (0, 0);
    let mut chance = Chance::from_seed();
    for round in 0..60 {
        let (directory, chains) = archive(&mut chance);
        spoil(&mut chance, directory.path(), &chains);
        let mut end = || (chance.below(3) == 0).then(|| offset(i64::try_from(chance.below(2_500)).expect("small")));
        let window = OffsetWindow { from: end(), to: end() };
        let expected = on_one_thread(directory.path(), &chains, window);
        // The least of these have no memory for a block that is decoded ahead, or for a few.
        for (threads, limit) in
            [(1, 256_000_000), (2, 256_000_000), (5, 256_000_000), (1, 900_000), (2, 2_000_000), (5, 9_000_000)]
        {
            let seen = on_threads(directory.path(), &chains, window, threads, limit);
            let of = format!("round {round}, {threads} threads, {limit} bytes");
            assert_eq!(seen.error, expected.error, "{of}");
            assert_eq!(seen.records.len(), expected.records.len(), "{of}");
            assert!(seen == expected, "{of}: other records");
        }
        *(if expected.error.is_some() { &mut with_error } else { &mut without }) += 1;
    }
    assert!(with_error > 10 && without > 10, "{with_error} with an error, {without} without");
}

#[test]
fn everything_is_counted_for_the_bar() {
    let mut chance = Chance::fixed(7);
    let (directory, chains) = archive(&mut chance);
    let (source, watch, stop) = (store(directory.path()), Counted::default(), AtomicBool::new(false));
    let starts = chains.iter().map(|chain| ChainStart { chain: chain.clone(), before: None }).collect();
    let job = ReadJob {
        source: &source,
        chains: starts,
        window: Window::default(),
        threads: 2,
        memory_limit: DECODE_MEMORY_DEFAULT,
        stop: &stop,
        watch: &watch,
    };
    let reached = job.run(|_, _, _: &mut ()| {}, |()| Ok::<(), ArchiveError>(())).expect("whole");
    assert_eq!(reached.segments.len(), 3);
    let all: u64 = files(directory.path(), &chains).iter().map(|file| fs::metadata(file).expect("there").len()).sum();
    let counted = watch.0.load(Ordering::Relaxed);
    // Headers and the frames of blocks are not counted: nobody sees that on a bar.
    assert!(counted < all && counted > all * 8 / 10, "{counted} of {all}");
    // Who wants no more is given no more.
    stop.store(true, Ordering::Relaxed);
    let stopped = job.run(|_, _, _: &mut ()| {}, |()| panic!("nothing is taken")).map_err(|error: ArchiveError| error);
    assert!(stopped.expect("no error").is_stopped);
}

/// A huge archive must not be in memory: what is on its way is bounded while nobody takes it.
#[test]
fn what_is_read_ahead_is_bounded() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let name = chain("t", "000000");
    for start in (0..200).step_by(10) {
        let mut chance = Chance::fixed(start);
        let records: Vec<OwnedRecord> = (start..start + 10)
            .map(|number| {
                let mut record = record(i64::try_from(number).expect("small"), "");
                record.value = Some(chance.bytes(1 << 20));
                record
            })
            .collect();
        let segment = name.segment(offset(i64::try_from(start).expect("small")));
        write_into_archive(directory.path(), &segment, CODECS[1].1, &records);
    }
    let (source, watch, stop) = (store(directory.path()), Counted::default(), AtomicBool::new(false));
    let decoded = AtomicU64::new(0);
    let chains = vec![ChainStart { chain: name, before: None }];
    let job = ReadJob {
        source: &source,
        chains,
        window: Window::default(),
        threads: 4,
        memory_limit: DECODE_MEMORY_DEFAULT,
        stop: &stop,
        watch: &watch,
    };
    let (mut taken, mut most) = (0, 0);
    let read = job.run(
        |_, record, made: &mut u64| {
            *made += record.fields.value.map_or(0, <[u8]>::len) as u64;
            decoded.fetch_add(1 << 20, Ordering::Relaxed);
        },
        |made| {
            taken += std::mem::take(made);
            most = most.max(decoded.load(Ordering::Relaxed) - taken);
            Ok::<(), ArchiveError>(())
        },
    );
    read.expect("whole");
    assert_eq!(taken, 200 << 20);
    assert!(most < 64 << 20, "{} MiB were on their way", most >> 20);
}
