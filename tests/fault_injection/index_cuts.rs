//! Goal: whatever the moment at which a connection to the index is cut, each row is there once and says what it should,
//! and whoever wrote it is told so. Method: a proxy that knows the protocol cuts at every packet in turn, in either
//! direction, before the server acts and after; then at random under a daemon.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::cutting_proxy::{Cut, CuttingProxy};
use crate::support::daemon::Daemon;
use crate::support::mysql::{Database, Server};
use crate::support::records::{assert_same, logged_from};
use crate::support::rows::{Watch, assert_rows_are_the_files};
use crate::support::seed::Chance;
use crate::support::traffic::Traffic;
use crate::support::wait_until;
use kafka_store::index::{IndexConfig, MysqlIndex, RowOutcome, RowValues};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use slog::{Discard, Logger, o};
use std::collections::BTreeSet;

fn row(partition: i32, start: i64) -> RowValues {
    let chain = ChainName::parse("cut", &format!("{partition:06}")).expect("a chain");
    let offset = |offset| Offset::new(offset).expect("an offset");
    RowValues {
        name: chain.segment(offset(start)),
        final_offset: offset(start + 9),
        file_bytes: 4_153,
        md5: Some("0123456789abcdef0123456789abcdef".to_owned()),
        record_count: Some(10),
        timestamps: None,
        invisible_count: Some(0),
        gaps: None,
        content_hash: None,
        crc32c: Some(7),
        object_url: Some("/archive".to_owned()),
        generation: None,
        seal_reason: None,
        topic_id: None,
        writer: None,
        max_timestamp_so_far: None,
    }
}

/// The next rows of two chains.
fn rows(round: i64) -> Vec<RowValues> {
    vec![row(0, round * 10), row(1, round * 10)]
}

#[test]
fn cut_at_any_packet_every_row_is_written_once() {
    let server = Server::start(&[]);
    let database = Database::on(&server.url(), "cuts");
    database.init();
    let proxy = CuttingProxy::before(server.port());
    let url = format!("mysql://root@127.0.0.1:{}/{}", proxy.port(), database.name);
    let mut round = 0;
    let mut cut_at = BTreeSet::new();
    let kinds: [fn(u64) -> Cut; 3] = [Cut::BeforeServer, Cut::AfterServer, Cut::BeforeClient];
    for kind in kinds {
        for packet in 1.. {
            // A client without a connection: the log-in is cut, too.
            let config = IndexConfig::parse(&url).expect("a URL");
            let index = MysqlIndex::new(config, Logger::root(Discard, o!()));
            proxy.cut_next(kind(packet));
            let rows = rows(round);
            let outcomes = index.write(&rows).expect("it is written in the end");
            let was_cut = proxy.made_cut();
            assert!(
                outcomes.iter().all(|outcome| matches!(outcome, RowOutcome::Written | RowOutcome::WasThere)),
                "{:?} at {was_cut:?}: {outcomes:?}",
                kind(packet)
            );
            let stored: Vec<(i32, i64)> = database.query(&format!(
                "SELECT `partition`, finalOffset FROM kafka_store WHERE startOffset = {} ORDER BY `partition`",
                round * 10
            ));
            assert_eq!(stored, [(0, round * 10 + 9), (1, round * 10 + 9)], "{:?} at {was_cut:?}", kind(packet));
            round += 1;
            match was_cut {
                Some(said) => drop(cut_at.insert(format!("{:?}: {said}", kind(0)))),
                None => break,
            }
        }
    }
    println!("{round} rounds; cut at: {cut_at:#?}");
    for step in [
        "BeforeServer(0): the log-in",
        "BeforeServer(0): START TRANSACTION",
        "BeforeServer(0): execute",
        "BeforeServer(0): COMMIT",
        "AfterServer(0): answer to COMMIT",
        "BeforeClient(0): answer to COMMIT",
        "BeforeClient(0): the greeting",
    ] {
        let is_cut = cut_at.iter().any(|cut| *cut == step || *cut == step.replace("): the g", "): answer to the g"));
        assert!(is_cut, "never cut at {step}: {cut_at:#?}");
    }
}

