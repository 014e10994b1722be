//! Reading a chain against the codec's library alone on the same blocks.
//!
//! `cargo bench --bench chain_reading -- [--megabytes N] [--runs N] [--sizes 100,1024,10240] [--codecs …]`
//!
//! For each size of record and each codec a chain is written once, of segments of 64 MB of records. *Alone*
//! decompresses the chain's blocks, which are in memory already, one after the other into one buffer (`null`: copies
//! them).
//! *Decoded* reads the files (they are in the page cache) as `kafka-store read` does and looks at each record; *printed*
//! makes lines of JSON of them, too, which go nowhere. They run in turn, and the medians are printed. Rates are of
//! record bytes, as they are before compression. As a test (`--test`) it is run small.
#![allow(missing_docs, reason = "a program, not a library")]

mod sample;

use kafka_store::archive::{ArchiveError, ChainStart, ReadJob, Watch, Window, Work};
use kafka_store::avro::{BLOCK_RECORD_BYTES, BlockCodec, Codec, Compressor, SegmentSummary, SegmentWriter};
use kafka_store::avro::{DECODE_MEMORY_DEFAULT, StoredBlocks, TimestampRange};
use kafka_store::cli::{GcsArgs, IndexArgs};
use kafka_store::commands::read::{Format, ReadArgs, print};
use kafka_store::commands::{MemoryArgs, WindowArgs};
use kafka_store::page_cache::PageCache;
use kafka_store::store::{ArchiveStore, LocalStore};
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use std::fs::{self, File};
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

const SEGMENT_BYTES: u64 = 64_000_000;

struct Options {
    megabytes: u64,
    runs: usize,
    sizes: Vec<usize>,
    codecs: Vec<Codec>,
}

impl Options {
    fn parse(args: &[String]) -> Options {
        let is_test = args.iter().any(|arg| arg == "--test") || !args.iter().any(|arg| arg == "--bench");
        let value = |name: &str, default: &str, in_test: &str| -> String {
            let at = args.iter().position(|arg| arg == name);
            let given = at.map(|at| args.get(at + 1).unwrap_or_else(|| panic!("{name} needs a value")).clone());
            given.unwrap_or_else(|| if is_test { in_test } else { default }.to_owned())
        };
        let number = |text: &str| -> u64 { text.parse().expect("a number") };
        Options {
            megabytes: number(&value("--megabytes", "512", "2")),
            runs: number(&value("--runs", "5", "1")) as usize,
            sizes: value("--sizes", "100,1024,10240", "1024").split(',').map(|size| number(size) as usize).collect(),
            codecs: value("--codecs", "null,snappy,zstandard,deflate", "null,snappy,zstandard,deflate")
                .split(',')
                .map(|codec| Codec::parse(codec).expect("a codec"))
                .collect(),
        }
    }
}

/// What a run took.
#[derive(Clone, Copy)]
struct Measured {
    wall: f64,
    cpu: f64,
}

#[derive(Debug)]
struct Unwatched;

impl Watch for Unwatched {
    fn begin(&self, _: Work) {}
    fn advance(&self, _: u64) {}
}

fn main() {
    let options = Options::parse(&std::env::args().skip(1).collect::<Vec<_>>());
    println!("| value | codec | contender | MB/s | of alone | CPU s/GB |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for size in &options.sizes {
        for codec in &options.codecs {
            compare(&options, *size, *codec);
        }
    }
}

