//! `kafka-store plan` against a real broker: it says what the daemon then does, and changes nothing.

use crate::support::broker::Broker;
use crate::support::daemon::Daemon;
use crate::support::records::numbered;
use std::path::Path;
use std::process::{Command, Output};

fn plan(broker: &Broker, topic: &str, group: &str, archive: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kafka-store"))
        .args(["plan", "--broker-list", &broker.address, "--topic", topic, "--group", group])
        .arg("--local-store")
        .arg(archive)
        .args(more)
        .output()
        .expect("it runs")
}

/// The offset and the number of offsets that the plan's table says of a partition.
fn row(output: &Output, partition: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with(partition)).unwrap_or_else(|| panic!("{output:?}"));
    line.split_whitespace().skip(1).take(2).map(str::to_owned).collect()
}

#[test]
fn a_plan_says_where_partitions_start_and_changes_nothing() {
    let broker = Broker::get();
    let topic = broker.create_topic("plan", 2, &[]);
    broker.produce(&topic, 0, &numbered(0..30), &[]);
    let archive = tempfile::tempdir().expect("a directory");

    let refused = plan(&broker, &topic, &topic, archive.path(), &[]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stdout).contains("--offset-reset earliest"), "{refused:?}");

    let planned = plan(&broker, &topic, &topic, archive.path(), &["--offset-reset", "earliest"]);
    assert_eq!(planned.status.code(), Some(0), "{planned:?}");
    assert_eq!(row(&planned, &format!("{topic}-0")), ["0", "30"]);
    assert_eq!(row(&planned, &format!("{topic}-1")), ["0", "0"]);
    let kept = std::fs::read_dir(archive.path().join("~kafka-store/tmp")).expect("the folder of temporary files");
    let kept: Vec<_> = kept.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(kept, ["lock"], "a plan leaves nothing");
    assert_eq!(broker.committed(&topic, &topic, 0), None);

    Daemon::new(&broker, &[&topic], &topic, archive.path()).until_end();
    broker.produce(&topic, 0, &numbered(30..35), &[]);
    let planned = plan(&broker, &topic, &topic, archive.path(), &[]);
    assert_eq!(row(&planned, &format!("{topic}-0")), ["30", "5"]);
}
