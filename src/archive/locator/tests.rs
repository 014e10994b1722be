//! A locator over a directory, and brokers in memory. These have no topic ids.

use super::*;
use crate::archive::first_start::FirstStart;
use crate::archive::history::{Choice, Difference, Histories, choose, history_of};
use crate::archive::identity::Identity;
use crate::archive::origin_object::OriginObject;
use crate::archive::test_segments::{CLUSTER, chain, offset, write_segment};
use crate::archive::{PartitionFacts, TopicFacts};
use crate::avro::Isolation;
use crate::clock::SystemClock;
use crate::config::{OffsetReset, OnDataLoss};
use crate::kafka::ffi::{Client, MockBrokers};
use crate::store::{ArchiveStore, LocalStore};
use kafka_store_statecharts::anchor::Evidence;
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::name::ChainName;
use slog::{Discard, Logger, o};
use std::path::Path;

const ANSWER_TIME: Duration = Duration::from_secs(10);

struct Rig {
    _directory: tempfile::TempDir,
    store: Arc<LocalStore>,
    locator: Locator,
    runtime: tokio::runtime::Runtime,
    client: Arc<Client>,
    brokers: MockBrokers,
}

impl Rig {
    /// With `cluster_id`, or that of the brokers.
    fn new(cluster_id: Option<&str>) -> Rig {
        let brokers = MockBrokers::start(2).expect("brokers");
        brokers.create_topic(&chain().topic_partition.topic, 1).expect("a topic");
        let servers = brokers.bootstrap_servers();
        let client = Client::new([("bootstrap.servers", &*servers), ("group.id", "g")]).expect("a client");
        let client = Arc::new(client);
        // The id comes with the first answer.
        client.broker_count(ANSWER_TIME).expect("they answer");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Arc::new(LocalStore::open(directory.path()).expect("it is there"));
        let params = LocatorParams {
            client: Arc::clone(&client),
            facts: Arc::new(TopicFacts::default()),
            partition_facts: PartitionFacts::default(),
            store: Arc::clone(&store) as Arc<dyn ArchiveStore>,
            histories: Histories::default(),
            identity: Identity {
                cluster_id: cluster_id.map(str::to_owned).or_else(|| client.cluster_id(ANSWER_TIME)),
                isolation: Isolation::ReadCommitted,
            },
            group: "g".to_owned(),
            offset_reset: OffsetReset::Earliest,
            first_start: FirstStart::now(BTreeMap::new()),
            on_data_loss: OnDataLoss::Freeze,
            index: None,
            log: Logger::root(Discard, o!()),
        };
        let mut locator =
            Locator::new(params, BlockingPool::new("walk", 2), Arc::default(), Arc::new(SystemClock::start()));
        locator.second_look = Duration::from_millis(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        Rig { _directory: directory, store, locator, runtime, client, brokers }
    }

    /// With a chain that ends before 10, of a cluster that has no id of its own.
    fn archived() -> (Rig, LastRecord) {
        let rig = Rig::new(Some(CLUSTER));
        let last_record = write_segment(&rig.store, 0, 10, None);
        let mut rig = rig;
        let params = Arc::get_mut(&mut rig.locator.params).expect("nothing runs");
        // It is not asked for here: the brokers have another.
        params.identity.cluster_id = None;
        (rig, last_record)
    }

    fn locate(&self) -> Result<Located, String> {
        self.locate_chain(&chain())
    }

    fn locate_chain(&self, chain: &ChainName) -> Result<Located, String> {
        let located = self.locator.locate(&chain.topic_partition, None);
        self.runtime.block_on(located).map_err(|blocked| blocked.reason)
    }

    fn examine(&self, broken: BrokenLog) -> Result<Cause, String> {
        let cause = self.locator.examine(&chain().topic_partition, broken);
        self.runtime.block_on(cause).map_err(|blocked| blocked.reason)
    }

    fn topics(&self, topics: &[&str]) -> BTreeMap<TopicName, TopicAnswer> {
        self.runtime.block_on(self.locator.topics(topics.iter().map(|topic| name(topic)).collect()))
    }

    fn findings(&self) -> Vec<(u32, Difference)> {
        let history = history_of(self.store.as_ref(), &chain()).expect("it answers");
        history.findings().iter().map(|finding| (finding.number, finding.log.difference)).collect()
    }
}

fn name(topic: &str) -> TopicName {
    TopicName::new(topic).expect("legal")
}

/// The log is empty, and the chain ends before 10.
fn broken() -> BrokenLog {
    BrokenLog {
        position: offset(10),
        topic_id: None,
        anchor: None,
        evidence: Evidence::EndsAt(offset(0)),
        holds_records: false,
        was_doubted: false,
    }
}

#[test]
fn a_new_partition_gets_an_origin_that_says_its_epoch() {
    let rig = Rig::new(None);
    let first = rig.locate().expect("nothing is in the way");
    assert_eq!((first.position, first.fetch_from, first.proof), (offset(0), offset(0), Proof::Nothing));
    let settled = OriginObject::read(rig.store.as_ref(), &chain()).expect("it answers").expect("it is settled");
    let again = rig.locate().expect("nothing is in the way");
    let expected = settled.leader_epoch.map_or(Proof::Nothing, Proof::Epoch);
    assert_eq!((again.position, again.last_record, again.proof), (offset(0), None, expected));
}

/// Nothing is concluded from where a log ends, but from what is fetched.
#[test]
fn a_log_that_ends_before_the_archive_is_to_prove_itself() {
    let (rig, record) = Rig::archived();
    let located = rig.locate().expect("nothing is in the way");
    let anchor = Anchor { offset: offset(9), record };
    assert_eq!((located.position, located.fetch_from), (offset(10), offset(10)));
    assert_eq!((located.last_record, located.proof), (Some(anchor), Proof::Record(anchor)));
}

/// It has nothing to prove itself with where the archive ends with a file of format 1.
#[test]
fn a_log_that_ends_before_an_archive_without_a_last_record_is_of_another_history() {
    let (rig, _) = Rig::archived();
    let chain = ChainName::parse("sample.topic_1", "000003").expect("legal");
    rig.brokers.create_topic(&chain.topic_partition.topic, 4).expect("a topic");
    let name = chain.segment(offset(1000)).to_string();
    let (sample, place) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1/null").join(&name), rig.store.root().join(&name));
    std::fs::create_dir_all(place.parent().expect("a folder")).expect("created");
    std::fs::copy(sample, place).expect("copied");
    let reason = rig.locate_chain(&chain).expect_err("frozen");
    assert!(
        reason.contains("the archive ends before 1301") && reason.contains("Kafka's log ended before 0"),
        "{reason}"
    );
    let history = history_of(rig.store.as_ref(), &chain).expect("it answers");
    let found: Vec<_> = history.findings().iter().map(|finding| (finding.number, finding.log.difference)).collect();
    assert_eq!(found, [(1, Difference::EndsAt(offset(0)))]);
    assert_eq!(rig.locate_chain(&chain).expect_err("frozen"), reason);
}

#[test]
fn another_history_is_written_down_after_two_looks_and_freezes_at_once_from_then_on() {
    let (rig, _) = Rig::archived();
    assert_eq!(rig.examine(broken()), Ok(Cause::Doubted));
    assert_eq!(rig.findings(), []);
    let twice = BrokenLog { was_doubted: true, ..broken() };
    let reason = rig.examine(twice).expect_err("frozen");
    assert!(reason.contains("resolve --partition orders-0") && reason.contains("histories/orders/000000"), "{reason}");
    let found = [(1, Difference::EndsAt(offset(0)))];
    assert_eq!(rig.findings(), found);
    assert_eq!(rig.examine(twice).expect_err("frozen"), reason, "the same finding");
    assert_eq!(rig.findings(), found);
    assert_eq!(rig.locate().expect_err("frozen"), reason);

    let history = history_of(rig.store.as_ref(), &chain()).expect("it answers");
    choose(rig.store.as_ref(), &history.findings()[0], Choice::SameHistory).expect("it is written");
    let located = rig.locate().expect("decided");
    assert_eq!((located.position, located.last_record, located.proof), (offset(10), None, Proof::Nothing));
    // What is found after that is news.
    rig.examine(twice).expect_err("frozen again");
    assert_eq!(rig.findings().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn records_that_are_held_and_lost_are_read_again() {
    let (rig, _) = Rig::archived();
    let holds = BrokenLog { holds_records: true, was_doubted: true, position: offset(15), ..broken() };
    assert_eq!(rig.examine(holds), Ok(Cause::Cut));
    assert_eq!(rig.findings(), []);
}

/// Another process has added to it.
#[test]
fn a_chain_that_has_grown_is_walked_again() {
    let (rig, _) = Rig::archived();
    write_segment(&rig.store, 10, 12, None);
    assert_eq!(rig.examine(BrokenLog { was_doubted: true, ..broken() }), Ok(Cause::Cut));
    let other = LastRecord { hash: RecordHash::of(b"of another chain"), leader_epoch: None };
    let anchor = Some(Anchor { offset: offset(11), record: other });
    let elsewhere = BrokenLog { was_doubted: true, position: offset(12), anchor, ..broken() };
    assert_eq!(rig.examine(elsewhere), Ok(Cause::Cut));
    assert_eq!(rig.findings(), []);
}

#[test]
fn another_cluster_freezes_this_process_and_writes_nothing() {
    let rig = Rig::new(Some("another"));
    let ours = rig.client.cluster_id(ANSWER_TIME).expect("they have an id");
    let reason = rig.locate().expect_err("frozen");
    assert!(reason.contains(&ours) && reason.contains("another"), "{reason}");
    let twice = BrokenLog { was_doubted: true, ..broken() };
    assert_eq!(rig.examine(twice).expect_err("frozen"), reason);
    assert_eq!(rig.topics(&["orders"]), BTreeMap::new(), "they say nothing of our topics");
    assert_eq!(rig.store.list_small("~kafka-store/origins").expect("it answers"), [""; 0]);
    assert_eq!(rig.findings(), []);
}

#[test]
fn topics_are_there_or_not() {
    let rig = Rig::new(None);
    let exists = TopicAnswer::Exists(None);
    assert_eq!(rig.topics(&["orders"]), BTreeMap::from([(name("orders"), exists)]));
    rig.brokers.create_topic(&name("others"), 3).expect("a topic");
    assert_eq!(rig.topics(&["orders", "others"]), BTreeMap::from([(name("orders"), exists), (name("others"), exists)]));
}

/// A log start beyond the record explains that it was not found, once: then the epoch was asked for.
#[test]
fn starts_without_a_record_are_remembered() {
    let (starts, partition) = (Starts::default(), chain().topic_partition);
    assert!(!starts.began_without_record(&partition, &broken()));
    starts.note(&partition, offset(10), None, Proof::Nothing);
    assert!(starts.began_without_record(&partition, &broken()));
    let moved = BrokenLog { position: offset(11), ..broken() };
    assert!(!starts.began_without_record(&partition, &moved), "it has gone on since");
    let record = LastRecord { hash: RecordHash::of(b"x"), leader_epoch: None };
    let anchor = Anchor { offset: offset(9), record };
    starts.note(&partition, offset(10), None, Proof::Record(anchor));
    assert!(!starts.began_without_record(&partition, &broken()));
}
