//! Memory that commands take to decode: as much as --memory-limit says, whatever a file says.

use crate::support::segments::{
    CODECS, OwnedRecord, as_version_1, bytes_of, chain, offset, record, summary, write_into_archive,
};
use flate2::{Compress, Compression, FlushCompress};
use kafka_store::avro::{Codec, sync_marker};
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::record::encode_long;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// The limit of most tests, and what the program itself may take beside it.
const LIMIT: u64 = 64_000_000;
const BEYOND: u64 = 64 << 20;

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out_bytes: u64,
    said: String,
    /// The most memory that it had at a time.
    peak: u64,
}

impl Ended {
    #[track_caller]
    fn stayed_below(&self, limit: u64) -> &Ended {
        assert!(self.peak > 5_000_000, "not measured: {self:?}");
        assert!(self.peak <= limit + BEYOND, "more than {limit} bytes and 64 MiB: {self:?}");
        self
    }

    #[track_caller]
    fn printed(&self, bytes: usize) -> &Ended {
        assert_eq!((self.code, self.out_bytes), (Some(0), bytes as u64), "{self:?}");
        self
    }

    #[track_caller]
    fn refused(&self, code: i32, words: &[&str]) -> &Ended {
        assert_eq!(self.code, Some(code), "{self:?}");
        words.iter().for_each(|word| assert!(self.said.contains(word), "without {word:?}: {self:?}"));
        self
    }
}

