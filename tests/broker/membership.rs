//! Who is a member of a group, and which partitions there are: static members, patterns, topics that come and go.

use crate::support::archive::Archive;
use crate::support::broker::{Broker, unique};
use crate::support::daemon::{Daemon, Running};
use crate::support::records::{assert_same, logged_from, numbered};
use crate::support::wait_until;

/// Metadata is looked at often, so that what is new is seen soon.
const LOOKS_OFTEN: [&str; 2] = ["-X", "topic.metadata.refresh.interval.ms=500"];

/// The partitions that a member was given last, as its log names them.
fn last_assigned(member: &Running) -> Option<String> {
    let log = member.log();
    log.lines()
        .rfind(|line| line.contains(" partitions assigned, "))
        .and_then(|line| line.split_once(" INFO "))
        .map(|(_, text)| text.to_owned())
}

fn rebalances(member: &Running) -> usize {
    let log = member.log();
    log.matches(" partitions assigned, ").count() + log.matches(" partitions revoked, ").count()
}

/// A topic of four partitions with ten records each.
struct Shared {
    broker: Broker,
    topic: String,
    archive: Archive,
}

impl Shared {
    fn new(label: &str) -> Shared {
        let broker = Broker::get();
        let topic = broker.create_topic(label, 4, &[]);
        let shared = Shared { broker, topic, archive: Archive::new() };
        shared.produce(0..10);
        shared
    }

    fn produce(&self, numbers: std::ops::Range<i64>) {
        (0..4).for_each(|partition| self.broker.produce(&self.topic, partition, &numbered(numbers.clone()), &[]));
    }

    /// The group is named as the topic is.
    fn daemon(&self) -> Daemon {
        Daemon::new(&self.broker, &[&self.topic], &self.topic, self.archive.path()).args(&["--file-records", "5"])
    }

    fn static_member(&self, id: &str) -> Daemon {
        self.daemon().session_timeout_ms(30_000).args(&["-X", &format!("group.instance.id={id}")])
    }

    fn wait_until_archived(&self, end: i64) {
        wait_until("everything is archived", || {
            (0..4).all(|partition| self.archive.starts(&self.topic, partition).last() == Some(&(end - 5)))
        });
    }

    #[track_caller]
    fn check(&self, end: i64) {
        self.archive.check();
        for partition in 0..4 {
            let archived = self.archive.records(&self.topic, partition);
            assert_same("the archive", &archived, &logged_from(0, &numbered(0..end)));
        }
    }
}

#[test]
fn a_static_member_that_is_restarted_keeps_its_partitions() {
    let shared = Shared::new("static");
    let mut one = shared.static_member("one").spawn();
    shared.wait_until_archived(10);
    let mut other = shared.static_member("other").spawn();
    wait_until("the other has its share", || last_assigned(&other).is_some_and(|line| line.contains("count: 2")));
    let mut end = 10;
    for way in ["terminated", "killed"] {
        let before = (last_assigned(&one), rebalances(&other));
        if way == "killed" {
            one.kill();
        } else {
            assert_eq!(one.terminate(), Some(0));
        }
        end += 10;
        shared.produce(end - 10..end);
        one = shared.static_member("one").spawn();
        shared.wait_until_archived(end);
        println!("{way}: {:?} and then {:?}", before.0, last_assigned(&one));
        assert_eq!(rebalances(&other), before.1, "the other was disturbed: {}", other.log());
    }
    for member in [&mut one, &mut other] {
        assert_eq!(member.terminate(), Some(0), "{}", member.log());
    }
    shared.check(end);
}

#[test]
fn of_two_daemons_with_one_id_one_ends() {
    let shared = Shared::new("twice");
    let mut first = shared.static_member("same").spawn();
    shared.wait_until_archived(10);
    let mut second = shared.static_member("same").spawn();
    assert_eq!(first.wait().code(), Some(5), "{}", first.log());
    assert!(first.log().contains(" ERRO another process has taken this member's identity"), "{}", first.log());
    shared.produce(10..20);
    shared.wait_until_archived(20);
    assert_eq!(second.terminate(), Some(0), "{}", second.log());
    shared.check(20);
}

