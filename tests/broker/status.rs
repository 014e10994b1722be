//! Goal: what the status page, the metrics and the probes say of a daemon is so. Method: a real broker and the built
//! daemon; the figures are compared with the archive and with Kafka, and read by Prometheus's own parser.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::daemon::Daemon;
use crate::support::http;
use crate::support::metrics::{Metrics, Shown};
use crate::support::mysql::{Database, Server};
use crate::support::records::numbered;
use crate::support::wait_until;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

fn files(archive: &Archive, topic: &str) -> Vec<u64> {
    let partitions = fs::read_dir(archive.path().join(topic)).expect("archived");
    let files = partitions.flat_map(|partition| fs::read_dir(partition.expect("an entry").path()).expect("readable"));
    files.map(|file| file.expect("an entry").metadata().expect("known").len()).collect()
}

#[test]
fn the_figures_are_those_of_the_archive_and_of_kafka() {
    let broker = Broker::get();
    let topic = broker.create_topic("status", 2, &[]);
    broker.produce(&topic, 0, &numbered(0..30), &[]);
    broker.produce(&topic, 1, &numbered(0..20), &[]);
    let archive = Archive::new();
    let daemon = Daemon::new(&broker, &[&topic], &topic, archive.path()).never_seals_by_the_clock();
    let mut shown = Shown::start(daemon.args(&["--file-records", "10", "--spool-limit", "2G"]));
    for (partition, end) in [("0", 30.0), ("1", 20.0)] {
        shown.wait_for("kafka_store_partition_archived_offset", partition, end);
        shown.wait_for("kafka_store_partition_segments", partition, 0.0);
    }
    let metrics = Metrics::of(&shown.address);

    let of_topic = ("topic", topic.as_str());
    let value = |name: &str, more: &[(&str, &str)]| metrics.value(name, &[&[of_topic], more].concat());
    assert_eq!(value("kafka_store_segments_sealed_total", &[("reason", "records")]), Some(5.0));
    assert_eq!(value("kafka_store_segments_stored_total", &[("outcome", "stored")]), Some(5.0));
    assert_eq!(value("kafka_store_segments_stored_total", &[("outcome", "adopted")]), None);
    assert_eq!(value("kafka_store_records_sealed_total", &[]), Some(50.0));
    assert_eq!(value("kafka_store_records_stored_total", &[]), Some(50.0));
    let stored = files(&archive, &topic);
    assert_eq!(stored.len(), 5);
    assert_eq!(value("kafka_store_file_bytes_stored_total", &[]), Some(stored.iter().sum::<u64>() as f64));
    assert_eq!(metrics.value("kafka_store_partitions", &[("state", "Active")]), Some(2.0));
    assert_eq!(metrics.value("kafka_store_group_state", &[("group", &topic), ("state", "Assigned")]), Some(1.0));
    assert_eq!(metrics.value("kafka_store_memory_limit_bytes", &[]), Some(256e6));
    assert_eq!(metrics.value("kafka_store_spool_limit_bytes", &[]), Some(2e9));
    assert!(metrics.value("process_resident_memory_bytes", &[]).expect("known") > 1e6);

    // What comes now stays in an open file.
    broker.produce(&topic, 1, &numbered(20..23), &[]);
    let metrics = shown.wait_for("kafka_store_partition_open_records", "1", 3.0);
    let of_one = [of_topic, ("partition", "1")];
    for (name, wanted) in [
        ("kafka_store_partition_taken_offset", 23.0),
        ("kafka_store_partition_archived_offset", 20.0),
        ("kafka_store_partition_segments", 1.0),
        ("kafka_store_partition_frozen", 0.0),
    ] {
        assert_eq!(metrics.value(name, &of_one), Some(wanted), "{name}");
    }
    let begun = metrics.value("kafka_store_partition_unstored_since_seconds", &of_one).expect("a file is open");
    let last = metrics.value("kafka_store_partition_last_stored_seconds", &of_one).expect("files are stored");
    assert!(begun >= last, "{begun} {last}");
    let of_zero = [of_topic, ("partition", "0")];
    assert_eq!(metrics.value("kafka_store_partition_unstored_since_seconds", &of_zero), None);
    // Brokers are not asked for it each time.
    let metrics = shown.wait_for("kafka_store_partition_lag_offsets", "1", 3.0);
    assert_eq!(metrics.value("kafka_store_partition_high_watermark", &of_one), Some(23.0));
    assert_eq!(metrics.value("kafka_store_partition_lag_offsets", &of_zero), Some(0.0));
    assert_all_are_documented(&metrics);

    let status: serde_json::Value =
        serde_json::from_str(&http::get(&shown.address, "/status.json").body).expect("JSON");
    assert_eq!((&status["group"], &status["group_state"]), (&topic.as_str().into(), &"Assigned".into()));
    let one = &status["partitions"][1];
    assert_eq!((&one["topic"], &one["partition"]), (&topic.as_str().into(), &1.into()));
    assert_eq!((&one["state"], &one["lag_offsets"], &one["open_records"]), (&"Active".into(), &3.into(), &3.into()));
    assert_eq!((&one["segments"][0]["start"], &one["segments"][0]["state"]), (&20.into(), &"Buffering".into()));
    assert_eq!((&one["last_stored"]["start"], &one["last_stored"]["final"]), (&10.into(), &19.into()));

    let page = http::get(&shown.address, "/");
    assert!(
        page.head.contains("content-type: text/html")
            && page.head.contains("content-security-policy: default-src 'none'")
    );
    assert!(page.body.contains(&format!("<td>{topic}/000001<td>Active<td>")), "{}", page.body);
    assert!(page.body.contains("3 records, "), "{}", page.body);
    assert_eq!(http::ask("HEAD", &shown.address, "/").body, "");
    assert_eq!(http::get(&shown.address, "/etc/passwd").status, 404);
    assert_eq!(http::ask("POST", &shown.address, "/metrics").status, 405);
    assert_eq!(shown.running.terminate(), Some(0));
}

