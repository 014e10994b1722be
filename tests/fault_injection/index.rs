//! Goal: a server that goes, comes, refuses or is slow costs time and nothing else: every file has its row, every committed
//! offset ends a row, nothing is lost. Method: servers of the tests' own, killed and restarted under daemons that are
//! killed too, while somebody watches rows, files and commits.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::daemon::{Daemon, Running};
use crate::support::mysql::{Database, Server, command};
use crate::support::records::{Record, assert_same, logged_from, numbered};
use crate::support::rows::{Watch, assert_rows_are_the_files};
use crate::support::seed::Chance;
use crate::support::traffic::Traffic;
use crate::support::wait_until;
use mysql::prelude::Queryable;
use std::time::{Duration, Instant};

/// An archive, its index on a server of its own, and a topic.
struct World {
    broker: Broker,
    topic: String,
    partitions: i32,
    archive: Archive,
    server: Server,
    database: Database,
}

impl World {
    fn new(label: &str, partitions: i32) -> World {
        World::with_server(label, partitions, &[])
    }

    fn with_server(label: &str, partitions: i32, flags: &[String]) -> World {
        let (broker, server) = (Broker::get(), Server::start(flags));
        let topic = broker.create_topic(label, partitions, &[]);
        let database = Database::on(&server.url(), label);
        database.init();
        World { broker, topic, partitions, archive: Archive::new(), server, database }
    }

    fn daemon(&self) -> Daemon {
        self.daemon_at(&self.database.url())
    }

    fn daemon_at(&self, url: &str) -> Daemon {
        let daemon =
            Daemon::new(&self.broker, &[&self.topic], &self.topic, self.archive.path()).session_timeout_ms(1_000);
        daemon.args(&["--file-records", "40", "--mysql-metadata-url", url])
    }

    fn watch(&self) -> Watch<'_> {
        Watch {
            broker: &self.broker,
            archive: &self.archive,
            database: &self.database,
            topic: &self.topic,
            partitions: self.partitions,
        }
    }

    fn row_count(&self) -> i64 {
        let count = self
            .database
            .try_connect()
            .and_then(|mut connection| connection.query_first("SELECT COUNT(*) FROM kafka_store").ok().flatten());
        count.unwrap_or(0)
    }

    fn wait_for_rows(&self, count: i64) {
        wait_until("rows come", || self.row_count() >= count);
    }

    /// All that was produced is in the archive, and in the index, once.
    fn check(&self, produced: &[Vec<Record>]) {
        self.daemon().until_end();
        println!("{}", self.archive.check());
        let rows = assert_rows_are_the_files(&self.database, &self.archive);
        println!("{rows} rows");
        for (partition, produced) in (0..).zip(produced) {
            let archived = self.archive.records(&self.topic, partition);
            assert_same("the archive", &archived, &logged_from(0, produced));
        }
        let path = self.archive.path().to_str().expect("UTF-8");
        let (code, told) =
            command(&["verify", path, "--deep", "--index", "--mysql-metadata-url", &self.database.url()]);
        assert_eq!(code, Some(0), "{told}");
    }
}

/// A daemon that is killed and started again while the server is away begins by itself once that is back. Only a first
/// start tells at once that nothing answers.
#[test]
fn a_start_waits_for_a_server_that_was_there_before() {
    let mut world = World::new("started", 1);
    let daemon = |world: &World, group: &str| {
        let daemon = Daemon::new(&world.broker, &[&world.topic], group, world.archive.path());
        daemon.args(&["--file-records", "40", "--mysql-metadata-url", &world.database.url()])
    };
    world.broker.produce(&world.topic, 0, &numbered(0..40), &[]);
    daemon(&world, &world.topic).until_end();
    world.server.kill();
    let first = daemon(&world, "another-group").run();
    assert_eq!(first.code, Some(1), "{}", first.log);
    assert!(first.log.contains("cannot start, reason: mysql://"), "{}", first.log);

    world.broker.produce(&world.topic, 0, &numbered(40..80), &[]);
    let mut running = daemon(&world, &world.topic).spawn();
    running.wait_for("cannot start yet, trying again");
    assert!(running.log().contains("attempt: 1"), "{}", running.log());
    world.server.run();
    world.wait_for_rows(2);
    assert_eq!(running.terminate(), Some(0), "{}", running.log());
    assert_rows_are_the_files(&world.database, &world.archive);
    assert_same("the archive", &world.archive.records(&world.topic, 0), &logged_from(0, &numbered(0..80)));
}