/// After a lost answer to COMMIT the rows are found, not written again: `WasThere`. After a lost COMMIT they are written.
#[test]
fn what_became_of_a_commit_is_looked_up() {
    let server = Server::start(&[]);
    let database = Database::on(&server.url(), "commit");
    database.init();
    let proxy = CuttingProxy::before(server.port());
    let url = format!("mysql://root@127.0.0.1:{}/{}", proxy.port(), database.name);
    let index = || MysqlIndex::new(IndexConfig::parse(&url).expect("a URL"), Logger::root(Discard, o!()));
    // Which packet COMMIT is, on a connection of its own.
    let commit = (1..60)
        .find(|packet| {
            proxy.cut_next(Cut::BeforeServer(*packet));
            index().write(&rows(1_000 + *packet as i64)).expect("written");
            database.execute("DELETE FROM kafka_store");
            proxy.made_cut().as_deref() == Some("COMMIT")
        })
        .expect("there is a COMMIT");
    proxy.cut_next(Cut::BeforeServer(commit));
    assert_eq!(index().write(&rows(0)), Ok(vec![RowOutcome::Written; 2]));
    proxy.cut_next(Cut::AfterServer(commit));
    assert_eq!(index().write(&rows(1)), Ok(vec![RowOutcome::WasThere; 2]));
    assert_eq!(database.query::<i64>("SELECT COUNT(*) FROM kafka_store"), [4]);
}

/// Two writers of one chain: one of them waits, and both are told the truth.
#[test]
fn of_two_writers_of_one_row_the_second_finds_it() {
    let database = Database::with_schema("two");
    let index = || MysqlIndex::new(IndexConfig::parse(&database.url()).expect("a URL"), Logger::root(Discard, o!()));
    for round in 0..40 {
        let outcomes: Vec<Vec<RowOutcome>> = std::thread::scope(|scope| {
            let write = || scope.spawn(|| index().write(&rows(round)).expect("written"));
            let both = [write(), write()];
            both.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        for (one, other) in outcomes[0].iter().zip(&outcomes[1]) {
            let mut pair = [one, other].map(|outcome| format!("{outcome:?}"));
            pair.sort();
            assert_eq!(pair, ["WasThere", "Written"], "round {round}");
        }
    }
    // What they disagree about, one of them is refused.
    let other = |start: i64| vec![RowValues { file_bytes: 1, ..row(0, start) }];
    let outcomes: Vec<RowOutcome> = std::thread::scope(|scope| {
        let ours = scope.spawn(|| index().write(&[row(0, 400)]).expect("answered"));
        let theirs = scope.spawn(|| index().write(&other(400)).expect("answered"));
        [ours, theirs].into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let written = outcomes.iter().filter(|outcome| **outcome == RowOutcome::Written).count();
    assert_eq!(written, 1, "{outcomes:?}");
    assert!(
        outcomes.iter().any(|outcome| matches!(outcome, RowOutcome::Conflicts(reason) if reason.contains("byteSize")))
    );
}

#[test]
fn a_daemon_whose_connections_are_cut_at_random_writes_every_row() {
    const PARTITIONS: i32 = 4;
    let mut chance = Chance::from_seed();
    let broker = Broker::get();
    let topic = broker.create_topic("cuts", PARTITIONS, &[]);
    let (archive, server) = (Archive::new(), Server::start(&[]));
    let database = Database::on(&server.url(), "random");
    database.init();
    let proxy = CuttingProxy::before(server.port());
    let url = format!("mysql://root@127.0.0.1:{}/{}", proxy.port(), database.name);
    let daemon = || {
        let daemon = Daemon::new(&broker, &[&topic], &topic, archive.path());
        daemon.args(&["--file-records", "40", "--mysql-metadata-url", &url])
    };
    let watch =
        Watch { broker: &broker, archive: &archive, database: &database, topic: &topic, partitions: PARTITIONS };
    let traffic = Traffic::new(&broker, &topic, PARTITIONS);
    let chance_of_traffic = Chance::fixed(chance.next());
    let mut looks = 0;
    let produced = traffic.during(chance_of_traffic, || {
        let mut running = daemon().spawn();
        running.wait_for("chain located");
        proxy.cut_at_random(25, chance.next());
        (looks, ()) = watch.during(|| {
            // About one a second: after each the writer waits longer before it connects again.
            wait_until("it was cut often", || proxy.cut_count() >= 30);
            wait_until("it was cut as often again", || proxy.cut_count() >= 60);
            wait_until("much was indexed", || {
                database.query::<i64>("SELECT COUNT(*) FROM kafka_store").first().is_some_and(|count| *count >= 60)
            });
        });
        proxy.cut_at_random(0, 0);
        assert_eq!(running.terminate(), Some(0), "{}", running.log());
        assert!(!running.log().contains("partition frozen"), "{}", running.log());
    });
    println!("{} connections cut, {looks} looks", proxy.cut_count());
    assert!(looks > 20);
    daemon().until_end();
    archive.check();
    assert_rows_are_the_files(&database, &archive);
    for (partition, produced) in (0..).zip(produced) {
        assert_same("the archive", &archive.records(&topic, partition), &logged_from(0, &produced));
    }
}
