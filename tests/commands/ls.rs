//! `kafka-store ls` on a directory: the table for people and the lines for programs.

use crate::support::segments::{OwnedRecord, chain, offset, record, summary, write_summarized};
use kafka_store::avro::Codec;
use kafka_store::cli::GcsArgs;
use kafka_store::commands::MemoryArgs;
use kafka_store::commands::ls::{LsArgs, list};
use kafka_store_statecharts::gap::{Gap, GapReason};
use kafka_store_statecharts::offset::OffsetRange;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn args(location: &Path) -> LsArgs {
    let gcs = GcsArgs::default();
    LsArgs {
        location: location.to_owned(),
        segments: false,
        json: false,
        deep: false,
        parallel: None,
        memory: MemoryArgs::default(),
        gcs,
    }
}

#[track_caller]
fn listed(args: &LsArgs) -> String {
    let mut out = Vec::new();
    list(args, &mut out).expect("listed");
    String::from_utf8(out).expect("UTF-8")
}

fn json(args: LsArgs) -> Vec<Value> {
    let lines = listed(&LsArgs { json: true, ..args });
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn write(root: &Path, partition: &str, start: i64, offsets: &[i64], gap: Option<(i64, i64)>) {
    let records: Vec<OwnedRecord> = offsets.iter().map(|offset| record(*offset, "v")).collect();
    let mut summary = summary(&records);
    summary.gaps = gap
        .map(|(first, last)| Gap {
            offsets: OffsetRange::new(offset(first), offset(last)).expect("in order"),
            reason: GapReason::Deleted,
        })
        .into_iter()
        .collect();
    let name = chain("orders", partition).segment(offset(start));
    write_summarized(root, &name, Codec::default(), &records, &summary);
}

/// A partition that is whole; one that is pruned, has a hole, invisible offsets and a gap; and one of the original's.
fn archive() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path();
    write(root, "000000", 0, &[0, 1, 2], None);
    write(root, "000000", 3, &[3], None);
    write(root, "000001", 10, &[10, 12], None);
    write(root, "000001", 20, &[23], Some((20, 21)));
    let origins = root.join("~kafka-store/origins/orders");
    fs::create_dir_all(&origins).expect("created");
    fs::write(origins.join("000001"), r#"{"format":1,"offset":4,"reason":"latest"}"#).expect("written");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tree/sample/000000");
    fs::create_dir_all(root.join("sample/000000")).expect("created");
    for file in ["00000000000000000000", "00000000000000000002"] {
        fs::copy(golden.join(file), root.join("sample/000000").join(file)).expect("copied");
    }
    directory
}

#[test]
fn people_get_a_line_for_each_partition() {
    let directory = archive();
    let expected = "\
PARTITION      SEGMENTS  FIRST  LAST  RECORDS  FROM                  TO                       SIZE  REMARKS
orders/000000         2      0     3        4  2023-11-14T22:13:20Z  2023-11-14T22:13:20Z  4.19 kB
orders/000001         2     10    23        3  2023-11-14T22:13:20Z  2023-11-14T22:13:20Z  4.18 kB  pruned 4-9, MISSING 13-19, 2 invisible, 2 deleted
sample/000000         2      0     ?        ?  ?                     ?                       545 B
3 partitions, 6 segments, 7+? records, 8.92 kB
2 files of the original tool do not say what they hold: --deep reads them
";
    assert_eq!(listed(&args(directory.path())), expected);
    let deep = listed(&LsArgs { deep: true, ..args(directory.path()) });
    assert!(deep.ends_with("3 partitions, 6 segments, 10 records, 8.92 kB\n"), "{deep}");
    assert!(deep.contains("sample/000000         2      0     2        3  2016-11-08T02:07:50Z"), "{deep}");
    // A part of it is listed by itself.
    assert_eq!(listed(&args(&directory.path().join("orders"))).lines().count(), 4);
    assert_eq!(listed(&args(&directory.path().join("orders/000001"))).lines().count(), 3);
}

#[test]
fn people_get_a_line_for_each_segment_if_they_want() {
    let directory = archive();
    let lines = listed(&LsArgs { segments: true, ..args(&directory.path().join("orders/000001")) });
    let expected = "\
SEGMENT                             LAST  RECORDS  FROM                  TO                       SIZE  CODEC    REMARKS
orders/000001/00000000000000000010    12        2  2023-11-14T22:13:20Z  2023-11-14T22:13:20Z  2.10 kB  deflate  pruned 4-9, 1 invisible
orders/000001/00000000000000000020    23        1  2023-11-14T22:13:20Z  2023-11-14T22:13:20Z  2.08 kB  deflate  MISSING 13-19, deleted 20-21, 1 invisible
1 partitions, 2 segments, 3 records, 4.18 kB
";
    assert_eq!(lines, expected);
}

#[test]
fn programs_get_an_object_a_line() {
    let directory = archive();
    let chains = json(args(directory.path()));
    let of = |key: &str| chains.iter().map(|chain| chain[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("topic"), ["orders", "orders", "sample"]);
    assert_eq!(of("partition"), [0, 1, 0]);
    assert_eq!(of("segments"), [2, 2, 2]);
    assert_eq!(of("record_count"), [4, 3, 0]);
    assert_eq!(of("unknown_segments"), [0, 0, 2]);
    assert_eq!(of("origin"), [Value::Null, 4.into(), Value::Null]);
    assert_eq!(of("final_offset"), [3.into(), 23.into(), Value::Null]);
    let gap = |first: i64, last: i64, reason: &str| serde_json::json!({"first": first, "last": last, "reason": reason});
    let gaps = serde_json::json!([gap(20, 21, "deleted"), gap(4, 9, "pruned"), gap(13, 19, "missing")]);
    assert_eq!(chains[1]["gaps"], gaps);
    let segments = json(LsArgs { segments: true, ..args(directory.path()) });
    assert_eq!(segments.len(), 6);
    assert_eq!(segments[3]["name"], "orders/000001/00000000000000000020");
    assert_eq!(segments[3]["gaps"], serde_json::json!([gap(20, 21, "deleted"), gap(13, 19, "missing")]));
    assert_eq!(segments[3]["min_timestamp_ms"], 1_700_000_000_023_i64);
    assert_eq!(segments[4]["is_original"], true);
    assert_eq!(segments[4]["record_count"], Value::Null);
}

#[test]
fn what_cannot_be_read_does_not_hide_the_rest() {
    let directory = archive();
    fs::write(directory.path().join("orders/000000/00000000000000000003"), "nothing").expect("written");
    let lines = listed(&args(directory.path()));
    assert!(lines.contains("orders/000000         2      0     ?        3"), "{lines}");
    assert!(lines.contains("1 UNREADABLE"), "{lines}");
    let segments = json(LsArgs { segments: true, ..args(directory.path()) });
    let error = segments[1]["error"].as_str().expect("an error");
    assert!(error.contains("is not a kafka-store segment"), "{error}");
    let mut out = Vec::new();
    let missing = list(&args(&directory.path().join("nowhere")), &mut out).expect_err("nothing is there");
    assert!(missing.to_string().starts_with("cannot find "), "{missing}");
    let file = list(&args(&directory.path().join("orders/000000/00000000000000000000")), &mut out);
    assert!(file.expect_err("a file").to_string().contains("is a file: give the place"));
}
