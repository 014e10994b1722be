//! `kafka-store read` and the chain reader under it: selection, order, windows, formats, and holes.

use crate::support::segments::{OwnedRecord, chain, offset, record, write_into_archive};
use kafka_store::archive::{ArchiveError, ChainReader, OffsetWindow};
use kafka_store::avro::Codec;
use kafka_store::cli::{GcsArgs, IndexArgs};
use kafka_store::commands::read::{Format, ReadArgs, print};
use kafka_store::commands::{MemoryArgs, WindowArgs};
use kafka_store::store::LocalStore;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn args(path: impl Into<PathBuf>) -> ReadArgs {
    let (window, gcs, index) = (WindowArgs::default(), GcsArgs::default(), IndexArgs::default());
    let memory = MemoryArgs::default();
    ReadArgs { location: path.into(), window, format: Format::Json, follow: false, memory, gcs, index }
}

/// With both ends of a window of offsets.
fn within(from: Option<i64>, to: Option<i64>, args: ReadArgs) -> ReadArgs {
    let window = WindowArgs { from_offset: from.map(offset), to_offset: to.map(offset), ..args.window };
    ReadArgs { window, ..args }
}

/// What is printed, and the error's line.
fn printed(args: &ReadArgs) -> (String, Option<String>) {
    let mut out = Vec::new();
    let error = print(args, &mut out).err().map(|error| error.to_string());
    if let Some(line) = &error {
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    (String::from_utf8(out).expect("UTF-8"), error)
}

/// Topic, partition and offset of each line.
fn places(lines: &str) -> Vec<(String, i64, i64)> {
    let place = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let number = |key: &str| line[key].as_i64().expect("a number");
        (line["topic"].as_str().expect("a text").to_owned(), number("partition"), number("offset"))
    };
    lines.lines().map(place).collect()
}

/// Two topics, three partitions, a later lineage; one partition begins with the original's files.
fn archive() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |topic: &str, partition: &str, offsets: &[i64], start: i64| {
        let records: Vec<OwnedRecord> = offsets.iter().map(|offset| record(*offset, "v")).collect();
        let name = chain(topic, partition).segment(offset(start));
        write_into_archive(directory.path(), &name, Codec::default(), &records);
    };
    let partition = directory.path().join("sample/000000");
    fs::create_dir_all(&partition).expect("created");
    for file in ["00000000000000000000", "00000000000000000002"] {
        fs::copy(golden().join("tree/sample/000000").join(file), partition.join(file)).expect("copied");
    }
    // Offsets 3 and 6 are invisible.
    write("sample", "000000", &[4, 5], 3);
    write("sample", "000000", &[7], 6);
    write("sample", "000010", &[0], 0);
    write("sample", "000010~2", &[1], 1);
    write("000000", "000002", &[9], 9);
    fs::create_dir_all(directory.path().join("~kafka-store/origins")).expect("created");
    directory
}

#[test]
fn an_archive_a_topic_a_partition_and_a_file_are_told_apart() {
    let directory = archive();
    let (lines, error) = printed(&args(directory.path()));
    assert_eq!(error, None);
    let place = |topic: &str, partition, offset| (topic.to_owned(), partition, offset);
    let sample = [0, 1, 2, 4, 5, 7].map(|offset| place("sample", 0, offset));
    let tenth = [place("sample", 10, 0), place("sample", 10, 1)];
    let topic = [&sample[..], &tenth[..]].concat();
    assert_eq!(places(&lines), [&[place("000000", 2, 9)][..], &topic].concat());
    assert_eq!(places(&printed(&args(directory.path().join("sample"))).0), topic);
    assert_eq!(places(&printed(&args(directory.path().join("sample/000000"))).0), sample);
    assert_eq!(places(&printed(&args(directory.path().join("sample/000010~2"))).0), tenth[1..]);
    assert_eq!(places(&printed(&args(directory.path().join("000000"))).0), [place("000000", 2, 9)]);
    let file = directory.path().join("sample/000000/00000000000000000002");
    assert_eq!(places(&printed(&args(file)).0), sample[2..3]);
}