fn compare(options: &Options, size: usize, codec: Codec) {
    let directory = tempfile::tempdir().expect("a directory");
    let chain = ChainName::parse("bench", "000000").expect("a chain's name");
    let written = write_chain(directory.path(), &chain, codec, size, options.megabytes * 1_000_000);
    let blocks = stored_blocks(directory.path(), &chain);
    let mut runs: [(&str, Vec<Measured>); 5] =
        ["alone", "decoded, 1 thread", "decoded, 2 threads", "printed, 1 thread", "printed, 2 threads"]
            .map(|name| (name, Vec::new()));
    for _ in 0..options.runs {
        runs[0].1.push(measured(|| alone(codec.block_codec(), &blocks)));
        runs[1].1.push(measured(|| decoded(directory.path(), &chain, 1, written.records)));
        runs[2].1.push(measured(|| decoded(directory.path(), &chain, 2, written.records)));
        runs[3].1.push(measured(|| printed(directory.path(), 1)));
        runs[4].1.push(measured(|| printed(directory.path(), 2)));
    }
    let median = |values: &mut dyn Iterator<Item = f64>| {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let wall = |runs: &[Measured]| median(&mut runs.iter().map(|run| run.wall));
    let alone = wall(&runs[0].1);
    for (name, runs) in &runs {
        let (wall, cpu) = (wall(runs), median(&mut runs.iter().map(|run| run.cpu)));
        let bytes = written.bytes as f64;
        let (rate, ratio, cost) = (bytes / wall / 1e6, alone / wall, cpu / bytes * 1e9);
        println!("| {size} B | {} | {name} | {rate:.0} | {ratio:.2} | {cost:.2} |", codec.avro_name());
    }
}

struct Written {
    records: u64,
    bytes: u64,
}

fn write_chain(root: &Path, chain: &ChainName, codec: Codec, size: usize, bytes: u64) -> Written {
    let events = sample::events(size, 100_000_000 / size / 4);
    let mut written = Written { records: 0, bytes: 0 };
    let mut compressor = Compressor::new();
    fs::create_dir_all(root.join(chain.to_string())).expect("a directory");
    while written.bytes < bytes {
        let start = Offset::new(written.records as i64).expect("small");
        let name = chain.segment(start);
        let file = File::options().read(true).write(true).create_new(true).open(root.join(name.to_string()));
        let writer = SegmentWriter::create(file.expect("created"), name, codec, PageCache::Kept, &sample::summary());
        let mut writer = writer.expect("an empty file");
        let (mut block, mut count) = (Vec::new(), 0);
        while writer.record_bytes() + (block.len() as u64) < SEGMENT_BYTES.min(bytes - written.bytes) {
            let event = &events[written.records as usize % events.len()];
            sample::encode(event, Offset::new(written.records as i64).expect("small"), &mut block);
            written.records += 1;
            count += 1;
            if block.len() >= BLOCK_RECORD_BYTES {
                writer.append_block(&mut compressor, &block, count).expect("written");
                block.clear();
                count = 0;
            }
        }
        if count > 0 {
            writer.append_block(&mut compressor, &block, count).expect("written");
        }
        written.bytes += writer.record_bytes();
        let last = Offset::new(written.records as i64 - 1).expect("small");
        writer.seal(&summary(last, start, &events)).expect("sealed");
    }
    written
}

fn summary(last: Offset, start: Offset, events: &[sample::Event]) -> SegmentSummary {
    let timestamp = |offset: Offset| events[offset.get() as usize % events.len()].timestamp;
    let mut timestamps = TimestampRange::new(timestamp(start));
    (start.get()..=last.get()).for_each(|offset| timestamps.include(timestamp(Offset::new(offset).expect("small"))));
    let mut record = Vec::new();
    sample::encode(&events[last.get() as usize % events.len()], last, &mut record);
    let last_record = Some(LastRecord { hash: RecordHash::of(&record), leader_epoch: None });
    SegmentSummary { final_offset: last, timestamps, last_record, ..sample::summary() }
}

/// Every block of the chain as it is stored.
fn stored_blocks(root: &Path, chain: &ChainName) -> Vec<Vec<u8>> {
    let store = LocalStore::open_read_only(root).expect("opens");
    let mut blocks = Vec::new();
    for start in store.segments_from(chain, None).expect("listed") {
        let file = store.open(&chain.segment(start)).expect("opened").expect("there");
        let mut stored = StoredBlocks::new(file, start).expect("a segment");
        let mut block = Vec::new();
        while stored.next_block(&mut block).expect("whole").is_some() {
            blocks.push(block.clone());
        }
    }
    blocks
}

/// The codec's library, as its own documentation says to use it where speed counts.
fn alone(codec: BlockCodec, blocks: &[Vec<u8>]) {
    let mut out = vec![0; 1 << 20];
    match codec {
        BlockCodec::Null => {
            for block in blocks {
                out[..block.len()].copy_from_slice(block);
                black_box(&out);
            }
        }
        BlockCodec::Deflate => {
            let mut context = libdeflater::Decompressor::new();
            for block in blocks {
                black_box(context.deflate_decompress(block, &mut out).expect("deflate"));
            }
        }
        BlockCodec::Snappy => {
            let mut context = snap::raw::Decoder::new();
            for block in blocks {
                black_box(context.decompress(&block[..block.len() - 4], &mut out).expect("snappy"));
            }
        }
        BlockCodec::Zstandard => {
            let mut context = zstd::bulk::Decompressor::new().expect("a context");
            for block in blocks {
                black_box(context.decompress_to_buffer(block, &mut out[..]).expect("zstandard"));
            }
        }
    }
}

fn decoded(root: &Path, chain: &ChainName, threads: usize, records: u64) {
    let source: Arc<dyn ArchiveStore> = Arc::new(LocalStore::open_read_only(root).expect("opens"));
    let chains = vec![ChainStart { chain: chain.clone(), before: None }];
    let stop = AtomicBool::new(false);
    let job = ReadJob {
        source: &source,
        chains,
        window: Window::default(),
        threads,
        memory_limit: DECODE_MEMORY_DEFAULT,
        stop: &stop,
        watch: &Unwatched,
    };
    let mut count = 0;
    let read = job.run(
        |_, record, made: &mut u64| {
            black_box(record);
            *made += 1;
        },
        |made| {
            count += std::mem::take(made);
            Ok::<(), ArchiveError>(())
        },
    );
    read.expect("whole");
    assert_eq!(count, records);
}

fn printed(root: &Path, threads: usize) {
    let window = WindowArgs { parallel: Some(threads), ..WindowArgs::default() };
    let (memory, gcs, index) = (MemoryArgs::default(), GcsArgs::default(), IndexArgs::default());
    let args = ReadArgs { location: root.to_owned(), window, format: Format::Json, follow: false, memory, gcs, index };
    print(&args, io::sink()).expect("whole");
}

fn measured(run: impl FnOnce()) -> Measured {
    let (started, before) = (Instant::now(), cpu_seconds());
    run();
    Measured { wall: started.elapsed().as_secs_f64(), cpu: cpu_seconds() - before }
}

/// User and system time of this process; Linux counts it in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("its account");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}
