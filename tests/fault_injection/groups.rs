//! Several daemons in one group, of every kind of group, while members come, go and hang.

use crate::support::archive::Archive;
use crate::support::broker::{Broker, unique};
use crate::support::daemon::{Daemon, Running};
use crate::support::records::{Record, assert_same, logged_from};
use crate::support::seed::Chance;
use crate::support::seen::Seen;
use crate::support::traffic::Traffic;
use crate::support::wait_until;
use std::process::Command;
use std::time::Duration;

const PARTITIONS: i32 = 6;
const MEMBERS: usize = 3;

/// A topic with traffic, the group, and its archive.
struct Group {
    broker: Broker,
    topic: String,
    name: String,
    archive: Archive,
    /// One for each process.
    audit_logs: tempfile::TempDir,
    kind: Kind,
}

/// How the group shares its partitions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cooperative,
    Eager,
    /// KIP-848: the broker assigns.
    Consumer,
}

impl Group {
    fn new(label: &str, kind: Kind) -> Group {
        let broker = Broker::get();
        let topic = broker.create_topic(label, PARTITIONS, &[]);
        let audit_logs = tempfile::tempdir().expect("a temporary directory");
        Group { broker, topic, name: unique(label), archive: Archive::new(), audit_logs, kind }
    }

    fn member(&self) -> Daemon {
        let daemon = Daemon::new(&self.broker, &[&self.topic], &self.name, self.archive.path());
        let audit_log = self.audit_logs.path().join(unique("audit"));
        let daemon = daemon.args(&["--audit-log", audit_log.to_str().expect("UTF-8")]);
        let daemon = daemon.session_timeout_ms(1_000).args(&["--file-size", "60k", "--file-records", "40"]);
        match self.kind {
            Kind::Cooperative => daemon,
            Kind::Eager => daemon.args(&["-X", "partition.assignment.strategy=range"]),
            Kind::Consumer => daemon.consumer_protocol(),
        }
    }

    /// Waits until the group has so many members and every partition is archived on.
    fn wait_for_members(&self, count: usize) {
        if self.kind != Kind::Consumer {
            wait_until("the group has its members", || self.broker.stable_members(&self.name) == Some(count));
            return;
        }
        let segments = |partition| self.archive.starts(&self.topic, partition).len();
        let before: Vec<usize> = (0..PARTITIONS).map(segments).collect();
        wait_until("every partition is archived on", || {
            (0..PARTITIONS).zip(&before).all(|(partition, before)| segments(partition) > *before + 1)
        });
    }

    fn wait_for_segments_more(&self, count: usize) {
        let before = self.archive.segments().len();
        wait_until("segments more", || self.archive.segments().len() >= before + count);
    }

    /// What all processes have done, they were allowed to do.
    #[track_caller]
    fn verify_audit_logs(&self) {
        let entries = std::fs::read_dir(self.audit_logs.path()).expect("a directory");
        let files = entries.map(|entry| entry.expect("an entry").path());
        let logs = files.filter(|path| path.extension().is_none_or(|extension| extension != "lock"));
        let verify = Command::new(env!("CARGO_BIN_EXE_kafka-store")).args(["audit", "verify"]).args(logs).output();
        let verified = verify.expect("it runs");
        let [told, errors] = [verified.stdout, verified.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        println!("{told}");
        assert!(verified.status.success(), "{told}{errors}");
    }

    /// Everything is there once, whole and committed.
    #[track_caller]
    fn check(&self, seen: &mut Seen<'_>, produced: &[Vec<Record>]) {
        println!("{} segments, ends {:?}", seen.count(), seen.look());
        println!("{}", self.archive.check());
        let mut archived = self.archive.all_records();
        for (partition, produced) in (0..).zip(produced) {
            let archived = archived.remove(&(self.topic.clone(), partition)).unwrap_or_default();
            assert_same("the archive and what was produced", &archived, &logged_from(0, produced));
            let committed = self.broker.committed(&self.name, &self.topic, partition).map(|(offset, _)| offset);
            assert_eq!(committed, Some(produced.len() as i64), "partition {partition}");
        }
    }
}

/// What happens to a member.
#[derive(Debug)]
enum Fault {
    Killed,
    Terminated,
    /// Stopped until the group has given it up, and then let go on with all that it held.
    Stopped,
}

impl Fault {
    fn any(chance: &mut Chance) -> Fault {
        match chance.below(3) {
            0 => Fault::Killed,
            1 => Fault::Terminated,
            _ => Fault::Stopped,
        }
    }
}

#[track_caller]
fn check_runs(member: &mut Running) {
    let log = member.log();
    assert!(member.is_running(), "it ended by itself:\n{log}");
    assert!(!log.contains(" ERRO "), "{log}");
}

/// One member after the other dies, leaves or hangs, and comes back, while records keep coming.
fn survives_faults(group: &Group, faults: usize) {
    let mut chance = Chance::from_seed();
    let mut seen = Seen::new(&group.archive, &group.topic, PARTITIONS);
    let traffic = Traffic::new(&group.broker, &group.topic, PARTITIONS);
    let produced = traffic.during(Chance::fixed(chance.next()), || {
        let mut members: Vec<Running> = (0..MEMBERS).map(|_| group.member().spawn()).collect();
        group.wait_for_members(MEMBERS);
        group.wait_for_segments_more(3);
        for number in 0..faults {
            // Not to wait for something: any moment will do, and all of them should come.
            std::thread::sleep(Duration::from_micros(chance.below(300_000)));
            let index = chance.below(MEMBERS as u64) as usize;
            let member = &mut members[index];
            check_runs(member);
            let fault = Fault::any(&mut chance);
            match fault {
                Fault::Killed => member.kill(),
                Fault::Terminated => {
                    assert_eq!(member.terminate(), Some(0), "{}", member.log());
                    let log = member.log();
                    assert!(!log.contains(" ERRO "), "{log}");
                }
                Fault::Stopped => member.stop(),
            }
            // Its successors take over, or it is back before they can.
            if matches!(fault, Fault::Stopped) || chance.below(2) == 0 {
                group.wait_for_members(MEMBERS - 1);
                group.wait_for_segments_more(5);
            }
            match fault {
                Fault::Stopped => member.go_on(),
                Fault::Killed | Fault::Terminated => *member = group.member().spawn(),
            }
            if chance.below(2) == 0 {
                group.wait_for_members(MEMBERS);
            }
            group.wait_for_segments_more(5);
            println!("{number}: {index} was {fault:?}, ends {:?}", seen.look());
        }
        group.wait_for_members(MEMBERS);
        for member in &mut members {
            check_runs(member);
            assert_eq!(member.terminate(), Some(0), "{}", member.log());
        }
    });
    group.member().until_end();
    group.check(&mut seen, &produced);
    group.verify_audit_logs();
    assert_eq!(group.archive.instance_directories(), Vec::<String>::new(), "what killed processes left is removed");
}

#[test]
fn twenty_times_a_member_dies_leaves_or_hangs() {
    survives_faults(&Group::new("cooperative", Kind::Cooperative), 20);
}

#[test]
fn an_eager_group_survives_the_same() {
    survives_faults(&Group::new("eager", Kind::Eager), 8);
}

#[test]
fn a_group_of_the_newer_protocol_survives_the_same() {
    survives_faults(&Group::new("consumer", Kind::Consumer), 6);
}