#[test]
fn a_line_of_json_has_everything() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let name = chain("t", "000001").segment(offset(0));
    let mut odd = record(0, "text");
    odd.headers = vec![(b"h".to_vec(), Some(vec![0xff]))];
    odd.key = Some(vec![0xff]);
    write_into_archive(directory.path(), &name, Codec::Null, &[odd]);
    let expected = concat!(
        r#"{"filename": "00000000000000000000", "headers": [["h", {"base64": "/w=="}]], "key_base64": "/w==", "#,
        r#""offset": 0, "partition": 1, "timestamp": 1700000000000, "timestamp_type": "CREATE_TIME", "#,
        r#""topic": "t", "value": "text"}"#,
        "\n"
    );
    assert_eq!(printed(&args(directory.path())), (expected.to_owned(), None));
    // A file alone knows where it belongs, if it is ours.
    let alone = directory.path().join("00000000000000000000");
    fs::copy(directory.path().join(name.to_string()), &alone).expect("copied");
    assert_eq!(printed(&args(&alone)), (expected.to_owned(), None));
    fs::copy(golden().join("tree/sample/000000/00000000000000000000"), &alone).expect("copied");
    let (lines, _) = printed(&args(&alone));
    assert!(lines.contains(r#""partition": null"#) && lines.contains(r#""topic": null"#), "{lines}");
}

#[test]
fn values_and_hexadecimal() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut records = [record(0, "one"), record(1, ""), record(2, "three: more than thirty-two bytes")];
    records[1].value = None;
    records[2].key = Some(b"\x00k".to_vec());
    records[2].headers = vec![(b"h".to_vec(), None)];
    write_into_archive(directory.path(), &chain("t", "000000").segment(offset(0)), Codec::Null, &records);
    let format = |format| printed(&ReadArgs { format, ..args(directory.path()) }).0;
    assert_eq!(format(Format::Value), "one\n\nthree: more than thirty-two bytes\n");
    let expected = "\
t/000000 0
  key null
  value 3 bytes
    6f6e65                                                                   one
t/000000 1
  key null
  value null
t/000000 2
  key 2 bytes
    006b                                                                     .k
  header 1 bytes
    68                                                                       h
    value null
  value 33 bytes
    74687265 653a206d 6f726520 7468616e 20746869 7274792d 74776f20 62797465  three: more than thirty-two byte
    73                                                                       s
";
    assert_eq!(format(Format::Hex), expected);
}

