//! Goal: whatever fails for a while costs lag and nothing else. Method: three brokers, three daemons of one group, a bucket
//! behind a proxy, MariaDB behind another and a small disk for the spool, all of which fail at random and at once, while
//! producers write. Nobody does anything by hand: daemons that were killed are started again, as Kubernetes would. When
//! all faults have stopped, the lag is zero within two minutes, and the archive is the log, record by record.
//!
//! `tests/chaos MINUTES` runs it; it prints the seed and a line for each fault. `KAFKA_STORE_CHAOS_MINUTES` says for how
//! long (half a minute without it), and `KAFKA_STORE_SEED` repeats the faults of a run. The daemons' logs are kept.

mod course;
mod faults;
mod load;
mod members;

use crate::support::broker::{Broker, unique};
use crate::support::bucket::{BUCKET, Bucket};
use crate::support::cluster::Cluster;
use crate::support::cutting_proxy::CuttingProxy;
use crate::support::daemon::Daemon;
use crate::support::fake_gcs::FakeGcs;
use crate::support::mysql::{Database, Server};
use crate::support::records::{Logged, Record, assert_same};
use crate::support::rows::assert_rows_are_the_files;
use crate::support::seed::Chance;
use crate::support::shaky_proxy::ShakyProxy;
use crate::support::small_disk::SmallDisk;
use course::Course;
use members::Members;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const PLAIN_PARTITIONS: usize = 6;
const TRANSACTION_PARTITIONS: usize = 2;
/// How long everything may take to be archived, once all faults have stopped.
const HEALED_WITHIN: Duration = Duration::from_secs(120);

fn length() -> Duration {
    match std::env::var("KAFKA_STORE_CHAOS_MINUTES") {
        Ok(minutes) => Duration::from_secs_f64(60.0 * minutes.parse::<f64>().expect("a number of minutes")),
        Err(_) => Duration::from_secs(30),
    }
}

/// What was produced.
struct Produced {
    plain: Vec<Vec<Record>>,
    /// Keys in transactions that are known to be committed.
    committed: Vec<Vec<u64>>,
}

/// All records that can be seen, by topic and partition.
type Log = BTreeMap<(String, i32), Vec<Logged>>;

#[test]
fn whatever_fails_for_a_while_costs_lag_and_nothing_else() {
    let mut chance = Chance::from_seed();
    let length = length();
    let settings = [("transaction.state.log.min.isr", "2"), ("offsets.topic.num.partitions", "2")];
    let mut cluster = Cluster::start_with(3, &settings);
    let broker = cluster.broker();
    let safe = [("min.insync.replicas", "2")];
    let plain = cluster.create_topic("chaos", PLAIN_PARTITIONS as i32, 3, &safe);
    let transactions = cluster.create_topic("chaos-tx", TRANSACTION_PARTITIONS as i32, 3, &safe);
    let topics = [plain.as_str(), transactions.as_str()];
    let group = unique("chaos");

    let to_bucket = ShakyProxy::start();
    let fake = FakeGcs::start_behind(&[BUCKET], to_bucket.port());
    to_bucket.lead_to(fake.port());
    let bucket = Bucket { fake, spool: tempfile::tempdir().expect("a temporary directory") };
    let mut server = Server::start(&[]);
    let database = Database::on(&server.url(), "chaos");
    database.init();
    let to_index = CuttingProxy::before(server.port());
    let index_url = format!("mysql://root@127.0.0.1:{}/{}", to_index.port(), database.name);
    let disk = SmallDisk::mount();
    let spool = disk.archive.path();
    let daemon = || daemon(&broker, &topics, &group, &bucket, &index_url, spool);

    let course = Course::new(length);
    let mut members = Members::start(&course, &daemon);
    let mut seeds = || Chance::fixed(chance.next());
    let (of_brokers, of_bucket, of_index, of_disk) = (seeds(), seeds(), seeds(), seeds());
    let (of_members, of_plain, of_transactions) = (seeds(), seeds(), seeds());
    let produced = std::thread::scope(|scope| {
        let (course, broker) = (&course, &broker);
        let producing = scope.spawn(|| load::records(course, of_plain, broker, &plain, PLAIN_PARTITIONS));
        let committing =
            scope.spawn(|| load::transactions(course, of_transactions, broker, &transactions, TRANSACTION_PARTITIONS));
        scope.spawn(|| faults::of_brokers(course, of_brokers, &mut cluster));
        scope.spawn(|| faults::of_bucket(course, of_bucket, &bucket.fake, &to_bucket));
        scope.spawn(|| faults::of_index(course, of_index, &mut server, &to_index));
        scope.spawn(|| faults::of_disk(course, of_disk, spool));
        scope.spawn(|| members.fail(of_members));
        Produced {
            plain: producing.join().expect("records are produced"),
            committed: committing.join().expect("transactions end"),
        }
    });
    course.say("all faults have stopped");
    let healed = Instant::now();

    let log = read_log(&broker, &topics);
    check_log(&log, &topics, &produced);
    let lag = wait_for_lag(&broker, &group, &log, healed + HEALED_WITHIN);
    members.look();
    course.say(&format!("{:.1} s after the last fault the lag is {lag:?}", healed.elapsed().as_secs_f64()));
    members.end();
    let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&group);
    members.keep_logs(&logs);
    println!("logs of the daemons: {}", logs.display());
    println!("faults: {:#?}", course.counts());

    assert!(lag.is_empty(), "committed, and where the log ends: {lag:?}; {:?}", course.wrong());
    bucket.check();
    let archive = bucket.download();
    println!("{}", archive.check());
    let archived = archive.all_records();
    for (partition, log) in &log {
        assert_same("the archive and the log", archived.get(partition).map_or(&[][..], Vec::as_slice), log);
    }
    println!("{} rows", assert_rows_are_the_files(&database, &archive));
    assert_eq!(course.wrong(), Vec::<String>::new());
}