/// In the newer protocol the one that comes later is refused, and takes over once the identity is free.
#[test]
fn of_two_daemons_with_one_id_one_waits_with_the_newer_protocol() {
    let shared = Shared::new("twice");
    let member = || shared.static_member("same").consumer_protocol();
    let mut first = member().spawn();
    shared.wait_until_archived(10);
    let mut second = member().spawn();
    second.wait_for("kafka client failed; replacing it, ");
    second.wait_for("UNRELEASED_INSTANCE_ID");
    shared.produce(10..20);
    shared.wait_until_archived(20);
    assert_eq!(first.terminate(), Some(0), "{}", first.log());
    second.wait_for("chain located");
    shared.produce(20..30);
    shared.wait_until_archived(30);
    assert_eq!(second.terminate(), Some(0), "{}", second.log());
    shared.check(30);
}

/// Until its session has ended, the broker refuses its successor.
#[test]
fn a_static_member_that_was_killed_comes_back_by_itself_with_the_newer_protocol() {
    let shared = Shared::new("killed");
    let member = || shared.static_member("same").consumer_protocol();
    let mut first = member().spawn();
    shared.wait_until_archived(10);
    first.kill();
    let mut second = member().spawn();
    second.wait_for("kafka client failed; replacing it, ");
    shared.produce(10..20);
    second.wait_for("kafka client replaced, ");
    second.wait_for("chain located");
    shared.wait_until_archived(20);
    assert_eq!(second.terminate(), Some(0), "{}", second.log());
    shared.check(20);
}

/// A pattern means topics that exist and those that come, each from its beginning, and none of Kafka's own.
fn archives_what_a_pattern_means(kind: impl Fn(Daemon) -> Daemon) {
    let broker = Broker::get();
    let prefix = unique("pattern");
    let topic = |name: &str| format!("{prefix}.{name}");
    broker.create_topic_named(&topic("a"), 1, &[]);
    broker.produce(&topic("a"), 0, &numbered(0..10), &[]);
    // This makes sure that Kafka's own topics exist.
    broker.transaction(&topic("a"), 0, &numbered(10..19), true);
    broker.create_topic_named(&format!("other-{prefix}.a"), 1, &[]);
    broker.produce(&format!("other-{prefix}.a"), 0, &numbered(0..10), &[]);
    let archive = Archive::new();
    let pattern = format!("^({prefix}[.]|__).*$");
    let daemon = Daemon::new(&broker, &[&pattern], &prefix, archive.path()).args(&LOOKS_OFTEN);
    let mut running = kind(daemon.args(&["--file-records", "5"])).spawn();
    let has = |name: &str, partition, starts: &[i64]| {
        wait_until("it is archived", || archive.starts(&topic(name), partition) == starts);
    };
    has("a", 0, &[0, 5, 10]);

    broker.create_topic_named(&topic("b"), 1, &[]);
    broker.produce(&topic("b"), 0, &numbered(0..10), &[]);
    has("b", 0, &[0, 5]);

    broker.create_partitions(&topic("a"), 2);
    broker.produce(&topic("a"), 1, &numbered(0..10), &[]);
    has("a", 1, &[0, 5]);

    broker.delete_topic(&topic("b"));
    running.wait_for("topic was deleted, and is subscribed to no more");
    broker.produce(&topic("a"), 1, &numbered(10..20), &[]);
    has("a", 1, &[0, 5, 10, 15]);
    assert_eq!(running.terminate(), Some(0), "{}", running.log());
    let log = running.log();
    assert!(!log.contains("__") && !log.contains("other-") && !log.contains(" ERRO "), "{log}");
    let names: Vec<String> = archive.segments();
    assert!(names.iter().all(|name| name.starts_with(&prefix)), "{names:?}");
    archive.check();
    assert_same("the topic that is gone", &archive.records(&topic("b"), 0), &logged_from(0, &numbered(0..10)));
}

#[test]
fn a_pattern_means_what_exists_and_what_comes() {
    archives_what_a_pattern_means(|daemon| daemon.offset_reset("earliest"));
}

#[test]
fn a_pattern_means_the_same_in_an_eager_group() {
    archives_what_a_pattern_means(|daemon| daemon.args(&["-X", "partition.assignment.strategy=roundrobin"]));
}

/// Here the broker looks for topics.
#[test]
fn a_pattern_means_the_same_with_the_newer_protocol() {
    archives_what_a_pattern_means(Daemon::consumer_protocol);
}