/// In both directions, so that the document stays true.
#[track_caller]
fn assert_all_are_documented(metrics: &Metrics) {
    let document = include_str!("../../docs/metrics.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `kafka_store_"));
    let documented: BTreeSet<String> =
        rows.map(|row| format!("kafka_store_{}", row.split(['`', '{']).next().expect("a name"))).collect();
    let shown: BTreeSet<String> =
        metrics.names().filter(|name| name.starts_with("kafka_store_")).map(str::to_owned).collect();
    assert_eq!(documented, shown);
}

/// A frozen partition is shown with its reason, whatever is in it, and is nothing that a restart would mend.
#[test]
fn a_frozen_partition_is_shown_with_its_reason() {
    let broker = Broker::get();
    let topic = broker.create_topic("shown", 2, &[]);
    let archive = Archive::new();
    let daemon = || Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--file-records", "5"]);
    for partition in 0..2 {
        broker.produce(&topic, partition, &numbered(0..10), &[]);
    }
    daemon().until_end();
    broker.commit(&topic, &topic, 1, 12);
    let mut shown = Shown::start(daemon());
    let metrics = shown.wait_for("kafka_store_partition_frozen", "1", 1.0);
    assert_eq!(metrics.value("kafka_store_partition_frozen", &[("partition", "0")]), Some(0.0));
    assert_eq!(metrics.value("kafka_store_partitions", &[("state", "Frozen")]), Some(1.0));
    let page = http::get(&shown.address, "/").body;
    let (frozen, other) = (page.find("has committed 12").expect("the reason"), page.find("/000000<td>").expect("it"));
    assert!(frozen < other, "what needs somebody comes first:\n{page}");
    assert!(page.contains(&format!("<code>kafka-store resolve --partition {topic}-1</code>")), "{page}");
    let status: serde_json::Value =
        serde_json::from_str(&http::get(&shown.address, "/status.json").body).expect("JSON");
    let reason = status["partitions"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("has committed 12"), "{reason}");
    for probe in ["/healthz", "/readyz"] {
        assert_eq!(http::get(&shown.address, probe).status, 200, "{probe}");
    }
    assert_eq!(shown.running.terminate(), Some(0));
}

