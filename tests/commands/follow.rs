//! `kafka-store read --follow` and `kafka-store-reader --follow` beside an archive that grows.
//!
//! Nothing here waits for a while: a line is read when it is there, and what comes next is brought then.

use crate::support::segments::{OwnedRecord, chain, offset, record, write_into_archive};
use kafka_store::avro::Codec;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Lines, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// An archive that files are brought into as kafka-store brings them: whole, at once.
struct Growing(tempfile::TempDir);

impl Growing {
    fn new() -> Growing {
        Growing(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn bring(&self, partition: &str, start: i64, count: i64) {
        let elsewhere = tempfile::tempdir_in(self.path().parent().expect("a folder")).expect("a temporary directory");
        let records: Vec<OwnedRecord> = (start..start + count).map(|offset| record(offset, "v")).collect();
        let name = chain("orders", partition).segment(offset(start));
        write_into_archive(elsewhere.path(), &name, Codec::default(), &records);
        let place = self.path().join(name.to_string());
        fs::create_dir_all(place.parent().expect("a folder")).expect("created");
        fs::rename(elsewhere.path().join(name.to_string()), place).expect("renamed");
    }
}

/// A command that goes on until it is stopped.
struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    fn start(command: &mut Command) -> Following {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Following { child, lines }
    }

    /// The next line's partition and offset; the reader's lines have no partition.
    fn next(&mut self) -> (Option<i64>, i64) {
        let line = self.lines.next().expect("a line").expect("UTF-8");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        (line["partition"].as_i64(), line["offset"].as_i64().expect("a number"))
    }

    fn take(&mut self, count: usize) -> Vec<(Option<i64>, i64)> {
        (0..count).map(|_| self.next()).collect()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("small")).expect("not zero");
        kill_process(pid, signal).expect("it can be signalled");
    }

    /// What it still says, on both, and its exit code.
    fn end(mut self) -> (Vec<String>, String, Option<i32>) {
        let rest = self.lines.map(|line| line.expect("UTF-8")).collect();
        let mut stderr = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("UTF-8");
        (rest, stderr, self.child.wait().expect("it ends").code())
    }
}

fn read(archive: &Growing, args: &[&str]) -> Following {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
    Following::start(command.arg("read").arg(archive.path()).arg("--follow").args(args))
}

fn of(partition: i64, offsets: std::ops::Range<i64>) -> Vec<(Option<i64>, i64)> {
    offsets.map(|offset| (Some(partition), offset)).collect()
}

#[test]
fn what_is_there_comes_in_order_and_then_what_comes() {
    for signal in [Signal::INT, Signal::TERM] {
        let archive = Growing::new();
        archive.bring("000000", 0, 2);
        archive.bring("000001", 0, 1);
        archive.bring("000000", 2, 1);
        let mut following = read(&archive, &[]);
        assert_eq!(following.take(4), [of(0, 0..3), of(1, 0..1)].concat());
        archive.bring("000000", 3, 2);
        assert_eq!(following.take(2), of(0, 3..5));
        // A partition that was not there yet.
        archive.bring("000007", 5, 3);
        assert_eq!(following.take(3), of(7, 5..8));
        archive.bring("000001", 1, 1);
        assert_eq!(following.take(1), of(1, 1..2));
        following.signal(signal);
        assert_eq!(following.end(), (vec![], String::new(), Some(0)), "{signal:?}");
    }
}

#[test]
fn it_ends_when_every_partition_has_the_last_wanted_offset() {
    let archive = Growing::new();
    archive.bring("000000", 0, 5);
    archive.bring("000001", 0, 1);
    let mut following = read(&archive, &["--to-offset", "3"]);
    assert_eq!(following.take(5), [of(0, 0..4), of(1, 0..1)].concat());
    archive.bring("000001", 1, 2);
    assert_eq!(following.take(2), of(1, 1..3));
    archive.bring("000001", 3, 9);
    assert_eq!(following.take(1), of(1, 3..4));
    assert_eq!(following.end(), (vec![], String::new(), Some(0)));
}

#[test]
fn a_hole_that_appears_ends_it() {
    let archive = Growing::new();
    archive.bring("000000", 0, 2);
    let mut following = read(&archive, &[]);
    assert_eq!(following.take(2), of(0, 0..2));
    archive.bring("000000", 4, 1);
    let (rest, stderr, code) = following.end();
    assert_eq!((rest, code), (vec![], Some(1)));
    assert!(stderr.contains("orders/000000/00000000000000000002 is missing"), "{stderr}");
}

#[test]
fn the_reader_follows_without_a_word_and_with_a_window() {
    let archive = Growing::new();
    archive.bring("000000", 0, 4);
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store-reader"));
    let first = archive.path().join("orders/000000/00000000000000000000");
    command.args(["local", "--follow", "--from-offset", "2", "--to-offset", "5"]).arg(first);
    let mut following = Following::start(&mut command);
    assert_eq!(following.take(2), [(None, 2), (None, 3)]);
    // Not its successor: the reader follows the names.
    archive.bring("000000", 20, 1);
    archive.bring("000000", 4, 4);
    assert_eq!(following.take(2), [(None, 4), (None, 5)]);
    assert_eq!(following.end(), (vec![], String::new(), Some(0)));
}
