//! `read`, `kafka-store-reader`, `ls` and `verify` on a bucket: the same as on a directory, with few requests, through
//! breaks, and each way to spoil an archive is found.
//!
//! Against the strict fake, by the built binaries.

use crate::support::fake_gcs::{FakeGcs, Fault, Kind, StoredObject};
use crate::support::segments::{OwnedRecord, chain, offset, record, summary, write_summarized};
use kafka_store::avro::{Codec, SegmentHeader};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const BUCKET: &str = "archive";
const PREFIX: &str = "some/prefix";

/// An archive in a directory, and the same in a bucket.
struct Archives {
    fake: FakeGcs,
    local: tempfile::TempDir,
}

fn records(offsets: std::ops::Range<i64>) -> Vec<OwnedRecord> {
    offsets.map(|offset| record(offset, "a value that is not very long")).collect()
}

impl Archives {
    /// Offsets 0 to 39 of a partition in four segments of ten, with an origin; another partition with one of five.
    fn new() -> Archives {
        let archives = Archives { fake: FakeGcs::start(&[BUCKET]), local: tempfile::tempdir().expect("a directory") };
        for start in [0, 10, 20, 30] {
            archives.write("000003", start, &records(start..start + 10), "records");
        }
        archives.write("000004", 0, &records(0..5), "idle");
        let origin = r#"{"format":1,"offset":0,"reason":"earliest"}"#;
        archives.put("~kafka-store/origins/orders/000003", origin.as_bytes(), &[]);
        archives
    }

    fn write(&self, partition: &str, start: i64, records: &[OwnedRecord], reason: &str) {
        let mut summary = summary(records);
        summary.boundaries.segment_records = NonZeroU64::new(10);
        let name = chain("orders", partition).segment(offset(start));
        let path = self.local.path().join(name.to_string());
        let _ = fs::remove_file(&path);
        write_summarized(self.local.path(), &name, Codec::default(), records, &summary);
        let bytes = fs::read(path).expect("read");
        self.put_with_metadata(&name.to_string(), &bytes, reason);
    }

    fn put_with_metadata(&self, name: &str, bytes: &[u8], reason: &str) {
        let header = SegmentHeader::parse(bytes).expect("a header");
        let mut metadata = header.attributes();
        metadata.insert("seal-reason".to_owned(), reason.to_owned());
        let metadata: Vec<(&str, &str)> = metadata.iter().map(|(key, value)| (&**key, &**value)).collect();
        self.put(name, bytes, &metadata);
    }

    /// Into both.
    fn put(&self, name: &str, bytes: &[u8], metadata: &[(&str, &str)]) {
        let path = self.local.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, bytes).expect("written");
        self.fake.put_object(BUCKET, &format!("{PREFIX}/{name}"), bytes, metadata);
    }

    fn object(start: i64) -> String {
        format!("{PREFIX}/orders/000003/{start:020}")
    }

    fn delete(&self, start: i64) {
        self.fake.delete_object(BUCKET, &Archives::object(start));
    }

    fn spoil(&self, start: i64, change: impl FnOnce(&mut StoredObject)) {
        self.fake.spoil_object(BUCKET, &Archives::object(start), change);
    }

    fn url(&self, part: &str) -> String {
        format!("gs://{BUCKET}/{PREFIX}/{part}").trim_end_matches('/').to_owned()
    }

    fn command(&self, binary: &str, args: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command.args(args).env("STORAGE_EMULATOR_HOST", self.fake.address());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_kafka-store"), args).output().expect("it runs")
    }

    /// What a command prints; it must be all right.
    #[track_caller]
    fn printed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn verify(&self, args: &[&str]) -> (Option<i32>, Value) {
        let url = self.url("");
        let output = self.run(&[&["verify", &url, "--json"], args].concat());
        let report = serde_json::from_slice(&output.stdout);
        (output.status.code(), report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
    }

    /// Kind and offset of each problem that is found.
    #[track_caller]
    fn finds(&self, args: &[&str], expected: &[(&str, i64)]) -> Value {
        let (code, report) = self.verify(args);
        let problems = report["problems"].as_array().expect("problems").iter();
        let place = |problem: &Value| -> Option<i64> { problem["location"].as_str()?.rsplit('/').next()?.parse().ok() };
        let found: Vec<(&str, i64)> = problems
            .map(|problem| (problem["kind"].as_str().expect("a text"), place(problem).expect("a segment")))
            .collect();
        assert_eq!(found, expected, "{report:#}");
        assert_eq!(code, Some(if expected.is_empty() { 0 } else { 65 }));
        report
    }
}

