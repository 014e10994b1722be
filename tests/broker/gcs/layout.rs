//! Buckets that the original tool has filled, and places for files.

use crate::support::broker::Broker;
use crate::support::bucket::{BUCKET, Bucket};
use crate::support::records::{assert_same, logged_from, numbered};
use std::path::Path;

/// The original's files of a partition with one record each.
fn originals() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tree/ones/000000");
    (0..5).map(|start| std::fs::read(folder.join(format!("{start:020}"))).expect("a golden file")).collect()
}

/// Without a prefix the original's names begin with a slash. Fails if a second chain begins beside them.
#[test]
fn a_bucket_of_names_that_begin_with_a_slash_is_gone_on_with() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-slash", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..10), &[]);
    let bucket = Bucket::new();
    for (start, bytes) in (0..).zip(originals()) {
        bucket.fake.put_object(BUCKET, &format!("/{topic}/000000/{start:020}"), &bytes, &[("count", "1")]);
    }
    broker.commit(&topic, &topic, 0, 5);
    let daemon = || bucket.daemon_at(&broker, &topic, &topic, "gs://archive");
    daemon().until_end();
    bucket.check();
    let names: Vec<String> = bucket.fake.objects(BUCKET).into_keys().collect();
    assert!(names.iter().all(|name| name.starts_with('/')), "{names:?}");
    assert!(names.contains(&format!("/{topic}/000000/{:020}", 5)), "{names:?}");

    // Somebody has begun another archive in the same place.
    bucket.fake.put_object(BUCKET, "~kafka-store/groups/other", b"{}", &[]);
    let log = daemon().until_end_with_code(1).log;
    assert!(log.contains("it holds objects that begin with a slash"), "{log}");
}

#[test]
fn a_bucket_without_a_prefix_has_plain_names() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-plain", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..10), &[]);
    let bucket = Bucket::new();
    bucket.daemon_at(&broker, &topic, &topic, "gs://archive/").until_end();
    bucket.check();
    let names: Vec<String> = bucket.fake.objects(BUCKET).into_keys().collect();
    assert!(names.contains(&format!("{topic}/000000/{:020}", 0)), "{names:?}");
}

/// `plan` says what would happen, tries whether objects can be created, and creates none.
#[test]
fn a_plan_changes_nothing() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-plan", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..10), &[]);
    let bucket = Bucket::new();
    let plan = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_kafka-store"))
            .args(["plan", "--broker-list", &broker.address, "--topic", &topic, "--group", &topic])
            .args(["--offset-reset", "earliest", "--gcloud-store-url", "gs://archive/prefix"])
            .args(["--gcs-endpoint", bucket.fake.base_url()])
            .env("TMPDIR", bucket.spool.path())
            .output()
            .expect("it runs")
    };
    let planned = plan();
    let text = String::from_utf8_lossy(&planned.stdout).into_owned();
    assert!(planned.status.success(), "{text} {}", String::from_utf8_lossy(&planned.stderr));
    assert!(text.contains("gs://archive/prefix/") && text.contains("new: earliest"), "{text}");
    assert!(bucket.fake.objects(BUCKET).is_empty());
    assert_eq!(bucket.fake.open_sessions(), 0, "the session that it opened is cancelled");
    bucket.fake.set(|settings| settings.permissions.create = false);
    let refused = plan();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("the right storage.objects.create"), "{told}");
}

/// Without a local store and a spool directory, files lie where nobody else can look.
#[test]
fn files_on_their_way_are_in_a_directory_of_the_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-spool", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..10), &[]);
    let bucket = Bucket::new();
    let temporary = bucket.spool.path();
    let uid = rustix::process::getuid().as_raw();
    let run = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_kafka-store"))
            .args(["--broker-list", &broker.address, "--topic", &topic, "--group", &topic, "--until-end"])
            .args(["--offset-reset", "earliest", "--gcloud-store-url", "gs://archive/prefix"])
            .env("STORAGE_EMULATOR_HOST", bucket.fake.address())
            .env("TMPDIR", temporary)
            .output()
            .expect("it runs")
    };
    let ended = run();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let own = temporary.join(format!("kafka-store-{uid}"));
    let mode = std::fs::metadata(&own).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    bucket.check();
    assert_same("the archive", &bucket.download().records(&topic, 0), &logged_from(0, &numbered(0..10)));
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let refused = run();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not a directory of this user alone"));
}
