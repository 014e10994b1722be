//! Several daemons write to one store at a time, and none of them knows what the others do.
//!
//! Whoever stores a segment first decides where it ends; the others adopt it and go on from its end.

use crate::support::archive::Archive;
use crate::support::broker::{Broker, unique};
use crate::support::daemon::{Daemon, Running};
use crate::support::records::{Record, assert_same, logged_from};
use crate::support::seed::Chance;
use crate::support::seen::Seen;
use crate::support::traffic::Traffic;
use crate::support::wait_until;

const PARTITIONS: i32 = 4;

/// A topic with traffic, and the archive that several write to.
struct Shared {
    broker: Broker,
    topic: String,
    archive: Archive,
}

impl Shared {
    fn new(label: &str) -> Shared {
        let broker = Broker::get();
        let topic = broker.create_topic(label, PARTITIONS, &[]);
        Shared { broker, topic, archive: Archive::new() }
    }

    fn daemon(&self, group: &str, records: &str) -> Daemon {
        let daemon = Daemon::new(&self.broker, &[&self.topic], group, self.archive.path());
        daemon.session_timeout_ms(1_000).args(&["--file-size", "60k", "--file-records", records])
    }

    fn wait_for_segments_more(&self, count: usize) {
        let before = self.archive.segments().len();
        wait_until("segments more", || self.archive.segments().len() >= before + count);
    }

    #[track_caller]
    fn check(&self, seen: &mut Seen<'_>, produced: &[Vec<Record>]) {
        let ends = seen.look();
        println!("{} segments, ends {ends:?}", seen.count());
        println!("{}", self.archive.check());
        let mut archived = self.archive.all_records();
        for (partition, produced) in (0..).zip(produced) {
            let archived = archived.remove(&(self.topic.clone(), partition)).unwrap_or_default();
            assert_same("the archive and what was produced", &archived, &logged_from(0, produced));
        }
    }
}

#[track_caller]
fn check_log(running: &Running) {
    let log = running.log();
    assert!(!log.contains(" ERRO "), "{log}");
}

/// Every segment is fought for, and the two would end it elsewhere.
#[test]
fn groups_with_other_settings_write_one_chain() {
    let mut chance = Chance::from_seed();
    let shared = Shared::new("groups");
    let groups = [(unique("group"), "100"), (unique("group"), "70"), (unique("group"), "70")];
    let daemon = |(group, records): &(String, &'static str)| shared.daemon(group, records);
    let mut seen = Seen::new(&shared.archive, &shared.topic, PARTITIONS);
    let traffic = Traffic::new(&shared.broker, &shared.topic, PARTITIONS);
    let produced = traffic.during(Chance::fixed(chance.next()), || {
        for _ in 0..3 {
            let mut running: Vec<Running> = groups.iter().map(|group| daemon(group).spawn()).collect();
            shared.wait_for_segments_more(20);
            for daemon in &mut running {
                assert!(daemon.is_running(), "it ended by itself:\n{}", daemon.log());
                assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
                check_log(daemon);
            }
            let adopted: usize = running.iter().map(|daemon| daemon.log().matches("is there already").count()).sum();
            println!("{adopted} segments were there already, ends {:?}", seen.look());
            assert!(adopted > 0, "nobody was in anybody's way");
        }
    });
    groups.iter().for_each(|group| drop(daemon(group).until_end()));
    shared.check(&mut seen, &produced);
    for (group, _) in &groups {
        for (partition, produced) in (0..).zip(&produced) {
            let committed = shared.broker.committed(group, &shared.topic, partition).map(|(offset, _)| offset);
            assert_eq!(committed, Some(produced.len() as i64), "{group} {partition}");
        }
    }
}

/// A process that the group has given up comes back with all that it held, and does not know what was done meanwhile.
#[test]
fn a_process_that_was_stopped_for_too_long_harms_nothing() {
    let mut chance = Chance::from_seed();
    let shared = Shared::new("stopped");
    let group = unique("stopped");
    let mut seen = Seen::new(&shared.archive, &shared.topic, PARTITIONS);
    let traffic = Traffic::new(&shared.broker, &shared.topic, PARTITIONS);
    let produced = traffic.during(Chance::fixed(chance.next()), || {
        let mut stopped = shared.daemon(&group, "100").spawn();
        shared.wait_for_segments_more(3);
        for _ in 0..5 {
            // Any moment will do, and all of them should come.
            std::thread::sleep(std::time::Duration::from_micros(chance.below(200_000)));
            stopped.stop();
            let mut other = shared.daemon(&group, "100").spawn();
            shared.wait_for_segments_more(3);
            stopped.go_on();
            shared.wait_for_segments_more(3);
            assert!(stopped.is_running(), "it ended by itself:\n{}", stopped.log());
            check_log(&stopped);
            check_log(&other);
            // Now the one is killed, now the other.
            if chance.below(2) == 0 {
                std::mem::swap(&mut stopped, &mut other);
            }
            other.kill();
            shared.wait_for_segments_more(1);
        }
        assert_eq!(stopped.terminate(), Some(0), "{}", stopped.log());
        seen.look();
    });
    shared.daemon(&group, "100").until_end();
    shared.check(&mut seen, &produced);
}