/// What nobody can read is nothing that is still to be archived.
#[test]
fn markers_at_the_end_of_a_log_are_no_lag() {
    let broker = Broker::get();
    let topic = broker.create_topic("markers", 1, &[]);
    broker.transaction(&topic, 0, &numbered(0..5), true);
    broker.transaction(&topic, 0, &numbered(900..903), false);
    let (_, high_watermark) = broker.watermarks(&topic, 0);
    assert_eq!(high_watermark, 10);
    let archive = Archive::new();
    let daemon = Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&["--file-records", "5"]);
    let mut shown = Shown::start(daemon);
    // Whether the end is seen before the file is stored, or after.
    for name in ["archived_offset", "taken_offset"] {
        shown.wait_for(&format!("kafka_store_partition_{name}"), "0", 10.0);
    }
    let metrics = shown.wait_for("kafka_store_partition_lag_offsets", "0", 0.0);
    for name in ["archived_offset", "taken_offset", "high_watermark"] {
        let value = metrics.value(&format!("kafka_store_partition_{name}"), &[]);
        assert_eq!(value, Some(10.0), "{name} in\n{}", metrics.text);
    }
    assert_eq!(shown.running.terminate(), Some(0));
}

/// Where a row cannot be written, the adapter tries again; that is counted, too. And the marker at the log's end, which is
/// seen in the meantime, is archived with the row.
#[test]
fn an_index_that_is_away_is_counted() {
    let (broker, mut server) = (Broker::get(), Server::start(&[]));
    let topic = broker.create_topic("away", 1, &[]);
    let database = Database::on(&server.url(), "away");
    database.init();
    let archive = Archive::new();
    let daemon = Daemon::new(&broker, &[&topic], &topic, archive.path()).never_seals_by_the_clock();
    let mut shown = Shown::start(daemon.args(&["--file-records", "5", "--mysql-metadata-url", &database.url()]));
    let failures = || {
        Metrics::of(&shown.address).value("kafka_store_failures_total", &[("of", "index"), ("class", "unavailable")])
    };
    wait_until("it is a member", || http::get(&shown.address, "/readyz").status == 200);
    assert_eq!(failures(), Some(0.0));
    server.kill();
    broker.transaction(&topic, 0, &numbered(0..5), true);
    // Later and later: the last time is seconds after the end of the log was seen.
    wait_until("it has been tried five times", || failures() >= Some(5.0));
    let metrics = Metrics::of(&shown.address);
    assert!(metrics.value("kafka_store_partition_archived_offset", &[]) >= Some(5.0), "{}", metrics.text);
    assert_eq!(metrics.value("kafka_store_partition_segments", &[]), Some(1.0), "its row is missing");
    server.run();
    shown.wait_for("kafka_store_partition_segments", "0", 0.0);
    for (name, wanted) in [("archived_offset", 6.0), ("taken_offset", 6.0), ("lag_offsets", 0.0)] {
        shown.wait_for(&format!("kafka_store_partition_{name}"), "0", wanted);
    }
    let committed = || broker.committed(&topic, &topic, 0);
    wait_until("the end is committed", || committed() == Some((5, "kafka-store/1 segment=0 seen_to=6".to_owned())));
    assert_eq!(shown.running.terminate(), Some(0));
}

/// Each member shows what is its own.
#[test]
fn a_partition_that_was_taken_away_is_shown_no_more() {
    let broker = Broker::get();
    let topic = broker.create_topic("members", 2, &[]);
    let archive = Archive::new();
    let daemon = || Daemon::new(&broker, &[&topic], &topic, archive.path());
    let active = |shown: &Shown| Metrics::of(&shown.address).value("kafka_store_partitions", &[("state", "Active")]);
    let mut first = Shown::start(daemon());
    wait_until("the first one has both", || active(&first) == Some(2.0));
    let mut second = Shown::start(daemon());
    wait_until("each has one", || [&first, &second].map(active) == [Some(1.0), Some(1.0)]);
    let frozen = "kafka_store_partition_frozen";
    let has =
        |shown: &Shown, partition| Metrics::of(&shown.address).value(frozen, &[("partition", partition)]).is_some();
    assert_ne!(has(&first, "0"), has(&first, "1"));
    assert_ne!(has(&first, "0"), has(&second, "0"));
    assert_eq!([first.running.terminate(), second.running.terminate()], [Some(0), Some(0)]);
}

#[test]
fn an_address_that_is_taken_is_told_before_anything_else() {
    let broker = Broker::get();
    let topic = broker.create_topic("taken", 1, &[]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let archive = Archive::new();
    let daemon = Daemon::new(&broker, &[&topic], &topic, archive.path());
    let ended = daemon.args(&["--until-end", "--status-listen", &port]).run();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    let told = format!("--status-listen 127.0.0.1:{port}: Address already in use");
    assert!(ended.log.contains(&told), "{}", ended.log);
    assert_eq!(broker.committed(&topic, &topic, 0), None);
}
