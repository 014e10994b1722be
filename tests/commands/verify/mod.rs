//! `kafka-store verify` on a directory: what is whole passes, and each way to spoil an archive is found.
//!
//! Every archive here is whole at first (one test says so), so what is found is what the test did to it.

mod flips;
mod missing;

use crate::support::segments::{OwnedRecord, as_version_1, bytes_of, chain, offset, record, summary, write_summarized};
use kafka_store::avro::{Codec, SegmentSummary};
use kafka_store_statecharts::name::SegmentName;
use serde_json::Value;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Output of `kafka-store verify`.
#[derive(Debug)]
struct Verified {
    code: Option<i32>,
    stderr: String,
    report: Value,
}

fn verify(location: &Path, args: &[&str]) -> Verified {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
    let output = command.arg("verify").arg(location).arg("--json").args(args).output().expect("it runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Verified { code: output.status.code(), stderr: String::from_utf8(output.stderr).expect("UTF-8"), report }
}

impl Verified {
    /// Kind and last part of the location of each problem.
    fn problems(&self) -> Vec<(String, String)> {
        let text = |problem: &Value, key: &str| problem[key].as_str().expect("a text").to_owned();
        let name = |problem| text(problem, "location").rsplit('/').next().expect("a part").to_owned();
        let problems = self.report["problems"].as_array().unwrap_or_else(|| panic!("no report: {self:?}"));
        problems.iter().map(|problem| (text(problem, "kind"), name(problem))).collect()
    }

    #[track_caller]
    fn finds(&self, expected: &[(&str, i64)]) {
        let expected: Vec<_> =
            expected.iter().map(|(kind, start)| ((*kind).to_owned(), format!("{start:020}"))).collect();
        assert_eq!(self.problems(), expected, "{:#}", self.report);
        assert_eq!(self.code, Some(if expected.is_empty() { 0 } else { 65 }));
    }

    fn notes(&self) -> String {
        self.report["notes"].to_string()
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tree")
}

/// Settings under which ten records are a segment.
fn ten_records(records: &[OwnedRecord]) -> SegmentSummary {
    let mut summary = summary(records);
    summary.boundaries.segment_records = NonZeroU64::new(10);
    summary.cluster_id = Some("a-cluster".to_owned());
    summary
}

/// The header of each segment here.
const HEADER_BYTES: usize = 2048;

fn records(offsets: std::ops::Range<i64>) -> Vec<OwnedRecord> {
    offsets.map(|offset| record(offset, "a value that is not very long")).collect()
}

/// An archive of one partition: the offsets from 0 to 39 in four segments, with an origin.
struct Archive(tempfile::TempDir);

impl Archive {
    fn new() -> Archive {
        let archive = Archive(tempfile::tempdir().expect("a temporary directory"));
        for start in [0, 10, 20, 30] {
            archive.write(start, &records(start..start + 10));
        }
        let origin = archive.path().join("~kafka-store/origins/orders/000003");
        fs::create_dir_all(origin.parent().expect("a folder")).expect("created");
        let text = r#"{"format":1,"offset":0,"reason":"earliest","cluster_id":"a-cluster"}"#;
        fs::write(origin, text).expect("written");
        archive
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn name(start: i64) -> SegmentName {
        chain("orders", "000003").segment(offset(start))
    }

    fn file(&self, start: i64) -> PathBuf {
        self.path().join(Archive::name(start).to_string())
    }

    fn write(&self, start: i64, records: &[OwnedRecord]) {
        self.write_with(start, records, &ten_records(records));
    }

    fn write_with(&self, start: i64, records: &[OwnedRecord], summary: &SegmentSummary) {
        let _ = fs::remove_file(self.file(start));
        write_summarized(self.path(), &Archive::name(start), Codec::default(), records, summary);
    }

    fn remove(&self, start: i64) {
        fs::remove_file(self.file(start)).expect("removed");
    }

    fn change(&self, start: i64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.file(start)).expect("read");
        change(&mut bytes);
        fs::write(self.file(start), bytes).expect("written");
    }

    fn quick(&self) -> Verified {
        verify(self.path(), &[])
    }

    fn deep(&self) -> Verified {
        verify(self.path(), &["--deep"])
    }
}

#[test]
fn a_whole_archive_has_no_problems_at_any_level() {
    let archive = Archive::new();
    for part in ["", "orders", "orders/000003"] {
        for depth in ["--quick", "--deep", "--sample=50%"] {
            let verified = verify(&archive.path().join(part), &[depth]);
            verified.finds(&[]);
            assert_eq!(verified.notes(), "[]");
            assert_eq!(verified.report["chains"][0]["record_count"], 40);
            assert_eq!(verified.report["chains"][0]["next_offset"], 40);
        }
    }
    assert_eq!(archive.deep().report["chains"][0]["read_whole"], 4);
    assert_eq!(archive.quick().report["chains"][0]["read_whole"], 0);
}

#[test]
fn the_golden_archive_of_the_original_verifies() {
    let deep = verify(&golden(), &["--deep"]);
    deep.finds(&[]);
    assert_eq!(deep.report["chains"].as_array().expect("chains").len(), 12);
    let quick = verify(&golden(), &[]);
    quick.finds(&[]);
    assert!(quick.notes().contains("28 files of the original tool do not say where they end"), "{}", quick.notes());
}

/// In each part of the file: in the header, in a block's numbers, in its data, in its sync marker.
#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let archive = Archive::new();
    let whole = fs::read(archive.file(10)).expect("read");
    for position in [
        5,
        700,
        HEADER_BYTES - 30,
        HEADER_BYTES,
        HEADER_BYTES + 4,
        HEADER_BYTES + 54,
        whole.len() - 20,
        whole.len() - 1,
    ] {
        archive.change(10, |bytes| bytes[position] ^= 0x10);
        let deep = archive.deep();
        let kinds: Vec<String> = deep.problems().into_iter().map(|(kind, _)| kind).collect();
        assert!(
            matches!(kinds.iter().map(String::as_str).collect::<Vec<_>>()[..], ["damaged" | "truncated"]),
            "byte {position}: {:#}",
            deep.report
        );
        assert_eq!(deep.code, Some(65));
        fs::write(archive.file(10), &whole).expect("written");
    }
    // What quick looks at, it finds: the header and the end.
    for position in [5, whole.len() - 1] {
        archive.change(10, |bytes| bytes[position] ^= 0x10);
        assert_eq!(archive.quick().code, Some(65), "byte {position}");
        fs::write(archive.file(10), &whole).expect("written");
    }
    archive.deep().finds(&[]);
}

#[test]
fn a_missing_object_in_the_middle_is_a_hole_and_a_missing_front_is_pruned() {
    let archive = Archive::new();
    archive.remove(20);
    archive.quick().finds(&[("missing", 30)]);
    let message = archive.quick().report["problems"][0]["message"].to_string();
    assert!(message.contains("20 to 29") && message.contains("orders/000003/00000000000000000020"), "{message}");
    archive.remove(0);
    archive.remove(10);
    let pruned = archive.quick();
    pruned.finds(&[]);
    assert_eq!(pruned.report["chains"][0]["pruned"], serde_json::json!([0, 29]));
    assert!(pruned.notes().contains("orders/000003 is pruned: it began at 0"), "{}", pruned.notes());
}

#[test]
fn overlapping_names_and_what_lies_before_the_origin_are_found() {
    let archive = Archive::new();
    archive.write(15, &records(15..20));
    archive.quick().finds(&[("overlap", 15)]);
    // It reaches beyond the next name, too.
    archive.write(15, &records(15..25));
    archive.quick().finds(&[("overlap", 15), ("overlap", 20)]);
    archive.remove(15);
    let origin = archive.path().join("~kafka-store/origins/orders/000003");
    fs::write(origin, r#"{"format":1,"offset":5,"reason":"earliest","cluster_id":"a-cluster"}"#).expect("written");
    archive.quick().finds(&[("before the origin", 0)]);
}

#[test]
fn a_truncated_file_is_found_at_once() {
    let archive = Archive::new();
    let whole = fs::read(archive.file(20)).expect("read");
    for length in [0, 100, HEADER_BYTES, HEADER_BYTES + 1, whole.len() - 1] {
        archive.change(20, |bytes| bytes.truncate(length));
        archive.quick().finds(&[("truncated", 20)]);
        archive.deep().finds(&[("truncated", 20)]);
        fs::write(archive.file(20), &whole).expect("written");
    }
    // The same where the end looks right.
    archive.change(20, |bytes| drop(bytes.drain(HEADER_BYTES + 20..HEADER_BYTES + 30)));
    archive.quick().finds(&[("truncated", 20)]);
    fs::write(archive.file(20), &whole).expect("written");
    archive.change(20, |bytes| bytes.extend_from_slice(&whole[HEADER_BYTES..]));
    archive.quick().finds(&[("damaged", 20)]);
    archive.deep().finds(&[("damaged", 20)]);
}

/// They do not say how long they are.
#[test]
fn a_truncated_file_of_version_1_is_found_at_once_and_cut_between_blocks_by_reading_it() {
    let archive = Archive::new();
    for start in [0, 10, 20] {
        archive.change(start, |bytes| *bytes = as_version_1(bytes));
    }
    archive.quick().finds(&[]);
    archive.deep().finds(&[]);
    let whole = fs::read(archive.file(20)).expect("read");
    for length in [0, 100, 4_096, whole.len() - 1] {
        archive.change(20, |bytes| bytes.truncate(length));
        if length != 4_096 {
            archive.quick().finds(&[("truncated", 20)]);
        }
        archive.deep().finds(&[("truncated", 20)]);
        fs::write(archive.file(20), &whole).expect("written");
    }
}

#[test]
fn swapped_and_misplaced_files_are_found() {
    let archive = Archive::new();
    let (first, second) = (archive.file(10), archive.file(20));
    let bytes = [&first, &second].map(|file| fs::read(file).expect("read"));
    fs::write(&first, &bytes[1]).expect("written");
    fs::write(&second, &bytes[0]).expect("written");
    archive.quick().finds(&[("damaged", 10), ("damaged", 20)]);
    let archive = Archive::new();
    let other = archive.path().join("orders/000004");
    fs::create_dir(&other).expect("created");
    fs::copy(archive.file(0), other.join("00000000000000000000")).expect("copied");
    let found = archive.quick();
    found.finds(&[("misplaced", 0)]);
    assert!(found.report["problems"][0]["location"].as_str().expect("a text").contains("000004"));
}

#[test]
fn a_segment_of_another_cluster_topic_or_isolation_is_found() {
    let change = |change: &dyn Fn(&mut SegmentSummary)| {
        let archive = Archive::new();
        let records = records(20..30);
        let mut summary = ten_records(&records);
        change(&mut summary);
        archive.write_with(20, &records, &summary);
        archive.quick().finds(&[("of another source", 20)]);
    };
    change(&|summary| summary.cluster_id = Some("another".to_owned()));
    change(&|summary| summary.isolation = kafka_store::avro::Isolation::ReadUncommitted);
    // All others have none, which says nothing; two different ones do.
    let archive = Archive::new();
    for (start, id) in [(10, 1), (30, 2)] {
        let records = records(start..start + 10);
        let mut summary = ten_records(&records);
        summary.topic_id = kafka_store_statecharts::topic::TopicId::new([id; 16]);
        archive.write_with(start, &records, &summary);
    }
    archive.quick().finds(&[("of another source", 30)]);
}

#[test]
fn a_segment_longer_than_its_settings_say_is_found_by_reading_it() {
    let archive = Archive::new();
    archive.remove(30);
    archive.write(20, &records(20..35));
    archive.quick().finds(&[]);
    let deep = archive.deep();
    deep.finds(&[("wrong end", 20)]);
    let message = deep.report["problems"][0]["message"].to_string();
    assert!(message.contains("records ends it after offset 29, and it goes on with 30"), "{message}");
    // Shorter may be the clock's doing, of which a directory knows nothing.
    archive.write(20, &records(20..23));
    archive.deep().finds(&[]);
    // By size, and by age.
    let long = records(20..25);
    let mut summary = ten_records(&long);
    summary.boundaries.segment_bytes = NonZeroU64::new(50).expect("not zero");
    archive.write_with(20, &long, &summary);
    archive.deep().finds(&[("wrong end", 20)]);
    let mut summary = ten_records(&long);
    summary.boundaries.segment_age_ms = NonZeroU64::new(3).expect("not zero");
    archive.write_with(20, &long, &summary);
    archive.deep().finds(&[("wrong end", 20)]);
}

/// The sum of a header is checked when it is read: whoever spoils a gap or a count spoils the header.
#[test]
fn a_wrong_gap_is_found() {
    let archive = Archive::new();
    let spoil = |from: &[u8], to: &[u8]| {
        archive.change(10, |bytes| {
            let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
            bytes[at..at + to.len()].copy_from_slice(to);
        });
        archive.quick().finds(&[("damaged", 10)]);
    };
    let kept: Vec<OwnedRecord> = records(10..18).into_iter().filter(|record| record.offset != 12).collect();
    let mut with_gap = ten_records(&kept);
    with_gap.gaps = vec![kafka_store_statecharts::gap::Gap {
        offsets: kafka_store_statecharts::offset::OffsetRange::new(offset(12), offset(12)).expect("in order"),
        reason: kafka_store_statecharts::gap::GapReason::Deleted,
    }];
    archive.write_with(10, &kept, &with_gap);
    let noted = archive.quick();
    noted.finds(&[("missing", 20)]);
    assert!(noted.notes().contains("lacks 1 offsets that Kafka had deleted"), "{}", noted.notes());
    spoil(b"12-12:deleted", b"12-13:deleted");
    // The sum is right, and the gap is elsewhere: only the records show it.
    let elsewhere: Vec<OwnedRecord> =
        (10..19).filter(|offset| *offset != 13).map(|offset| record(offset, "v")).collect();
    let mut summary = ten_records(&elsewhere);
    summary.gaps = with_gap.gaps;
    archive.write_with(10, &elsewhere, &summary);
    archive.quick().finds(&[("missing", 20)]);
    archive.deep().finds(&[("missing", 20), ("damaged", 10)]);
}

#[test]
fn files_that_are_none_of_it_are_told_and_are_no_problem() {
    let archive = Archive::new();
    fs::write(archive.path().join("orders/000003/notes.txt"), "").expect("written");
    fs::write(archive.path().join("orders/README"), "").expect("written");
    fs::create_dir(archive.path().join("backup")).expect("created");
    fs::write(archive.path().join("backup/x"), "").expect("written");
    let found = archive.quick();
    found.finds(&[]);
    let expected = ["backup", "orders/000003/notes.txt", "orders/README"];
    let expected: Vec<String> = expected.map(|name| format!("{name} is no part of an archive")).into();
    assert_eq!(found.report["notes"], serde_json::json!(expected));
}

#[test]
fn a_mirror_must_hold_the_same() {
    let (archive, mirror) = (Archive::new(), Archive::new());
    let against = |args: &[&str]| {
        let mirror = mirror.path().to_str().expect("UTF-8");
        verify(archive.path(), &[&["--mirror", mirror], args].concat())
    };
    against(&[]).finds(&[]);
    against(&["--deep"]).finds(&[]);
    mirror.remove(0);
    let later = against(&[]);
    later.finds(&[]);
    assert!(later.notes().contains("begins at 10, later than the archive's"), "{}", later.notes());
    mirror.remove(20);
    against(&[]).finds(&[("not mirrored", 20)]);
    mirror.write(20, &records(20..30));
    // Other bytes of the same length: only reading tells, but for those at the front.
    let noise = |offset: i64| format!("{:x}", (offset as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let long = |offset: i64| record(offset, &(0..100).map(|part| noise(100 * offset + part)).collect::<String>());
    let long: Vec<OwnedRecord> = (30..40).map(long).collect();
    archive.write(30, &long);
    mirror.write(30, &long);
    against(&[]).finds(&[]);
    let last = fs::metadata(mirror.file(30)).expect("there").len() - 30;
    assert!(last > 4_096, "{last}");
    mirror.change(30, |bytes| bytes[usize::try_from(last).expect("small")] ^= 1);
    against(&[]).finds(&[]);
    against(&["--deep"]).finds(&[("mirror differs", 30)]);
    mirror.write(30, &long);
    mirror.write(40, &records(40..50));
    against(&[]).finds(&[("mirror differs", 40)]);
}

#[test]
fn a_sample_is_drawn_the_same_way_again() {
    let archive = Archive::new();
    for start in (40..1_000).step_by(10) {
        archive.write(start, &records(start..start + 10));
    }
    let drawn = |args: &[&str]| {
        let verified = verify(archive.path(), args);
        verified.finds(&[]);
        (verified.report["seed"].as_u64(), verified.report["chains"][0]["read_whole"].as_u64().expect("a number"))
    };
    let (seed, count) = drawn(&["--sample", "20%"]);
    assert!((5..50).contains(&count), "{count} of 100 for 20 %");
    let again = seed.expect("a seed").to_string();
    // Another part of the same draw: the draw is by name, whatever else there is.
    assert_eq!(drawn(&["--sample", "20", "--seed", &again]), (seed, count));
    assert_eq!(drawn(&["--sample", "100%"]).1, 100);
    assert_eq!(drawn(&["--sample", "0%"]).1, 0);
}

#[test]
fn a_second_run_reads_only_what_is_new_changed_or_was_wrong() {
    let archive = Archive::new();
    let state = archive.path().with_extension("state");
    let deep = || verify(archive.path(), &["--deep", "--state", state.to_str().expect("UTF-8")]);
    archive.change(10, |bytes| bytes[HEADER_BYTES + 54] ^= 1);
    deep().finds(&[("damaged", 10)]);
    let remembered = || {
        let text = fs::read_to_string(&state).expect("the state");
        let state: Value = serde_json::from_str(&text).expect("JSON");
        state["segments"].as_object().expect("segments").len()
    };
    assert_eq!(remembered(), 3);
    // What was wrong is read again, and what is right is not: a flip that the state hides proves it.
    let modified = fs::metadata(archive.file(20)).and_then(|file| file.modified()).expect("a time");
    archive.change(20, |bytes| bytes[HEADER_BYTES + 54] ^= 1);
    let set_back = fs::File::options().write(true).open(archive.file(20)).expect("opened");
    set_back.set_modified(modified).expect("set");
    deep().finds(&[("damaged", 10)]);
    // With its time changed, it is read again.
    set_back.set_modified(modified + std::time::Duration::from_secs(1)).expect("set");
    deep().finds(&[("damaged", 10), ("damaged", 20)]);
    archive.write(10, &records(10..20));
    archive.write(20, &records(20..30));
    deep().finds(&[]);
    assert_eq!(remembered(), 4);
    let elsewhere = Archive::new();
    let refused = verify(elsewhere.path(), &["--state", state.to_str().expect("UTF-8")]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("is of the archive"), "{}", refused.stderr);
    fs::write(&state, "something else").expect("written");
    let refused = verify(archive.path(), &["--state", state.to_str().expect("UTF-8")]);
    assert!(refused.stderr.contains("is not a state file"), "{}", refused.stderr);
    fs::remove_file(state).expect("removed");
}

#[test]
fn what_the_original_wrote_after_ours_is_found() {
    let archive = Archive::new();
    fs::copy(golden().join("trimmed/000000/00000000000000000016"), archive.file(40)).expect("copied");
    archive.quick().finds(&[("out of order", 40)]);
}

#[test]
fn people_get_a_table_and_what_is_wrong() {
    let archive = Archive::new();
    archive.remove(20);
    let output = Command::new(env!("CARGO_BIN_EXE_kafka-store")).arg("verify").arg(archive.path()).output();
    let output = output.expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.starts_with("PARTITION      SEGMENTS  FIRST  NEXT  RECORDS"), "{text}");
    assert!(text.contains("00000000000000000030: missing: the offsets 20 to 29"), "{text}");
    assert!(text.ends_with("verified: their headers and ends\n1 problem\n"), "{text}");
    assert_eq!(output.stderr, b"", "without a terminal there is no bar");
    let wrong = verify(&archive.path().join("nowhere"), &[]);
    assert_eq!((wrong.code, wrong.stderr.lines().count()), (Some(1), 1), "{}", wrong.stderr);
    let both = verify(archive.path(), &["--quick", "--deep"]);
    assert_eq!(both.code, Some(2), "{}", both.stderr);
    let percent = verify(archive.path(), &["--sample", "101%"]);
    assert!(percent.stderr.contains("a percentage from 0 to 100"), "{}", percent.stderr);
}

/// The bytes that tests write are those that `docs/format.md` tells.
#[test]
fn what_is_spoiled_here_was_whole() {
    let records = records(0..10);
    let name = Archive::name(0);
    let bytes = bytes_of(&name, Codec::default(), &records, &ten_records(&records));
    assert_eq!(fs::read(Archive::new().file(0)).expect("read"), bytes);
}