#[test]
fn a_window_takes_both_its_ends() {
    let directory = archive();
    let partition = directory.path().join("sample/000000");
    let offsets = |from: Option<i64>, to: Option<i64>| {
        let (lines, error) = printed(&within(from, to, args(&partition)));
        assert_eq!(error, None);
        places(&lines).into_iter().map(|(_, _, offset)| offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets(Some(1), Some(4)), [1, 2, 4]);
    assert_eq!(offsets(Some(3), Some(5)), [4, 5]);
    assert_eq!(offsets(Some(6), None), [7]);
    assert_eq!(offsets(None, Some(0)), [0]);
    assert!(offsets(Some(8), None).is_empty());
    assert!(offsets(Some(3), Some(3)).is_empty());
    let one_file = within(Some(5), Some(5), args(partition.join("00000000000000000003")));
    assert_eq!(places(&printed(&one_file).0), [("sample".to_owned(), 0, 5)]);
    let backwards = within(Some(5), Some(4), args(&partition));
    assert_eq!(printed(&backwards).1.as_deref(), Some("--to-offset 4 is before --from-offset 5"));
}

#[test]
fn a_hole_is_named_after_what_came_before_it() {
    let directory = archive();
    fs::remove_file(directory.path().join("sample/000000/00000000000000000003")).expect("removed");
    let (lines, error) = printed(&args(directory.path().join("sample/000000")));
    assert_eq!(places(&lines).len(), 3);
    let error = error.expect("a hole");
    assert!(error.contains("sample/000000/00000000000000000003 is missing"), "{error}");
    // What lies before or behind the hole can still be read.
    let before = within(None, Some(2), args(directory.path().join("sample/000000")));
    assert_eq!(printed(&before).1, None);
    let behind = within(Some(6), None, args(directory.path().join("sample/000000")));
    assert_eq!(printed(&behind).1, None);
    // A window that begins in the hole is not silently empty.
    let within = within(Some(4), None, args(directory.path().join("sample/000000")));
    assert!(printed(&within).1.is_some());
}

#[test]
fn overlaps_and_strangers_are_told() {
    let directory = archive();
    let store = || Arc::new(LocalStore::open_read_only(directory.path()).expect("opens"));
    let read = |partition: &str| -> Result<usize, ArchiveError> {
        let mut reader = ChainReader::new(store(), chain("sample", partition), OffsetWindow::default())?;
        let mut count = 0;
        reader.for_each_record(|_, _| {
            count += 1;
            Ok::<(), ArchiveError>(())
        })?;
        Ok(count)
    };
    assert_eq!(read("000000").expect("whole"), 6);
    assert_eq!(read("000099").expect("nothing there is nothing wrong"), 0);
    let overlapping = chain("sample", "000000").segment(offset(5));
    write_into_archive(directory.path(), &overlapping, Codec::Null, &[record(5, "again")]);
    let error = read("000000").expect_err("an overlap");
    assert!(matches!(&error, ArchiveError::Overlap { second, .. } if *second == overlapping), "{error}");
    let stranger = directory.path().join("sample/000011/00000000000000000000");
    fs::create_dir_all(stranger.parent().expect("a folder")).expect("created");
    fs::copy(directory.path().join("sample/000010/00000000000000000000"), stranger).expect("copied");
    let error = read("000011").expect_err("a stranger");
    assert!(matches!(&error, ArchiveError::WrongChain { .. }), "{error}");
}

#[test]
fn a_wrong_path_is_one_clear_line() {
    let directory = archive();
    let said = |path: &str| printed(&args(directory.path().join(path))).1.expect(path);
    assert!(said("nowhere").starts_with("cannot find "), "{}", said("nowhere"));
    assert!(said("~kafka-store").contains("holds no segments"), "{}", said("~kafka-store"));
    fs::write(directory.path().join("sample/notes.txt"), b"").expect("written");
    assert!(said("sample/notes.txt").contains("20 digits"), "{}", said("sample/notes.txt"));
    fs::create_dir(directory.path().join("loose")).expect("created");
    let file = "sample/000000/00000000000000000000";
    fs::copy(directory.path().join(file), directory.path().join("loose/00000000000000000000")).expect("copied");
    assert!(said("loose").contains("TOPIC/PARTITION"), "{}", said("loose"));
}

#[test]
fn the_golden_archive_reads_as_a_whole() {
    let (lines, error) = printed(&args(golden().join("tree")));
    assert_eq!(error, None);
    let table = fs::read_to_string(golden().join("files.tsv")).expect("the table");
    let records: usize = table
        .lines()
        .skip(1)
        .map(|row| row.split('\t').nth(3).and_then(|count| count.parse::<usize>().ok()).expect("a count"))
        .sum();
    assert_eq!(lines.lines().count(), records);
    assert!(places(&lines).is_sorted());
}

/// With both ends of a window of times.
fn between(from: Option<i64>, to: Option<i64>, args: ReadArgs) -> ReadArgs {
    let window = WindowArgs { from_time: from, to_time: to, ..args.window };
    ReadArgs { window, ..args }
}

#[test]
fn a_window_of_times_begins_with_its_first_moment_and_ends_before_its_last() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Times need not grow with the offsets, and may be wrong.
    let write = |start: i64, times: &[i64]| {
        let records: Vec<OwnedRecord> = (start..)
            .zip(times)
            .map(|(offset, time)| OwnedRecord { timestamp: *time, ..record(offset, "v") })
            .collect();
        write_into_archive(directory.path(), &chain("t", "000000").segment(offset(start)), Codec::default(), &records);
    };
    write(0, &[1_000, 3_000, 2_000]);
    write(3, &[-1, 9_000]);
    write(5, &[4_000, 5_000]);
    let offsets = |from, to| {
        let (lines, error) = printed(&between(from, to, args(directory.path())));
        assert_eq!(error, None);
        places(&lines).into_iter().map(|(_, _, offset)| offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets(Some(2_000), None), [1, 2, 4, 5, 6]);
    assert_eq!(offsets(Some(2_000), Some(4_000)), [1, 2]);
    assert_eq!(offsets(None, Some(2_000)), [0, 3]);
    assert_eq!(offsets(Some(9_001), None), [0_i64; 0]);
    assert_eq!(offsets(Some(-1), Some(0)), [3]);
    let (_, error) = printed(&between(Some(5), Some(5), args(directory.path())));
    assert!(error.expect("an empty window").contains("--to-time is not after --from-time"));
    // A file alone has the same window.
    let file = directory.path().join("t/000000/00000000000000000000");
    assert_eq!(places(&printed(&between(Some(2_000), Some(3_000), args(file))).0), [("t".to_owned(), 0, 2)]);
}

/// A segment whose times all lie outside is passed over: not even damage behind its header is seen.
#[test]
fn segments_outside_of_the_window_are_not_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for start in [0, 10, 20] {
        let records: Vec<OwnedRecord> = (start..start + 10).map(|offset| record(offset, "v")).collect();
        let name = chain("t", "000000").segment(offset(start));
        write_into_archive(directory.path(), &name, Codec::default(), &records);
    }
    let middle = directory.path().join("t/000000/00000000000000000010");
    let mut bytes = fs::read(&middle).expect("read");
    bytes[2_100] ^= 1;
    fs::write(&middle, bytes).expect("written");
    let read = |from, to| {
        let (lines, error) = printed(&between(Some(from), Some(to), args(directory.path())));
        (lines.lines().count(), error.is_some())
    };
    const FIRST: i64 = 1_700_000_000_000;
    assert_eq!(read(FIRST, FIRST + 10), (10, false));
    assert_eq!(read(FIRST + 20, FIRST + 30), (10, false));
    assert!(read(FIRST, FIRST + 11).1, "the damaged segment has a record of that time");
    // A hole is still a hole where nothing is read.
    fs::remove_file(middle).expect("removed");
    assert!(read(FIRST + 20, FIRST + 30).1);
}