/// What librdkafka takes for a pattern is another language, in which `\d` is the letter d.
#[test]
fn a_pattern_is_of_one_dialect() {
    let broker = Broker::get();
    let prefix = unique("dialect");
    let topic = |name: &str| format!("{prefix}-{name}");
    for name in ["12", "d", "12x"] {
        broker.create_topic_named(&topic(name), 1, &[]);
        broker.produce(&topic(name), 0, &numbered(0..5), &[]);
    }
    let archive = Archive::new();
    let pattern = format!(r"^{prefix}-\d+$");
    let daemon = || Daemon::new(&broker, &[&pattern], &prefix, archive.path());
    daemon().until_end();
    assert_eq!(archive.segments(), [format!("{}/000000/{:020}", topic("12"), 0)]);
    archive.check();

    // Nothing matches: a run that ends has nothing to do, and a daemon waits for topics to come.
    let pattern = format!(r"^{prefix}-later-\d+$");
    let daemon = || Daemon::new(&broker, &[&pattern], &format!("{prefix}-later"), archive.path());
    let ended = daemon().until_end();
    assert!(ended.log.contains("no topic matches, so there is nothing to archive"), "{}", ended.log);
    let mut running = daemon().args(&["--file-records", "5"]).spawn();
    running.wait_for("no topic matches yet");
    broker.create_topic_named(&topic("later-1"), 1, &[]);
    broker.produce(&topic("later-1"), 0, &numbered(0..5), &[]);
    // Without a shorter interval it takes at most 20 s until the topic is seen.
    running.wait_for("topic found, which a pattern matches");
    wait_until("it is archived", || archive.starts(&topic("later-1"), 0) == [0]);
    assert_eq!(running.terminate(), Some(0), "{}", running.log());
}

/// `--offset-reset` speaks of what existed at the group's first start, not of what a pattern finds later.
#[test]
fn what_comes_later_is_archived_from_its_beginning() {
    let broker = Broker::get();
    let prefix = unique("later");
    let (early, late) = (format!("{prefix}.early"), format!("{prefix}.late"));
    broker.create_topic_named(&early, 1, &[]);
    broker.produce(&early, 0, &numbered(0..10), &[]);
    let archive = Archive::new();
    let daemon = Daemon::new(&broker, &[&format!("^{prefix}[.]")], &prefix, archive.path()).offset_reset("latest");
    let mut running = daemon.args(&LOOKS_OFTEN).args(&["--file-records", "5"]).spawn();
    running.wait_for("position: 10");
    broker.create_topic_named(&late, 1, &[]);
    broker.produce(&late, 0, &numbered(0..5), &[]);
    wait_until("it is archived", || archive.starts(&late, 0) == [0]);
    broker.produce(&early, 0, &numbered(10..15), &[]);
    wait_until("it is archived", || archive.starts(&early, 0) == [10]);
    assert_eq!(running.terminate(), Some(0));
}

/// An old process, or a stranger, is in the group: the one that comes later is told, and waits.
#[test]
fn a_group_with_another_protocol_is_told() {
    let shared = Shared::new("mixed");
    let mut first = shared.daemon().session_timeout_ms(1_000).spawn();
    shared.wait_until_archived(10);
    let eager = ["-X", "partition.assignment.strategy=range"];
    let mut second = shared.daemon().session_timeout_ms(1_000).args(&eager).spawn();
    second.wait_for("another member of the group uses another protocol");
    shared.produce(10..20);
    shared.wait_until_archived(20);
    assert_eq!(first.terminate(), Some(0), "{}", first.log());
    second.wait_for("chain located");
    shared.produce(20..30);
    shared.wait_until_archived(30);
    assert_eq!(second.terminate(), Some(0), "{}", second.log());
    shared.check(30);
}

#[test]
fn what_clashes_with_the_newer_protocol_is_refused() {
    let (broker, archive) = (Broker::get(), Archive::new());
    let properties = ["partition.assignment.strategy=range", "session.timeout.ms=6000", "heartbeat.interval.ms=1000"];
    let daemon = Daemon::new(&broker, &["topic"], "g", archive.path()).consumer_protocol();
    let ended = properties.iter().fold(daemon, |daemon, property| daemon.args(&["-X", *property])).run();
    assert_eq!(ended.code, Some(2), "{}", ended.log);
    for words in ["group.remote.assignor", "group.consumer.session.timeout.ms", "group.consumer.heartbeat.interval.ms"]
    {
        assert!(ended.log.contains(words), "{words} in\n{}", ended.log);
    }
}