fn change_bytes(object: &mut StoredObject, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = object.bytes();
    change(&mut bytes);
    object.content = object.content.slice(0..0);
    object.content.push(bytes.into());
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tree")
}

#[test]
fn every_part_of_a_bucket_reads_as_the_same_part_of_a_directory() {
    let archives = Archives::new();
    for file in ["00000000000000000000", "00000000000000000002"] {
        let bytes = fs::read(golden().join("sample/000000").join(file)).expect("read");
        archives.put(&format!("sample/000000/{file}"), &bytes, &[]);
    }
    for part in ["", "orders", "orders/000003", "sample", "sample/000000", "orders/000003/00000000000000000010"] {
        for window in [&[][..], &["--from-offset", "2", "--to-offset", "15"], &["--from-time", "1700000000012"]] {
            let (url, path) = (archives.url(part), archives.local.path().join(part));
            let expected = archives.printed(&[&["read", path.to_str().expect("UTF-8")], window].concat());
            assert_eq!(archives.printed(&[&["read", &*url], window].concat()), expected, "{part} {window:?}");
        }
    }
    let all = archives.printed(&["read", &archives.url("")]);
    assert_eq!(all.lines().count(), 48);
}

#[test]
fn the_reader_reads_a_bucket_as_it_reads_a_directory() {
    let archives = Archives::new();
    let reader = env!("CARGO_BIN_EXE_kafka-store-reader");
    let first = "orders/000003/00000000000000000010";
    let (url, path) = (archives.url(first), archives.local.path().join(first));
    let output = |args: &[&str]| archives.command(reader, args).output().expect("it runs");
    let expected = output(&["local", path.to_str().expect("UTF-8")]);
    assert_eq!(expected.stdout.split(|byte| *byte == b'\n').count(), 31);
    for args in [&[&*url][..], &["gcs", &*url], &["--parallel", "1", &*url]] {
        let read = output(args);
        assert!(read.stdout == expected.stdout, "{args:?}");
        assert_eq!((read.status.code(), &*read.stderr), (Some(0), &b"Next file not ready."[..]), "{args:?}");
    }
    let wrong = output(&[&archives.url("orders/000003/00000000000000000015")]);
    let stderr = String::from_utf8(wrong.stderr).expect("UTF-8");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr.contains("its offset is in 00000000000000000010"), "{stderr}");
}

#[test]
fn ls_lists_a_bucket_without_asking_for_an_object() {
    let archives = Archives::new();
    let bucket = archives.printed(&["ls", "--json", &archives.url("")]);
    let local = archives.printed(&["ls", "--json", archives.local.path().to_str().expect("UTF-8")]);
    assert_eq!(bucket, local);
    assert_eq!(archives.fake.counts().of(Kind::MetadataGet), 0, "{:?}", archives.fake.counts());
    // The origins of two chains.
    assert_eq!(archives.fake.counts().of(Kind::MediaGet), 2, "{:?}", archives.fake.counts());
    let segments = archives.printed(&["ls", "--json", "--segments", &archives.url("orders/000003")]);
    let first: Value = serde_json::from_str(segments.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["seal_reason"], "records");
    assert!(first["generation"].is_i64() && first["crc32c"].is_string() && first["md5"].is_string(), "{first}");
    let table = archives.printed(&["ls", &archives.url("")]);
    assert!(table.contains("orders/000003         4      0    39       40"), "{table}");
}

#[test]
fn a_window_of_times_asks_only_for_what_may_be_in_it() {
    let archives = Archives::new();
    let url = archives.url("orders/000003");
    let lines = archives.printed(&["read", &url, "--from-time", "1700000000020", "--to-time", "1700000000030"]);
    assert_eq!(lines.lines().count(), 10);
    assert_eq!(archives.fake.counts().of(Kind::MediaGet), 1, "{:?}", archives.fake.counts());
}

#[test]
fn what_breaks_on_the_way_is_gone_on_with() {
    let archives = Archives::new();
    let expected = archives.printed(&["read", &archives.url("")]);
    for fault in [Fault::BreakMedia(2_100), Fault::Reset, Fault::Answer(503), Fault::DropAnswer] {
        archives.fake.arm(&[Kind::MediaGet], fault);
        assert_eq!(archives.printed(&["read", &archives.url("")]), expected, "{fault:?}");
        archives.fake.arm(&[Kind::List], fault);
        archives.finds(&["--deep"], &[]);
    }
    assert_eq!(archives.fake.violations(), [""; 0]);
}

