//! The audit log of the built daemon, on a real broker: written, rotated, verified; also where daemons are killed.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::daemon::{Daemon, Running};
use crate::support::records::numbered;
use crate::support::seed::Chance;
use crate::support::wait_until;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with audit logs.
struct Logs(tempfile::TempDir);

/// What `kafka-store audit verify --json` said.
struct Verified {
    code: Option<i32>,
    report: Value,
}

impl Logs {
    fn new() -> Logs {
        Logs(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().expect("UTF-8")
    }

    /// All there are but the locks, in any order.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.path()).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_none_or(|extension| extension != "lock")).collect()
    }

    fn verify(&self) -> Verified {
        verify(&self.files())
    }

    /// Verifies, and nothing must be wrong.
    #[track_caller]
    fn verify_well(&self) -> Value {
        let Verified { code, report } = self.verify();
        assert_eq!(report["problems"], Value::Array(Vec::new()), "{report:#}");
        assert_eq!(report["notes"], Value::Array(Vec::new()), "{report:#}");
        assert_eq!(code, Some(0));
        report
    }
}

fn verify(files: &[PathBuf]) -> Verified {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
    let output = command.args(["audit", "verify", "--json"]).args(files).output().expect("it runs");
    let report = serde_json::from_slice(&output.stdout).expect("an object of JSON");
    Verified { code: output.status.code(), report }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("readable");
    text.lines().map(|line| serde_json::from_str(line).expect("an object of JSON")).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

#[test]
fn every_transition_is_in_the_log_and_the_log_verifies() {
    let broker = Broker::get();
    let topic = broker.create_topic("audit", 2, &[]);
    broker.produce(&topic, 0, &numbered(0..25), &[]);
    broker.produce(&topic, 1, &numbered(0..10), &[]);
    let (archive, logs) = (Archive::new(), Logs::new());
    let log = logs.arg("log");
    let args = ["--file-records", "10", "--audit-log", &log];
    Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&args).until_end();

    let lines = lines(&logs.path("log"));
    let sequences: Vec<u64> = lines.iter().map(|line| number(&line["sequence"])).collect();
    assert_eq!(sequences, (1..=lines.len() as u64).collect::<Vec<_>>());
    let instances: BTreeSet<&str> = lines.iter().map(|line| line["instance"].as_str().expect("a name")).collect();
    assert_eq!(instances.len(), 1);
    let first = &lines[0];
    assert_eq!([&first["chart"], &first["event"], &first["group"]], ["instance", "Started", &topic]);
    assert_eq!([&first["file_records"], &first["topics"]], ["10", topic.as_str()]);
    let last = lines.last().expect("a line");
    assert_eq!((&last["event"], number(&last["exit_code"])), (&"Ended".into(), 0));
    let sealed: Vec<_> = lines.iter().filter(|line| line["event"] == "BoundaryReached").collect();
    let reasons: BTreeSet<&str> = sealed.iter().map(|line| line["reason"].as_str().expect("a reason")).collect();
    assert_eq!(reasons, ["records", "until-end"].into(), "full segments, and the tail");
    assert_eq!(sealed.iter().map(|line| number(&line["record_count"])).sum::<u64>(), 35);
    let mode = fs::metadata(logs.path("log")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");

    let report = logs.verify_well();
    assert_eq!([&report["stored"], &report["committed"], &report["chains"]], [4, 4, 2]);
    assert_eq!(report["lines"], lines.len());
    assert_eq!(report["instances"][0]["open_charts"], 0);

    // Another run finds all done, appends to the same file, and takes nothing away from it.
    Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&args).until_end();
    let report = logs.verify_well();
    assert_eq!([&report["stored"], &report["files"]], [4, 1]);
    assert_eq!(report["instances"].as_array().expect("a list").len(), 2);
}

/// Two daemons in a group are killed again and again: what they did is whole, taken together.
#[test]
fn the_logs_of_killed_daemons_verify_together() {
    const KILLS: usize = 12;
    const PARTITIONS: i32 = 4;
    let mut chance = Chance::from_seed();
    let broker = Broker::get();
    let topic = broker.create_topic("audit-kill", PARTITIONS, &[]);
    (0..PARTITIONS).for_each(|partition| broker.produce(&topic, partition, &numbered(0..12_000), &[]));
    let (archive, logs) = (Archive::new(), Logs::new());
    let daemon = |name: &str| {
        let daemon = Daemon::new(&broker, &[&topic], &topic, archive.path()).session_timeout_ms(1_000);
        let log = logs.arg(name);
        daemon.args(&["--file-records", "100", "--audit-log", &log, "--audit-log-size", "10k"])
    };
    let written = || logs.files().iter().map(|path| fs::metadata(path).map_or(0, |file| file.len())).sum::<u64>();
    let mut running: Vec<Running> = vec![daemon("a").spawn(), daemon("b").spawn()];
    for kill in 0..KILLS {
        let (victim, more) = (kill % 2, written() + 1 + chance.below(4_000));
        wait_until("somebody did something", || written() > more || archive.segments().len() >= 470);
        running[victim].kill();
        running[victim] = daemon(["a", "b"][victim]).spawn();
    }
    // One in good order, and the other at its end.
    running[0].wait_for("partitions assigned");
    assert_eq!(running[0].terminate(), Some(0));
    running[1].kill();
    daemon("a").until_end();

    let report = logs.verify_well();
    println!("{report:#}");
    let instances = report["instances"].as_array().expect("a list");
    let killed = instances.iter().filter(|instance| instance["exit_code"].is_null()).count();
    assert!(killed > KILLS / 2, "hardly any was killed after it had begun");
    assert!(number(&report["files"]) > 4, "nothing was rotated");
    let archived = archive.segments().len() as u64;
    assert_eq!(archived, 120 * PARTITIONS as u64);
    // An object is stored once; the last of an upload that was cut off is followed by the next's walk.
    let told = number(&report["stored"]) + number(&report["in_doubt_stored"]) + number(&report["adopted"]);
    assert!(told >= archived, "{told} of {archived}");
}