#[test]
fn server_and_daemon_are_killed_at_random_and_rows_and_files_agree() {
    let mut chance = Chance::from_seed();
    let mut world = World::new("killed", 4);
    // The watch and the killer need the world at once; the server is the killer's.
    let mut server = std::mem::replace(&mut world.server, Server::start(&[]));
    let (mut looks, seed) = (0, Chance::fixed(chance.next()));
    let produced = Traffic::new(&world.broker, &world.topic, world.partitions).during(seed, || {
        (looks, ()) = world.watch().during(|| {
            let mut running: Option<Running> = None;
            for round in 0..12 {
                let mut daemon = running.take().unwrap_or_else(|| world.daemon().spawn());
                daemon.wait_for("chain located");
                let before = world.row_count();
                if chance.below(3) > 0 {
                    world.wait_for_rows(before + 1 + chance.below(6) as i64);
                }
                // Any moment will do, and all of them should come.
                std::thread::sleep(Duration::from_micros(chance.below(150_000)));
                server.kill();
                let dies_too = chance.below(2) == 0;
                if dies_too {
                    std::thread::sleep(Duration::from_micros(chance.below(300_000)));
                    daemon.kill();
                }
                server.run();
                println!("round {round}: {before} rows before, the daemon died too: {dies_too}");
                if !dies_too {
                    world.wait_for_rows(world.row_count() + 1);
                    assert!(daemon.is_running(), "it ended by itself:\n{}", daemon.log());
                    assert!(!daemon.log().contains("partition frozen"), "{}", daemon.log());
                    running = Some(daemon);
                }
            }
            drop(running);
        });
    });
    println!("{looks} looks");
    assert!(looks > 20, "hardly anything was watched");
    world.check(&produced);
}

#[test]
fn three_daemons_that_come_and_go_write_each_row_once() {
    let mut chance = Chance::from_seed();
    let world = World::new("three", 6);
    let (mut looks, seed) = (0, Chance::fixed(chance.next()));
    let produced = Traffic::new(&world.broker, &world.topic, world.partitions).during(seed, || {
        (looks, ()) = world.watch().during(|| {
            let mut running: Vec<Running> = (0..3).map(|_| world.daemon().spawn()).collect();
            for _ in 0..8 {
                world.wait_for_rows(world.row_count() + 4 + chance.below(6) as i64);
                let which = chance.below(3) as usize;
                if chance.below(2) == 0 {
                    running[which].kill();
                } else {
                    assert_eq!(running[which].terminate(), Some(0), "{}", running[which].log());
                }
                running[which] = world.daemon().spawn();
            }
            for daemon in &mut running {
                assert!(daemon.is_running(), "it ended by itself:\n{}", daemon.log());
                assert!(!daemon.log().contains("partition frozen"), "{}", daemon.log());
            }
        });
    });
    println!("{looks} looks");
    assert!(looks > 20, "hardly anything was watched");
    world.check(&produced);
}

#[test]
fn while_the_server_is_away_partitions_wait_and_nothing_is_committed() {
    let mut world = World::new("away", 2);
    let records = numbered(0..400);
    world.broker.produce(&world.topic, 0, &records[..80], &[]);
    let mut running = world.daemon().spawn();
    world.wait_for_rows(2);
    wait_until("it is committed", || {
        world.broker.committed(&world.topic, &world.topic, 0).is_some_and(|(offset, _)| offset == 80)
    });
    world.server.kill();
    world.broker.produce(&world.topic, 0, &records[80..], &[]);
    world.broker.produce(&world.topic, 1, &records, &[]);
    running.wait_for("the index cannot be written, trying again");
    // Two sealed files of each partition, and not a third: its bound.
    wait_until("they wait", || {
        (0..2).all(|partition| world.archive.starts(&world.topic, partition).len() >= 2 + 2 * (1 - partition as usize))
    });
    let told = Instant::now();
    while told.elapsed() < Duration::from_secs(3) {
        assert_eq!(world.archive.starts(&world.topic, 0), [0, 40, 80, 120], "the bound on sealed files holds");
        assert_eq!(world.archive.starts(&world.topic, 1), [0, 40]);
        assert_eq!(world.broker.committed(&world.topic, &world.topic, 0).map(|(offset, _)| offset), Some(80));
        assert_eq!(world.broker.committed(&world.topic, &world.topic, 1), None);
        std::thread::sleep(Duration::from_millis(100));
    }
    let alarms = running.log().matches("the index cannot be written").count();
    assert_eq!(alarms, 1, "once in half a minute: {}", running.log());
    world.server.run();
    running.wait_for("the index answers again");
    world.wait_for_rows(20);
    assert_eq!(running.terminate(), Some(0), "{}", running.log());
    world.check(&[records.clone(), records]);
}

