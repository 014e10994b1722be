//! Goal: an index that failed over to a replica without the newest rows gets them back while daemons run, with new records
//! and without. Method: a primary and its replica, which stops replicating; the primary is killed, and the replica takes
//! its address over.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::cutting_proxy::CuttingProxy;
use crate::support::daemon::Daemon;
use crate::support::mysql::{Database, Server};
use crate::support::records::numbered;
use crate::support::rows::assert_rows_are_the_files;
use crate::support::wait_until;
use mysql::prelude::Queryable;

fn flags(server_id: u32) -> Vec<String> {
    vec![format!("--server-id={server_id}"), "--log-bin=binlog".to_owned()]
}

/// A database that is not replicated yet has none.
fn rows(database: &Database) -> usize {
    let connection = database.try_connect();
    connection.map_or(0, |mut connection| {
        connection.query::<i64, _>("SELECT startOffset FROM kafka_store").map_or(0, |rows| rows.len())
    })
}

#[test]
fn rows_that_a_replica_had_not_got_are_written_again() {
    let (mut primary, replica) = (Server::start(&flags(1)), Server::start(&flags(2)));
    let database = Database::on(&primary.url(), "failover");
    let copy = database.on_replica(&replica.url());
    let on_replica = |statement: &str| {
        replica.connect().query_drop(statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
    };
    on_replica(&format!(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'root'",
        primary.port()
    ));
    on_replica("START SLAVE");
    database.init();

    let (broker, archive) = (Broker::get(), Archive::new());
    let topic = broker.create_topic("failover", 2, &[]);
    let produce = |partition, records| broker.produce(&topic, partition, &numbered(records), &[]);
    let proxy = CuttingProxy::before(primary.port());
    let url = format!("mysql://root@127.0.0.1:{}/{}", proxy.port(), database.name);
    let daemon = || {
        Daemon::new(&broker, &[&topic], &topic, archive.path())
            .args(&["--file-records", "10", "--mysql-metadata-url", &url])
            .never_seals_by_the_clock()
    };
    let mut running = daemon().spawn();
    (0..2).for_each(|partition| produce(partition, 0..30));
    wait_until("six rows are replicated", || rows(&copy) == 6);
    on_replica("STOP SLAVE");
    (0..2).for_each(|partition| produce(partition, 30..50));
    wait_until("four more are not", || rows(&database) == 10);
    assert_eq!(rows(&copy), 6);
    primary.kill();
    proxy.switch_to(replica.port());

    // With new records in one partition, and without in the other.
    produce(0, 50..60);
    wait_until("the rows of the first partition are there, and those of the other", || rows(&copy) == 11);
    let log = running.log();
    assert!(log.contains("there would be a hole in the index") && log.contains("the index has lost rows"), "{log}");
    assert!(!log.contains("partition frozen"), "{log}");
    assert_eq!(assert_rows_are_the_files(&copy, &archive), 11);

    // Everything is lost: a chain that had rows does not begin in its middle.
    copy.execute("DELETE FROM kafka_store");
    produce(1, 50..60);
    wait_until("all rows are there", || rows(&copy) == 12);
    assert_eq!(assert_rows_are_the_files(&copy, &archive), 12);
    let offset_of = |partition| broker.committed(&topic, &topic, partition).map(|(offset, _)| offset);
    wait_until("all is committed", || offset_of(0) == Some(60) && offset_of(1) == Some(60));
    assert_eq!(running.terminate(), Some(0));
    daemon().until_end();
    assert_eq!(assert_rows_are_the_files(&copy, &archive), 12);
}
