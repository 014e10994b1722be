//! `kafka-store-reader` against what the original's reader printed of the golden archive, byte for byte.
//!
//! `tests/golden/README.md` says how the golden data was made. What differs is by design and judged here too:
//! offset 0 is read, bytes that are not UTF-8 are printed, and a wrong start name is an error.

use crate::support::segments::{chain, offset, record, write_into_archive};
use kafka_store::avro::Codec;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn reader() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kafka-store-reader"))
}

struct Ran {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().expect("the reader runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    Ran { code: output.status.code(), stdout: output.stdout, stderr }
}

fn read(file: &str) -> Ran {
    ran(reader().arg("local").arg(golden().join("tree").join(file)))
}

#[test]
fn every_printable_file_prints_as_the_original_printed_it() {
    let cases = [
        ("regexfixed-codecs-3-from-0", "codecs/000003/00000000000000000000"),
        ("regexfixed-ones-0-from-0", "ones/000000/00000000000000000000"),
        ("regexfixed-sample-0-from-0", "sample/000000/00000000000000000000"),
        ("regexfixed-sample-1-from-0", "sample/000001/00000000000000000000"),
        ("regexfixed-sizes-0-from-0", "sizes/000000/00000000000000000000"),
        ("unmodified-sample-0-from-2", "sample/000000/00000000000000000002"),
        ("unmodified-sample-1-from-10", "sample/000001/00000000000000000010"),
        ("unmodified-trimmed-0-from-7", "trimmed/000000/00000000000000000007"),
    ];
    for (name, file) in cases {
        let expected = |extension: &str| {
            fs::read(golden().join("reader").join(format!("{name}.{extension}"))).expect("the golden output")
        };
        let ran = read(file);
        assert!(ran.stdout == expected("out"), "{name} differs");
        assert_eq!(ran.stderr.as_bytes(), expected("err"), "{name}");
        assert_eq!(format!("{}\n", ran.code.expect("exited")).as_bytes(), expected("rc"), "{name}");
    }
}

#[test]
fn what_the_original_died_of_is_printed_in_base64() {
    // Every file of these partitions holds bytes that are not UTF-8: the original stopped with a traceback.
    for (name, file, lines) in [
        ("regexfixed-sample-2-from-0", "sample/000002/00000000000000000000", 5),
        ("unmodified-sizes-1-binary-from-44", "sizes/000001/00000000000000000044", 20),
    ] {
        let before_it_died = fs::read(golden().join("reader").join(format!("{name}.out"))).expect("the golden output");
        let ran = read(file);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), "Next file not ready."), "{name}");
        assert!(ran.stdout.starts_with(&before_it_died), "{name}");
        let printed = String::from_utf8(ran.stdout).expect("ASCII");
        assert!(printed.contains("\"value_base64\": \"") && printed.is_ascii(), "{name}");
        assert_eq!(printed.lines().count(), lines, "{name}");
    }
}

#[test]
fn a_script_may_ask_for_the_next_file_until_it_is_there() {
    let ran = read("trimmed/000000/00000000000000000020");
    assert_eq!((ran.code, &*ran.stderr, &*ran.stdout), (Some(0), "Next file not ready.", &b""[..]));
}

#[test]
fn a_wrong_start_is_one_clear_line_and_exit_code_1() {
    let starts_with = |file: &str, expected: &str| {
        let ran = read(file);
        assert_eq!(ran.code, Some(1), "{file}");
        assert!(ran.stdout.is_empty(), "{file}");
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    };
    const NOT_STANDARD: &str = "Filename was not standard kafka-store output (20 digits)";
    for file in ["trimmed/000000/7", "trimmed/000000", "trimmed/000000/", "trimmed/000000/0000000000000000000x"] {
        starts_with(file, NOT_STANDARD);
    }
    starts_with("trimmed/000000/99999999999999999999", NOT_STANDARD);
    // The original said "Next file not ready." with exit code 0 to all of these (`unmodified-trimmed-0-missing-8`).
    starts_with("trimmed/000000/00000000000000000008", "its offset is in 00000000000000000007");
    starts_with("trimmed/000000/00000000000000000021", "the last one before it is 00000000000000000019");
    starts_with("trimmed/000000/00000000000000000001", "none before it");
    starts_with("nowhere/000000/00000000000000000001", "its directory cannot be read");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    assert_eq!(ran(&mut reader()).code, Some(2));
    assert_eq!(ran(reader().arg("gcs").arg("x")).code, Some(2));
    assert_eq!(ran(reader().arg("--help")).code, Some(0));
}

