//! Goal: a partition that is frozen has a way out, which changes nothing without `--yes`, never a segment, and never
//! what another group or an earlier chain has. Method: a real broker, archives that are broken in each way that
//! freezes, the printed ways out taken, and the daemon run again.

use crate::support::archive::{Archive, Stamp};
use crate::support::broker::{Broker, unique};
use crate::support::daemon::Daemon;
use crate::support::raw_produce;
use crate::support::records::{MORNING_MS, Record, assert_same, logged_from, numbered, record};
use crate::support::wait_until;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// A topic of one partition with ten records, archived in two segments; the group is named as the topic is.
struct Frozen {
    broker: Broker,
    topic: String,
    archive: Archive,
}

impl Frozen {
    fn archived(label: &str) -> Frozen {
        let broker = Broker::get();
        let topic = broker.create_topic(label, 1, &[]);
        let frozen = Frozen { broker, topic, archive: Archive::new() };
        frozen.produce(0..10);
        frozen.daemon().until_end();
        assert_eq!(frozen.archive.starts(&frozen.topic, 0), [0, 5]);
        frozen
    }

    fn produce(&self, numbers: std::ops::Range<i64>) {
        self.broker.produce(&self.topic, 0, &numbered(numbers), &[]);
    }

    fn daemon(&self) -> Daemon {
        self.daemon_of(&self.topic)
    }

    fn daemon_of(&self, group: &str) -> Daemon {
        Daemon::new(&self.broker, &[&self.topic], group, self.archive.path()).args(&["--file-records", "5"])
    }

    /// `kafka-store resolve` with these flags: its exit code and all that it says.
    fn resolve(&self, more: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
        command.args(["resolve", "--broker-list", &self.broker.address, "--topic", &self.topic]);
        command.args(["--group", &self.topic, "--local-store"]).arg(self.archive.path()).args(more);
        let output = command.output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("UTF-8"))
    }

    /// Takes a way out of the only partition: first without `--yes`, which changes nothing.
    #[track_caller]
    fn take(&self, way: &[&str]) -> String {
        let partition = format!("{}-0", self.topic);
        let way = [&["--partition", &partition], way].concat();
        let before = (self.archive.stamps(), self.committed());
        let (code, said) = self.resolve(&way);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("Nothing was changed: add --yes"), "{said}");
        assert!((self.archive.stamps(), self.committed()) == before, "it was changed without --yes");
        let (code, said) = self.resolve(&[&way[..], &["--yes"]].concat());
        assert_eq!(code, Some(0), "{said}");
        said
    }

    fn committed(&self) -> Option<(i64, String)> {
        self.broker.committed(&self.topic, &self.topic, 0)
    }

    /// The starts of the segments of lineage 2.
    fn starts_anew(&self) -> Vec<i64> {
        let Ok(entries) = fs::read_dir(self.archive.path().join(format!("{}/000000~2", self.topic))) else {
            return Vec::new();
        };
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
        let mut starts: Vec<i64> =
            entries.map(|entry| name(entry).expect("UTF-8").parse().expect("a number")).collect();
        starts.sort_unstable();
        starts
    }

    /// What lineage 2 holds.
    #[track_caller]
    fn check_anew(&self, from: i64, records: &[Record]) {
        let archived = self.archive.records(&format!("{}~2", self.topic), 0);
        assert_same("the chain that was begun anew", &archived, &logged_from(from, records));
    }

    /// The segments of lineage 1.
    fn first_lineage(&self) -> BTreeMap<String, Stamp> {
        let mut stamps = self.archive.stamps();
        stamps.retain(|path, _| path.starts_with(&format!("{}/000000/", self.topic)));
        stamps
    }
}

#[test]
fn a_commit_beyond_the_archive_is_reset_to_its_end() {
    let frozen = Frozen::archived("reset");
    frozen.produce(10..20);
    frozen.broker.commit(&frozen.topic, &frozen.topic, 0, 12);
    let ended = frozen.daemon().until_end_with_code(3);
    let named = format!("kafka-store resolve --partition {}-0", frozen.topic);
    assert!(ended.log.contains(&named), "{}", ended.log);

    let (code, said) = frozen.resolve(&[]);
    assert_eq!(code, Some(3), "{said}");
    for words in ["has committed 12", "--reset-commit: commit 10", "--begin-anew: begin", "Nothing was changed"] {
        assert!(said.contains(words), "{words:?} in\n{said}");
    }
    frozen.take(&["--reset-commit"]);
    assert_eq!(frozen.committed(), Some((10, "kafka-store/1 segment=5".to_owned())));
    assert!(frozen.resolve(&[]).1.contains("all 1 partitions can go on"));
    frozen.daemon().until_end();
    frozen.archive.check();
    assert_same("the archive", &frozen.archive.records(&frozen.topic, 0), &logged_from(0, &numbered(0..20)));
}