/// A connection that the server has closed long ago is no trouble: not even a word.
#[test]
fn an_idle_connection_that_was_closed_is_replaced_in_silence() {
    let world = World::with_server("idle", 1, &["--wait-timeout=1".to_owned(), "--interactive-timeout=1".to_owned()]);
    let mut running = world.daemon().spawn();
    let mut produced = Vec::new();
    for round in 0..3 {
        let records = numbered(round * 40..(round + 1) * 40);
        world.broker.produce(&world.topic, 0, &records, &[]);
        produced.extend(records);
        world.wait_for_rows(round + 1);
        wait_until("the server has closed what is idle", || {
            let mut connection = world.server.connect();
            let clients: Vec<(u64, String)> = connection
                .query(
                    "SELECT ID, USER FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND USER = 'root'",
                )
                .expect("answered");
            clients.is_empty()
        });
    }
    assert!(!running.log().contains("the index"), "{}", running.log().replace("the index reached", ""));
    assert_eq!(running.terminate(), Some(0));
    world.check(&[produced]);
}

/// A server that becomes read-only, and a lock that somebody holds: it waits, says why, and goes on.
#[test]
fn a_server_that_refuses_or_is_busy_is_waited_for() {
    let world = World::new("refuses", 1);
    let mut root = world.server.connect();
    for statement in [
        "CREATE USER writer@'%' IDENTIFIED BY 'secret word'",
        &format!("GRANT SELECT, INSERT, UPDATE ON {}.* TO writer@'%'", world.database.name),
    ] {
        root.query_drop(statement).expect(statement);
    }
    let url = world.database.url().replace("root@", "writer:secret%20word@");
    let mut running = world.daemon_at(&url).spawn();
    running.wait_for("chain located");
    world.broker.produce(&world.topic, 0, &numbered(0..40), &[]);
    world.wait_for_rows(1);

    root.query_drop("SET GLOBAL read_only = 1").expect("set");
    world.broker.produce(&world.topic, 0, &numbered(40..80), &[]);
    running.wait_for("the server is read-only; --mysql-metadata-url must name the primary");
    root.query_drop("SET GLOBAL read_only = 0").expect("set");
    world.wait_for_rows(2);

    root.query_drop(format!("REVOKE INSERT ON {}.* FROM writer@'%'", world.database.name)).expect("revoked");
    root.query_drop("FLUSH PRIVILEGES").expect("flushed");
    world.broker.produce(&world.topic, 0, &numbered(80..120), &[]);
    wait_until("the lack of a right was met", || world.archive.starts(&world.topic, 0).len() == 3);
    root.query_drop(format!("GRANT INSERT ON {}.* TO writer@'%'", world.database.name)).expect("granted");
    world.wait_for_rows(3);

    // Somebody holds the last row.
    let mut holder = world.database.connect();
    holder.query_drop("START TRANSACTION").expect("begun");
    holder.query_drop("SELECT * FROM kafka_store WHERE startOffset = 80 FOR UPDATE").expect("locked");
    world.broker.produce(&world.topic, 0, &numbered(120..160), &[]);
    wait_until("it waits for the lock", || {
        let waits: Option<u64> =
            root.query_first("SELECT COUNT(*) FROM information_schema.INNODB_LOCK_WAITS").expect("answered");
        waits > Some(0)
    });
    holder.query_drop("ROLLBACK").expect("let go");
    world.wait_for_rows(4);
    assert_eq!(running.terminate(), Some(0), "{}", running.log());
    assert!(!running.log().contains("secret"), "{}", running.log());
    world.check(&[numbered(0..160)]);
}

/// A row that the server has no room for, amid others, keeps none of them waiting; with room, it is written.
#[test]
fn a_server_without_connections_or_room_is_waited_for() {
    let world = World::new("full", 1);
    let mut root = world.server.connect();
    let mut running = world.daemon().spawn();
    running.wait_for("chain located");
    world.broker.produce(&world.topic, 0, &numbered(0..40), &[]);
    world.wait_for_rows(1);
    // All connections are taken but one, which the server keeps for root: so the daemon's own is taken, too.
    root.query_drop("CREATE USER few@'%' WITH MAX_USER_CONNECTIONS 1").expect("made");
    root.query_drop(format!("GRANT SELECT, INSERT, UPDATE ON {}.* TO few@'%'", world.database.name)).expect("granted");
    assert_eq!(running.terminate(), Some(0), "{}", running.log());
    let url = world.database.url().replace("root@", "few@");
    let taken = mysql::Conn::new(mysql::Opts::from_url(&url).expect("a URL")).expect("the only one");
    let ended = world.daemon_at(&url).args(&["--until-end"]).run();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    assert!(ended.log.contains("the server has no connection left"), "{}", ended.log);
    drop(taken);
    let mut running = world.daemon_at(&url).spawn();
    running.wait_for("chain located");
    world.broker.produce(&world.topic, 0, &numbered(40..80), &[]);
    world.wait_for_rows(2);
    assert_eq!(running.terminate(), Some(0), "{}", running.log());
    world.check(&[numbered(0..80)]);
}