#[test]
fn a_line_that_is_cut_off_or_changed_is_judged_by_where_it_is() {
    let broker = Broker::get();
    let topic = broker.create_topic("audit-torn", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..100), &[]);
    let (archive, logs) = (Archive::new(), Logs::new());
    let log = logs.arg("log");
    let daemon =
        || Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--file-records=10", "--audit-log", &log]);
    daemon().until_end();
    let text = fs::read_to_string(&log).expect("readable");

    // As if it had been killed within its last line; the next run leaves it and goes on behind it.
    fs::write(&log, &text[..text.len() - 20]).expect("written");
    assert_eq!(logs.verify_well()["torn_lines"], 1);
    daemon().until_end();
    let report = logs.verify_well();
    assert_eq!([&report["torn_lines"], &report["stored"]], [1, 10]);

    let changed = text.replacen("\"to\":\"Uploading.Arbiter\"", "\"to\":\"Buffering\"", 1);
    fs::write(&log, changed).expect("written");
    let Verified { code, report } = logs.verify();
    assert_eq!(code, Some(65));
    assert_eq!(report["problems"][0]["kind"], "illegal transition");
    let output = Command::new(env!("CARGO_BIN_EXE_kafka-store")).args(["audit", "verify", &log]).output();
    let told = String::from_utf8(output.expect("it runs").stdout).expect("UTF-8");
    let line = number(&report["problems"][0]["line"]);
    assert!(
        told.contains(&format!("\n{log}:{line}: illegal transition: the segment chart does not go from")),
        "{told}"
    );
    assert!(told.ends_with(" problems\n"), "{told}");
}

#[test]
fn a_log_has_one_daemon() {
    let broker = Broker::get();
    let topic = broker.create_topic("audit-lock", 1, &[]);
    let (archive, logs) = (Archive::new(), Logs::new());
    let log = logs.arg("log");
    let daemon = || Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--audit-log", &log]);
    let mut first = daemon().spawn();
    first.wait_for("chain located");
    let refused = daemon().run();
    assert_eq!(refused.code, Some(1));
    let line = format!("reason: --audit-log {log}: another process writes to it: give each its own --audit-log");
    assert!(refused.log.contains(&line), "{}", refused.log);
    assert_eq!(first.terminate(), Some(0));
    assert_eq!(logs.verify_well()["instances"].as_array().map(Vec::len), Some(1), "who was refused wrote nothing");
}

#[test]
fn a_log_that_cannot_be_written_ends_the_daemon() {
    let broker = Broker::get();
    let topic = broker.create_topic("audit-full", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..300), &[]);
    let (archive, logs) = (Archive::new(), Logs::new());
    let log = logs.arg("log");
    let daemon =
        || Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--file-records=10", "--audit-log", &log]);
    let full = daemon().files_limited_to_kib(16).until_end_with_code(74);
    assert!(full.log.contains(&format!("error: the audit log {log} cannot be written: ")), "{}", full.log);
    let archived = archive.segments().len();
    assert!((1..30).contains(&archived), "it went on, or never began: {archived}");
    assert_eq!(logs.verify_well()["torn_lines"], 1, "a part of the last line had room");

    daemon().until_end();
    assert_eq!(archive.segments().len(), 30);
    logs.verify_well();
}

#[test]
fn what_is_no_audit_log_is_named() {
    let logs = Logs::new();
    let (missing, other) = (logs.arg("missing"), logs.arg("other"));
    fs::write(&other, "2026-11-22 INFO store opened\n").expect("written");
    for (path, reason) in [
        (&missing, "No such file or directory (os error 2)"),
        (&other, "is no audit log: its first line is no line of one"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_kafka-store")).args(["audit", "verify", path]).output();
        let output = output.expect("it runs");
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1));
        assert!(told.starts_with(&format!("error: {path}")) && told.ends_with(&format!("{reason}\n")), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}