#[test]
fn options_may_stand_where_docopt_took_them() {
    let file = golden().join("tree/sample/000000/00000000000000000002");
    for arguments in [["--verbose", "local"], ["local", "--verb"], ["local", "-v"]] {
        assert_eq!(ran(reader().args(arguments).arg(&file)).code, Some(0), "{arguments:?}");
    }
}

#[test]
fn our_files_print_alike_and_continue_the_originals() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let partition = directory.path().join("sample/000000");
    fs::create_dir_all(&partition).expect("created");
    for file in ["00000000000000000000", "00000000000000000002"] {
        fs::copy(golden().join("tree/sample/000000").join(file), partition.join(file)).expect("copied");
    }
    let mut records: Vec<_> = [3, 5, 6].map(|offset| record(offset, "ours")).into();
    records[1].headers =
        vec![(b"h".to_vec(), Some(b"1".to_vec())), (b"h".to_vec(), None), (b"\xff".to_vec(), Some(vec![0xfe]))];
    records[2].key = Some(vec![0xc3]);
    records[2].value = None;
    let ours = chain("sample", "000000").segment(offset(3));
    write_into_archive(directory.path(), &ours, Codec::default(), &records);
    let ran = ran(reader().arg("local").arg(partition.join("00000000000000000000")));
    let mut expected =
        fs::read_to_string(golden().join("reader/regexfixed-sample-0-from-0.out")).expect("the golden output");
    expected += r#"{"filename": "00000000000000000003", "key": null, "offset": 3, "timestamp": 1700000000003, "value": "ours"}
{"filename": "00000000000000000003", "headers": [["h", "1"], ["h", null], [{"base64": "/w=="}, {"base64": "/g=="}]], "key": null, "offset": 5, "timestamp": 1700000000005, "value": "ours"}
{"filename": "00000000000000000003", "key_base64": "ww==", "offset": 6, "timestamp": 1700000000006, "value": null}
"#;
    assert_eq!(String::from_utf8(ran.stdout).expect("ASCII"), expected);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), "Next file not ready."));
}

#[test]
fn a_truncated_file_ends_it_after_what_could_be_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("00000000000000000184");
    let mut bytes = fs::read(golden().join("tree/sizes/000000/00000000000000000184")).expect("the file");
    bytes.truncate(bytes.len() / 2);
    fs::write(&path, bytes).expect("written");
    let ran = ran(reader().arg("local").arg(&path));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("the file is truncated") && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    let printed = String::from_utf8(ran.stdout).expect("ASCII");
    assert!(printed.lines().count() > 10 && printed.ends_with("}\n"));
}

#[test]
fn nobody_reading_is_no_failure() {
    let mut child = reader()
        .arg("local")
        .arg(golden().join("tree/sizes/000000/00000000000000000000"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the reader runs");
    // Closes the pipe after one byte, as `head -c 1` does.
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut [0]).expect("a byte");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(matches!(&*stderr, "" | "Next file not ready."), "{stderr}");
}

#[test]
fn with_wait_the_next_file_is_printed_when_it_appears() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let partition = directory.path().join("trimmed/000000");
    fs::create_dir_all(&partition).expect("created");
    let golden_partition = golden().join("tree/trimmed/000000");
    let bring = |file: &str| {
        // As kafka-store does it: whole files appear at once.
        let temporary = directory.path().join("temporary");
        fs::copy(golden_partition.join(file), &temporary).expect("copied");
        fs::rename(&temporary, partition.join(file)).expect("renamed");
    };
    bring("00000000000000000016");
    let first = partition.join("00000000000000000016");
    let mut child = reader()
        .args(["local", "--wait"])
        .arg(&first)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the reader runs");
    let mut messages = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut message = || messages.next().expect("a message").expect("UTF-8");
    let waiting = |file: &str| format!("Next file not ready yet. Waiting for: {}", partition.join(file).display());
    assert_eq!(message(), waiting("00000000000000000019"));
    let started = Instant::now();
    bring("00000000000000000019");
    assert_eq!(message(), waiting("00000000000000000020"));
    assert!(started.elapsed() < Duration::from_secs(10));
    let printed: String = (0..4).map(|_| lines.next().expect("a line").expect("UTF-8") + "\n").collect();
    let expected = fs::read_to_string(golden().join("reader/wait-trimmed-16.out")).expect("the golden output");
    assert_eq!(printed, expected);
    child.kill().expect("killed");
    child.wait().expect("ended");
}