/// A commit that a member of the group would undo is not made.
#[test]
fn a_commit_is_reset_only_while_nobody_is_in_the_group() {
    let frozen = Frozen::archived("members");
    frozen.broker.commit(&frozen.topic, &frozen.topic, 0, 12);
    let mut member = frozen.daemon().spawn();
    member.wait_for("partition frozen");
    let partition = format!("{}-0", frozen.topic);
    let (code, said) = frozen.resolve(&["--partition", &partition, "--reset-commit", "--yes"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("does not take the commit") && said.contains("stop its daemons first"), "{said}");
    assert_eq!(frozen.committed(), Some((12, String::new())));
    assert_eq!(member.terminate(), Some(0));
}

#[test]
fn a_chain_with_a_hole_is_begun_anew() {
    let frozen = Frozen::archived("hole");
    frozen.produce(10..20);
    frozen.daemon().until_end();
    fs::remove_file(frozen.archive.segment(&frozen.topic, 0, 5)).expect("removed");
    let other = unique("other");
    frozen.daemon_of(&other).until_end_with_code(3);
    let before = frozen.first_lineage();
    // The first group's commit names the last segment, and so does not see the hole.
    let partition = format!("{}-0", frozen.topic);
    let (code, said) = frozen.resolve(&["--partition", &partition, "--begin-anew"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("can go on at 20") && said.contains("say with --at"), "{said}");
    let said = frozen.take(&["--begin-anew", "--at", "3"]);
    assert!(said.contains(&format!("Began {}/000000~2 at 3", frozen.topic)), "{said}");

    // Whichever group asks, it archives to the new chain, whatever it had committed of the old one.
    frozen.daemon_of(&other).until_end();
    assert_eq!(frozen.starts_anew(), [3, 8, 13, 18]);
    frozen.produce(20..25);
    frozen.daemon().until_end();
    assert_eq!(frozen.starts_anew(), [3, 8, 13, 18, 20]);
    frozen.check_anew(3, &numbered(3..25));
    assert_eq!(frozen.committed(), Some((25, "kafka-store/1 lineage=2 segment=20".to_owned())));
    assert!(frozen.first_lineage() == before, "the first lineage has changed");
    // A late commit of the old chain says nothing of the new one.
    frozen.broker.commit(&frozen.topic, &frozen.topic, 0, 5);
    frozen.produce(25..30);
    frozen.daemon().until_end();
    assert_eq!(frozen.starts_anew(), [3, 8, 13, 18, 20, 25]);
    frozen.check_anew(3, &numbered(3..30));
}

#[test]
fn an_empty_store_with_a_commit_is_begun_anew_and_leaves_the_names_free() {
    let frozen = Frozen::archived("empty");
    let elsewhere = Frozen { archive: Archive::new(), broker: Broker::get(), topic: frozen.topic.clone() };
    elsewhere.daemon().until_end_with_code(3);
    let partition = format!("{}-0", frozen.topic);
    let (code, said) = elsewhere.resolve(&["--partition", &partition, "--reset-commit", "--yes"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no offset to commit"), "{said}");
    elsewhere.take(&["--begin-anew", "--at", "10"]);
    elsewhere.produce(10..15);
    elsewhere.daemon().until_end();
    assert_eq!(elsewhere.starts_anew(), [10]);
    elsewhere.check_anew(10, &numbered(10..15));
    assert_eq!(elsewhere.archive.starts(&frozen.topic, 0), Vec::<i64>::new());
    // The old store does not know of it.
    let ended = frozen.daemon().until_end_with_code(3);
    assert!(ended.log.contains("in lineage 2, and the archive has none after 1"), "{}", ended.log);
}

#[test]
fn a_topic_that_was_created_anew_gets_a_chain_of_its_own() {
    let frozen = Frozen::archived("anew");
    frozen.broker.delete_topic(&frozen.topic);
    frozen.broker.create_topic_named(&frozen.topic, 1, &[]);
    frozen.produce(500..512);
    let before = frozen.first_lineage();
    frozen.daemon().until_end_with_code(3);
    frozen.take(&["--begin-anew"]);
    frozen.daemon().until_end();
    assert_eq!(frozen.starts_anew(), [0, 5, 10]);
    frozen.check_anew(0, &numbered(500..512));
    assert!(frozen.first_lineage() == before, "the old topic's segments have changed");
    let origin = frozen.archive.path().join(format!("~kafka-store/origins/{}/000000~2", frozen.topic));
    let origin: serde_json::Value = serde_json::from_slice(&fs::read(origin).expect("settled")).expect("JSON");
    assert_eq!((origin["offset"].as_i64(), origin["reason"].as_str()), (Some(0), Some("new-lineage")));
    assert!(origin["resolves"].as_str().is_some_and(|reason| reason.contains("re-created")), "{origin}");
}

#[test]
fn what_was_lost_may_begin_a_chain_anew_too() {
    let frozen = Frozen::archived("lost");
    frozen.produce(10..20);
    frozen.broker.delete_records(&frozen.topic, 0, 15);
    frozen.daemon().until_end_with_code(3);
    let partition = format!("{}-0", frozen.topic);
    for at in ["14", "21"] {
        let (code, said) = frozen.resolve(&["--partition", &partition, "--begin-anew", "--at", at, "--yes"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("begins at 15 and ends before 20"), "{said}");
    }
    frozen.take(&["--begin-anew"]);
    frozen.daemon().until_end();
    assert_eq!(frozen.starts_anew(), [15]);
    frozen.check_anew(15, &numbered(15..20));
}

/// The archive could go on, only that record cannot.
#[test]
fn a_record_that_cannot_be_read_is_gone_round() {
    let frozen = Frozen::archived("unreadable");
    let headers = (0..100_001).map(|_| (b"h".to_vec(), None)).collect();
    let unreadable = Record { headers, ..record(None, Some(b"many"), MORNING_MS) };
    raw_produce::produce(&frozen.broker.address, &frozen.topic, 0, &[unreadable]);
    frozen.produce(11..15);
    let ended = frozen.daemon().until_end_with_code(3);
    assert!(ended.log.contains("the record at offset 10"), "{}", ended.log);
    frozen.take(&["--begin-anew", "--at", "11"]);
    frozen.daemon().until_end();
    assert_eq!(frozen.starts_anew(), [11]);
    frozen.check_anew(11, &numbered(11..15));
}

/// A process that archives to the old chain goes over to the new one once it has nothing on its way, and never mixes the two.
#[test]
fn a_process_that_runs_goes_over_to_the_new_chain_with_nothing_on_its_way() {
    let frozen = Frozen::archived("running");
    let slow = || Daemon::new(&frozen.broker, &[&frozen.topic], &frozen.topic, frozen.archive.path());
    let slow = || slow().never_seals_by_the_clock().args(&["--file-records", "15"]);
    let mut running = slow().spawn();
    running.wait_for("chain located");
    frozen.take(&["--begin-anew", "--at", "10"]);
    // Another process, which had not heard of it either, stores the next segment of the old chain.
    let copy = Archive::new();
    let starts = Daemon::new(&frozen.broker, &[&frozen.topic], &unique("copy"), copy.path());
    frozen.produce(10..15);
    starts.args(&["--file-records", "5"]).until_end();
    let (from, to) = (copy.segment(&frozen.topic, 0, 10), frozen.archive.segment(&frozen.topic, 0, 10));
    fs::copy(from, to).expect("copied");
    frozen.produce(15..25);
    wait_until("it archives to the new chain", || frozen.starts_anew() == [10]);
    assert_eq!(running.terminate(), Some(0));
    assert_eq!(frozen.archive.starts(&frozen.topic, 0), [0, 5, 10]);
    frozen.check_anew(10, &numbered(10..25));
}

#[test]
fn wrong_usage_is_told_and_no_variable_acts() {
    let frozen = Frozen::archived("usage");
    let (code, said) = frozen.resolve(&["--partition", "no-such-0"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the topics have no such partition"), "{said}");
    for wrong in [["--yes"].as_slice(), &["--reset-commit"], &["--at", "3"]] {
        assert_eq!(frozen.resolve(wrong).0, Some(2), "{wrong:?}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
    let variables = [("KAFKA_STORE_YES", "1"), ("KAFKA_STORE_BEGIN_ANEW", "1"), ("KAFKA_STORE_PARTITION", "x")];
    command.args(["resolve", "--broker-list", &frozen.broker.address, "--group", &frozen.topic]).envs(variables);
    command.env("KAFKA_STORE_TOPIC", &frozen.topic).env("KAFKA_STORE_LOCAL_STORE", frozen.archive.path());
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("can go on"), "{output:?}");
    assert_eq!(frozen.starts_anew(), Vec::<i64>::new());
}
