//! Goal: `index rebuild` beside daemons overwrites nothing that they know better. Method: the two orders in which a row
//! is written by both, one after the other on a real server; then both at once.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::daemon::Daemon;
use crate::support::mysql::{Database, command};
use crate::support::rows::assert_rows_are_the_files;
use crate::support::seed::Chance;
use crate::support::traffic::Traffic;
use kafka_store::index::{IndexConfig, MysqlIndex, Replacement, RowOutcome, RowValues};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use slog::{Discard, Logger, o};

fn index(database: &Database) -> MysqlIndex {
    MysqlIndex::new(IndexConfig::parse(&database.url()).expect("a URL"), Logger::root(Discard, o!()))
}

/// The row of a segment as its file says.
fn by_file(start: i64) -> RowValues {
    let offset = |offset| Offset::new(offset).expect("an offset");
    RowValues {
        name: ChainName::parse("rebuilt", "000000").expect("a chain").segment(offset(start)),
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

/// The same with what only its writer knows.
fn by_writer(start: i64) -> RowValues {
    RowValues { seal_reason: Some("records".to_owned()), writer: Some("kafka-store/1".to_owned()), ..by_file(start) }
}

fn is_absent(_: &SegmentName) -> bool {
    true
}

fn rows(database: &Database) -> Vec<(i64, i64, Option<String>, Option<String>)> {
    database.query("SELECT startOffset, byteSize, sealReason, writer FROM kafka_store ORDER BY startOffset")
}

fn whole(start: i64) -> (i64, i64, Option<String>, Option<String>) {
    (start, 4_153, Some("records".to_owned()), Some("kafka-store/1".to_owned()))
}

/// The daemon writes its row between the moment at which the rebuild looked for it and the one at which it writes.
#[test]
fn what_a_daemon_wrote_meanwhile_stays() {
    let database = Database::with_schema("rebuild-late");
    let index = index(&database);
    index.write(&[by_writer(0), by_writer(10)]).expect("written");
    let unseen = Replacement { row: by_file(0), seen: None };
    assert_eq!(index.replace(std::slice::from_ref(&unseen), &[], &is_absent), Ok(vec![]));
    assert_eq!(rows(&database), [whole(0), whole(10)]);

    // Of another file than the rebuild has read: the daemon's is the newer one. What was seen is put right.
    let other = RowValues { file_bytes: 9, ..by_file(0) };
    let unseen = Replacement { row: other.clone(), seen: None };
    let name = other.name.clone();
    assert_eq!(index.replace(&[unseen], &[], &is_absent), Ok(vec![name.clone()]));
    assert_eq!(rows(&database), [whole(0), whole(10)]);
    let seen = index.find_offset(&name.chain, name.start).expect("answered");
    assert_eq!(index.replace(&[Replacement { row: other, seen }], &[], &is_absent), Ok(vec![]));
    assert_eq!(rows(&database)[0], (0, 9, None, None), "another file has another story");
}

#[test]
fn what_a_daemon_knows_is_added_to_a_row_that_was_rebuilt_first() {
    let database = Database::with_schema("rebuild-early");
    let index = index(&database);
    index.replace(&[Replacement { row: by_file(0), seen: None }], &[], &is_absent).expect("made");
    assert_eq!(index.write(&[by_writer(0)]), Ok(vec![RowOutcome::WasThere]));
    assert_eq!(rows(&database), [whole(0)]);
}

#[test]
fn a_row_is_removed_only_if_its_file_is_absent_and_it_is_the_one_that_was_seen() {
    let database = Database::with_schema("rebuild-remove");
    let index = index(&database);
    index.write(&[by_writer(0)]).expect("written");
    let name = by_file(0).name;
    let stored = index.find_offset(&name.chain, name.start).expect("answered").expect("a row");
    let other = RowValues { writer: None, ..stored.clone() };
    assert_eq!(index.replace(&[], &[other], &is_absent), Ok(vec![name.clone()]), "it has changed");
    assert_eq!(index.replace(&[], std::slice::from_ref(&stored), &|_| false), Ok(vec![name]), "its file is back");
    assert_eq!(rows(&database), [whole(0)]);
    assert_eq!(index.replace(&[], &[stored], &is_absent), Ok(vec![]));
    assert_eq!(rows(&database), []);
}

#[test]
fn beside_a_daemon_every_row_has_all_that_is_known() {
    const PARTITIONS: i32 = 4;
    const ENOUGH_SEGMENTS: usize = 41;
    let broker = Broker::get();
    let topic = broker.create_topic("rebuild-beside", PARTITIONS, &[]);
    let (archive, database) = (Archive::new(), Database::with_schema("rebuild-beside"));
    let daemon = || {
        Daemon::new(&broker, &[&topic], &topic, archive.path()).args(&[
            "--file-records",
            "7",
            "--mysql-metadata-url",
            &database.url(),
        ])
    };
    let mut running = daemon().spawn();
    Traffic::new(&broker, &topic, PARTITIONS).during(Chance::from_seed(), || {
        running.wait_for("segment stored");
        let mut rebuilds = 0;
        while rebuilds < 12 || rows(&database).len() < ENOUGH_SEGMENTS {
            rebuilds += 1;
            let path = archive.path().to_str().expect("UTF-8");
            let (code, told) = command(&["index", "rebuild", path, "--mysql-metadata-url", &database.url()]);
            assert_eq!(code, Some(0), "{told}");
        }
    });
    assert_eq!(running.terminate(), Some(0));
    daemon().until_end();
    assert!(assert_rows_are_the_files(&database, &archive) >= ENOUGH_SEGMENTS, "a row was lost");
    let without: Vec<i64> =
        database.query("SELECT startOffset FROM kafka_store WHERE sealReason IS NULL OR writer IS NULL");
    assert_eq!(without, Vec::<i64>::new(), "the writer of each row knew why it ends");
}