fn daemon(broker: &Broker, topics: &[&str], group: &str, bucket: &Bucket, index_url: &str, spool: &Path) -> Daemon {
    let spool = spool.to_str().expect("UTF-8");
    Daemon::without_store(broker, topics, group)
        .args(&["--gcloud-store-url", "gs://archive/prefix", "--gcs-endpoint", bucket.fake.base_url()])
        .args(&["--gcs-idle-timeout", "3s", "--mysql-metadata-url", index_url])
        .args(&["--spool-dir", spool, "--spool-limit", "4M", "--memory-limit", "64M"])
        .args(&["--file-size", "100k", "--file-records", "200"])
        .args(&["--idle-seal-seconds", "10", "--seal-after-seconds", "60"])
        // What the bucket has refused freezes. That somebody has granted it again is seen after half a minute, and by
        // default later and later.
        .args(&["--reexamine-after", "30s"])
}

/// The independent view of everything that can be seen.
fn read_log(broker: &Broker, topics: &[&str]) -> Log {
    let partitions = [PLAIN_PARTITIONS, TRANSACTION_PARTITIONS];
    let each = topics.iter().zip(partitions).flat_map(|(topic, count)| (0..count as i32).map(move |of| (*topic, of)));
    each.map(|(topic, partition)| ((topic.to_owned(), partition), broker.read_all(topic, partition))).collect()
}

/// The log is what was produced; otherwise it is the test that failed.
fn check_log(log: &Log, topics: &[&str], produced: &Produced) {
    for (partition, produced) in (0..).zip(&produced.plain) {
        // Everything that was acknowledged, in order. When all brokers are killed, a producer may repeat a batch that it
        // knows nothing of, although it is idempotent: the archive has to have that, too.
        let log = &log[&(topics[0].to_owned(), partition)];
        let mut logged = log.iter().map(|logged| &logged.record);
        let missing = produced.iter().position(|record| !logged.any(|logged| logged == record));
        assert_eq!(missing, None, "number of a record that partition {partition} of the log lacks");
        println!("{} records, {} of them repeated by their producer", log.len(), log.len() - produced.len());
    }
    for (partition, committed) in (0..).zip(&produced.committed) {
        let key = |logged: &Logged| logged.record.key.as_deref().map(|key| key.try_into().map(u64::from_be_bytes));
        let keys: Vec<u64> =
            log[&(topics[1].to_owned(), partition)].iter().filter_map(key).map(|key| key.expect("8 bytes")).collect();
        let mut seen = keys.iter();
        assert!(committed.iter().all(|key| seen.any(|seen| seen == key)), "the log lacks what was committed");
        println!("{} records in transactions, {} known to be committed", keys.len(), committed.len());
    }
}

/// Waits until what is committed is the end of what can be seen; the answer are the partitions of which it is not:
/// what is committed, and what should be.
fn wait_for_lag(
    broker: &Broker,
    group: &str,
    log: &Log,
    deadline: Instant,
) -> BTreeMap<(String, i32), (Option<i64>, i64)> {
    let commits = broker.commits_of(group);
    loop {
        let lag: BTreeMap<_, _> = log
            .iter()
            .filter_map(|((topic, partition), records)| {
                let end = records.last()?.offset + 1;
                let committed = commits.of(topic, partition + 1)[*partition as usize];
                (committed != Some(end)).then(|| ((topic.clone(), *partition), (committed, end)))
            })
            .collect();
        if lag.is_empty() || Instant::now() >= deadline {
            return lag;
        }
        // The pace at which somebody asks.
        std::thread::sleep(Duration::from_millis(500));
    }
}