/// The most memory that a process had at a time; `None` at its end.
fn peak(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Runs a command. Its output is read only when its memory has grown no more for a while: until then it reads ahead.
fn run(program: &str, args: &[&str]) -> Ended {
    let mut child = Command::new(program)
        .args(args)
        .env_remove("KAFKA_STORE_MEMORY_LIMIT")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let (mut most, mut grown) = (0, Instant::now());
    while let Some(now) = peak(&child).filter(|_| grown.elapsed() < Duration::from_secs(1)) {
        if now > most {
            (most, grown) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let (mut out, mut buffer) = (child.stdout.take().expect("piped"), vec![0; MIB]);
    let (mut out_bytes, mut said) = (0, String::new());
    loop {
        let count = out.read(&mut buffer).expect("read");
        most = most.max(peak(&child).unwrap_or(0));
        out_bytes += count as u64;
        // What verify finds is on stdout.
        if said.len() < 4096 {
            said.push_str(&String::from_utf8_lossy(&buffer[..count.min(4096)]));
        }
        if count == 0 {
            break;
        }
    }
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
    let code = child.wait().expect("ended").code();
    let ended = Ended { code, out_bytes, said, peak: most };
    println!("{args:?}: VmHWM {} MB, {} bytes of output", ended.peak / 1_000_000, ended.out_bytes);
    ended
}

fn kafka_store(args: &[&str]) -> Ended {
    run(env!("CARGO_BIN_EXE_kafka-store"), args)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn limit(bytes: u64) -> String {
    format!("--memory-limit={bytes}")
}

/// A record of so many bytes, which compress about 100 to 1.
fn large(number: i64, bytes: usize) -> OwnedRecord {
    let mut value = vec![b'a'; bytes];
    let mut noise = number as u64 + 1;
    for byte in value.iter_mut().step_by(150) {
        noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        *byte = b'b' + (noise >> 60) as u8;
    }
    OwnedRecord { value: Some(value), ..record(number, "") }
}

fn segment(partition: &str) -> SegmentName {
    chain("t", partition).segment(offset(0))
}

/// An archive with one file of one record.
fn archive_of(record: OwnedRecord) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_into_archive(directory.path(), &segment("000000"), Codec::default(), &[record]);
    let path = directory.path().join(segment("000000").to_string());
    (directory, path)
}

/// An archive with one file, which has this block, stored as it is.
fn archive_with_block(record_count: i64, said_bytes: usize, stored: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let (directory, name) = (tempfile::tempdir().expect("a temporary directory"), segment("000000"));
    let records = [record(0, "")];
    // Version 1 says nothing of the blocks that is looked at before they are decoded.
    let whole = as_version_1(&bytes_of(&name, Codec::default(), &records, &summary(&records)));
    let path = directory.path().join(name.to_string());
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    let mut front = whole[..4096].to_vec();
    encode_long(record_count, &mut front);
    encode_long(said_bytes as i64, &mut front);
    let mut file = File::create(&path).expect("created");
    [&front[..], stored, &sync_marker(&name)].iter().for_each(|part| file.write_all(part).expect("written"));
    (directory, path)
}

/// A deflate stream of these bytes, then of so many MiB of zeros.
fn deflated(front: &[u8], zeros_mib: usize) -> Vec<u8> {
    let part = |bytes: &[u8], flush| {
        let mut out = Vec::with_capacity(bytes.len() + 1024);
        Compress::new(Compression::best(), false).compress_vec(bytes, &mut out, flush).expect("compressed");
        out
    };
    // Parts that are flushed refer to nothing before them, so that the same can follow itself.
    let zeros = part(&vec![0; MIB], FlushCompress::Sync);
    [part(front, FlushCompress::Sync), zeros.repeat(zeros_mib), part(&[], FlushCompress::Finish)].concat()
}

/// The front of a record with so many headers.
fn front_with_headers(count: i64) -> Vec<u8> {
    // Timestamp 0, no key, no value, offset 0, the type.
    let mut front = vec![0, 0, 0, 0, 2];
    encode_long(count, &mut front);
    front
}

#[test]
fn large_records_of_many_partitions_are_read_in_little_memory() {
    const RECORDS: usize = 10;
    let records: Vec<OwnedRecord> = (0..RECORDS as i64).map(|number| large(number, 10 * MIB)).collect();
    for (codec_name, codec) in CODECS {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let partitions = ["000000", "000001", "000002", "000003"];
        let first = directory.path().join(segment(partitions[0]).to_string());
        for partition in &partitions {
            write_into_archive(directory.path(), &segment(partition), codec, &records);
        }
        println!("{codec_name}");
        let place = text(directory.path());
        let all = partitions.len() * RECORDS * (10 * MIB + 1);
        kafka_store(&["read", place, "--format", "value", "--parallel", "8", &limit(LIMIT)])
            .printed(all)
            .stayed_below(LIMIT);
        if codec_name == "deflate" {
            let default = kafka_store(&["read", place, "--parallel", "8"]);
            assert_eq!(default.stayed_below(256_000_000).code, Some(0), "{default:?}");
            let reader = env!("CARGO_BIN_EXE_kafka-store-reader");
            let read = run(reader, &["local", text(&first), "--parallel", "8", &limit(LIMIT)]);
            assert_eq!(read.stayed_below(LIMIT).code, Some(0), "{read:?}");
        }
        let verified = kafka_store(&["verify", "--deep", place, "--parallel", "8", &limit(LIMIT)]);
        assert_eq!(verified.stayed_below(LIMIT).code, Some(0), "{verified:?}");
    }
}

#[test]
fn a_record_is_read_if_it_fits_alone_and_else_is_refused_with_what_it_needs() {
    let (directory, path) = archive_of(large(0, 50 * MIB));
    kafka_store(&["read", text(&path), "--format", "value", &limit(LIMIT)]).printed(50 * MIB + 1).stayed_below(LIMIT);
    for args in [&["read", "--parallel", "1"][..], &["read"], &["verify", "--deep"]] {
        let code = if args[0] == "read" { 1 } else { 65 };
        let location = if args[0] == "read" { &*path } else { directory.path() };
        let said = [text(&path), "at byte ", "does not fit into memory", "--memory-limit 50000000", "43750000"];
        kafka_store(&[args, &[text(location), &limit(50_000_000)]].concat())
            .refused(code, &said[1..])
            .stayed_below(50_000_000);
    }
}

#[test]
fn headers_take_no_more_memory_than_their_bytes() {
    // 4 million of three bytes each: as structures of 40 bytes they had 160 MB, and 335 MB while they grew.
    const HEADERS: usize = 4 * MIB;
    let stored = deflated(&front_with_headers(HEADERS as i64), 3 * HEADERS / MIB);
    let (_directory, path) = archive_with_block(1, stored.len(), &stored);
    let read = kafka_store(&["read", text(&path), &limit(LIMIT)]);
    // All headers are there; the end of the array is not.
    read.refused(1, &["ends inside a record"]).stayed_below(LIMIT);
    let (_directory, path) = archive_of(OwnedRecord { headers: vec![(Vec::new(), None); MIB], ..record(0, "v") });
    let read = kafka_store(&["read", text(&path), &limit(16_000_000)]);
    assert!(read.stayed_below(16_000_000).code == Some(0) && read.out_bytes > 12 * MIB as u64, "{read:?}");
}

#[test]
fn a_line_that_is_much_longer_than_its_record_is_printed_in_parts() {
    let (_directory, path) = archive_of(OwnedRecord { value: Some(vec![1; 30 * MIB]), ..record(0, "") });
    for format in ["json", "hex"] {
        let read = kafka_store(&["read", text(&path), "--format", format, &limit(LIMIT)]);
        assert!(read.stayed_below(LIMIT).code == Some(0) && read.out_bytes > 90 * MIB as u64, "{read:?}");
    }
}

#[test]
fn two_mib_of_zeros_do_not_become_28_gb() {
    let stored = deflated(&front_with_headers(i64::MAX), 2_047);
    assert!(stored.len() < 3 * MIB, "{}", stored.len());
    let (directory, path) = archive_with_block(1, stored.len(), &stored);
    let words = ["does not fit into memory", "too many decompressed", "give a larger --memory-limit"];
    let place = text(directory.path());
    kafka_store(&["read", text(&path), &limit(LIMIT)])
        .refused(1, &words)
        .refused(1, &[text(&path)])
        .stayed_below(LIMIT);
    kafka_store(&["verify", "--deep", place, &limit(LIMIT)]).refused(65, &words).stayed_below(LIMIT);
    let reader = env!("CARGO_BIN_EXE_kafka-store-reader");
    run(reader, &["local", text(&path), &limit(LIMIT)]).refused(1, &words).stayed_below(LIMIT);
}

#[test]
fn numbers_that_are_lies_take_no_memory_and_are_told_as_such() {
    let (_directory, path) = archive_with_block(1, 2 << 30, &[7; 100]);
    kafka_store(&["read", text(&path), &limit(LIMIT)]).refused(1, &["truncated"]).stayed_below(LIMIT);
    let stored = deflated(&[0; 6], 0);
    let (_directory, path) = archive_with_block(1 << 31, stored.len(), &stored);
    kafka_store(&["read", text(&path), &limit(LIMIT)]).refused(1, &["ends inside a record"]).stayed_below(LIMIT);
}

#[test]
fn the_limit_is_a_size_of_some_use_and_has_a_variable() {
    for (program, args) in [
        (env!("CARGO_BIN_EXE_kafka-store"), &["read", "/nowhere"][..]),
        (env!("CARGO_BIN_EXE_kafka-store"), &["verify", "/nowhere"]),
        (env!("CARGO_BIN_EXE_kafka-store-reader"), &["local", "/nowhere"]),
    ] {
        run(program, &[args, &["--memory-limit", "15M"]].concat()).refused(2, &["at least 16M"]);
        let with_variable = Command::new(program).args(args).env("KAFKA_STORE_MEMORY_LIMIT", "much").output();
        let with_variable = with_variable.expect("started");
        assert_eq!(with_variable.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&with_variable.stderr).contains("is not a size"));
    }
}