#[test]
fn a_whole_archive_verifies_at_every_level_also_against_its_mirror() {
    let archives = Archives::new();
    archives.fake.set(|settings| settings.page_limit = 2);
    let mirror = archives.local.path().to_str().expect("UTF-8");
    for args in [&[][..], &["--deep"], &["--sample", "50%"], &["--mirror", mirror], &["--deep", "--mirror", mirror]] {
        let report = archives.finds(args, &[]);
        assert_eq!(report["notes"], serde_json::json!([]));
    }
    // And the directory against the bucket.
    let url = archives.url("");
    let output = archives.run(&["verify", mirror, "--deep", "--mirror", &url]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_flipped_bit_is_found() {
    let archives = Archives::new();
    let mirror = archives.local.path().to_str().expect("UTF-8");
    let length = fs::metadata(archives.local.path().join("orders/000003/00000000000000000020")).expect("there").len();
    for position in [1_900, 2_048, 2_102, usize::try_from(length).expect("small") - 1] {
        let mut whole = None;
        archives.spoil(20, |object| {
            whole = Some(object.clone());
            change_bytes(object, |bytes| bytes[position] ^= 4);
        });
        let (code, report) = archives.verify(&["--deep"]);
        assert_eq!(code, Some(65), "byte {position}: {report:#}");
        assert_eq!(report["problems"].as_array().map(Vec::len), Some(1), "byte {position}: {report:#}");
        archives.spoil(20, |object| *object = whole.expect("it was there"));
    }
    // With checksums and all, as somebody who copies damaged bytes does it: quick sees it by the mirror.
    let mut bytes = fs::read(archives.local.path().join("orders/000003/00000000000000000020")).expect("read");
    bytes[2_102] ^= 4;
    let header = SegmentHeader::parse(&bytes).expect("a header").attributes();
    let metadata: Vec<(&str, &str)> = header.iter().map(|(key, value)| (&**key, &**value)).collect();
    archives.fake.put_object(BUCKET, &Archives::object(20), &bytes, &metadata);
    archives.finds(&["--deep"], &[("damaged", 20)]);
    archives.finds(&["--deep", "--mirror", mirror], &[("damaged", 20), ("mirror differs", 20)]);
}

#[test]
fn missing_overlapping_pruned_and_swapped_objects_are_found() {
    let archives = Archives::new();
    archives.delete(20);
    archives.finds(&[], &[("missing", 30)]);
    archives.delete(10);
    archives.delete(0);
    let report = archives.finds(&[], &[]);
    assert_eq!(report["chains"][0]["pruned"], serde_json::json!([0, 29]));

    let archives = Archives::new();
    archives.write("000003", 15, &records(15..20), "idle");
    archives.finds(&[], &[("overlap", 15)]);

    let archives = Archives::new();
    let bytes = |start: i64| archives.fake.object(BUCKET, &Archives::object(start)).expect("there").bytes();
    let (first, second) = (bytes(10), bytes(20));
    archives.fake.put_object(BUCKET, &Archives::object(10), &second, &[]);
    archives.fake.put_object(BUCKET, &Archives::object(20), &first, &[]);
    archives.finds(&[], &[("damaged", 10), ("damaged", 20)]);
}

#[test]
fn metadata_that_say_something_else_than_the_header_are_found() {
    let archives = Archives::new();
    // The sum is right, so only the header shows it.
    archives.spoil(10, |object| {
        object.metadata.insert("record-count".to_owned(), "9".to_owned());
        object.metadata.insert("invisible-count".to_owned(), "1".to_owned());
    });
    let report = archives.finds(&[], &[("wrong metadata", 10)]);
    let message = report["problems"][0]["message"].as_str().expect("a text");
    assert!(message.contains("beside the object") && message.contains("in its header"), "{message}");
    archives.spoil(20, |object| drop(object.metadata.remove("content-blake3")));
    archives.finds(&["--deep"], &[("wrong metadata", 10), ("wrong metadata", 20)]);
}

#[test]
fn a_segment_must_end_where_its_reason_says() {
    let archives = Archives::new();
    // Said to be full, and is not: it may be shorter only by the clock.
    archives.delete(30);
    archives.write("000003", 30, &records(30..35), "records");
    archives.finds(&["--deep"], &[("wrong end", 30)]);
    archives.write("000003", 30, &records(30..35), "idle");
    archives.finds(&["--deep"], &[]);
    archives.write("000003", 35, &records(35..36), "age");
    archives.finds(&["--deep"], &[]);
    // Its successor is no hour later.
    archives.write("000003", 36, &records(36..37), "idle");
    archives.finds(&["--deep"], &[("wrong end", 35)]);
    let mut later = records(36..37);
    later[0].timestamp = records(35..36)[0].timestamp + 3_600_000;
    archives.write("000003", 36, &later, "idle");
    archives.finds(&["--deep"], &[]);
}

#[test]
fn a_second_run_asks_for_no_object_again() {
    let archives = Archives::new();
    let state = archives.local.path().join("state.json");
    let state = state.to_str().expect("UTF-8");
    archives.finds(&["--deep", "--state", state], &[]);
    let before = archives.fake.counts().media_bytes_sent;
    archives.finds(&["--deep", "--state", state], &[]);
    let again = archives.fake.counts().media_bytes_sent - before;
    // The fronts alone, and the origin.
    assert!(again <= 5 * 4096 + 1_000, "{again} bytes");
    archives.write("000003", 20, &records(20..30), "records");
    let report = archives.finds(&["--deep", "--state", state], &[]);
    assert_eq!(report["chains"][0]["read_whole"], 4);
}

#[test]
fn a_bucket_is_followed() {
    let archives = Archives::new();
    let url = archives.url("orders/000003");
    let mut command = archives.command(env!("CARGO_BIN_EXE_kafka-store"), &["read", "--follow", &url]);
    let mut child = command.args(["--to-offset", "44"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || -> i64 {
        let line: Value = serde_json::from_str(&lines.next().expect("a line").expect("UTF-8")).expect("JSON");
        line["offset"].as_i64().expect("a number")
    };
    assert_eq!((0..40).map(|_| next()).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
    archives.write("000003", 40, &records(40..50), "records");
    assert_eq!((0..5).map(|_| next()).collect::<Vec<_>>(), (40..45).collect::<Vec<_>>());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn files_are_found_in_a_bucket_that_has_no_index() {
    let archives = Archives::new();
    let found = |args: &[&str]| {
        archives.printed(&[&["find", "orders", "--gcloud-store-url", &archives.url("")], args].concat())
    };
    let one = found(&["3", "--offset", "25", "--json"]);
    let one: Value = serde_json::from_str(&one).expect("one line of JSON");
    assert_eq!((&one["start_offset"], &one["final_offset"]), (&20.into(), &29.into()));
    assert_eq!(found(&["--offset", "3"]).lines().count(), 2, "one of each partition");
    let output = archives.run(&["find", "orders", "--offset", "3", "--gcloud-store-url", "/archive"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_is_wrong_with_a_location_is_one_clear_line() {
    let archives = Archives::new();
    let said = |args: &[&str]| {
        let output = archives.run(args);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        stderr
    };
    let nowhere = archives.url("nowhere");
    assert!(said(&["ls", &nowhere]).contains("holds no segments"));
    let unknown = said(&["read", "gs://another-bucket/x"]);
    assert!(unknown.contains("is there a bucket another-bucket?"), "{unknown}");
    let file = archives.url("orders/000003/00000000000000000010");
    assert!(said(&["verify", &file]).contains("is a file: give the place"));
    archives.fake.set(|settings| settings.permissions.list = false);
    let forbidden = said(&["ls", &archives.url("")]);
    assert!(forbidden.contains("storage.objects.list"), "{forbidden}");
}

/// A bucket that the original tool filled without a prefix: every name begins with a slash.
#[test]
fn names_with_a_slash_in_front_are_read() {
    let fake = FakeGcs::start(&[BUCKET]);
    for file in ["00000000000000000000", "00000000000000000002"] {
        let mut bytes = Vec::new();
        let path = golden().join("sample/000000").join(file);
        fs::File::open(path).expect("there").read_to_end(&mut bytes).expect("read");
        fake.put_object(BUCKET, &format!("/sample/000000/{file}"), &bytes, &[]);
    }
    for part in ["", "/sample", "/sample/000000"] {
        let output = Command::new(env!("CARGO_BIN_EXE_kafka-store"))
            .args(["read", &format!("gs://{BUCKET}{part}"), "--gcs-endpoint", fake.base_url()])
            .output()
            .expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8(output.stdout).expect("UTF-8").lines().count(), 3, "{part}: {stderr}");
    }
}
