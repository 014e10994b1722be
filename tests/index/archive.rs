//! Goal: with an index, every file has its row before its offset is committed, and every row its file. Method: the
//! daemon over a real broker and a real MySQL-compatible server; rows are read with plain SQL and held against the files.

use crate::support::archive::Archive;
use crate::support::broker::{Broker, unique};
use crate::support::daemon::Daemon;
use crate::support::mysql::{Database, command};
use crate::support::records::{assert_same, logged_from, numbered};
use crate::support::rows::assert_rows_are_the_files;
use crate::support::wait_until;

/// An archive, its index and a topic.
struct Indexed {
    broker: Broker,
    topic: String,
    archive: Archive,
    database: Database,
}

impl Indexed {
    fn new(label: &str, partitions: i32) -> Indexed {
        let broker = Broker::get();
        let topic = broker.create_topic(label, partitions, &[]);
        Indexed { broker, topic, archive: Archive::new(), database: Database::with_schema(label) }
    }

    fn daemon(&self) -> Daemon {
        let daemon = Daemon::new(&self.broker, &[&self.topic], &self.topic, self.archive.path());
        daemon.args(&["--file-records", "10", "--mysql-metadata-url", &self.database.url()])
    }

    fn without_index(&self) -> Daemon {
        Daemon::new(&self.broker, &[&self.topic], &self.topic, self.archive.path()).args(&["--file-records", "10"])
    }

    fn check(&self) -> usize {
        self.archive.check();
        assert_rows_are_the_files(&self.database, &self.archive)
    }

    fn find(&self, args: &[&str]) -> (Option<i32>, String) {
        let url = self.database.url();
        command(&[&["find", &self.topic, "--mysql-metadata-url", &url], args].concat())
    }
}

#[test]
fn every_file_gets_a_row_with_all_that_is_known() {
    let indexed = Indexed::new("rows", 2);
    indexed.broker.produce(&indexed.topic, 0, &numbered(0..25), &[]);
    indexed.broker.produce(&indexed.topic, 1, &numbered(0..10), &[]);
    indexed.daemon().until_end();
    assert_eq!(indexed.check(), 4);
    type Known = (i64, i64, i64, i64, i64, i64, i64, Option<String>, String);
    let rows: Vec<Known> = indexed.database.query(
        "SELECT startOffset, recordCount, firstTimestamp, minTimestamp, maxTimestamp, maxTimestampSoFar, invisibleCount, gaps, \
         sealReason FROM kafka_store WHERE `partition` = 0 ORDER BY startOffset",
    );
    let records = numbered(0..25);
    for (start, count, first, least, greatest, so_far, invisible, gaps, _) in &rows {
        let (from, to) = (*start as usize, (*start + *count) as usize - 1);
        assert_eq!((*first, *least), (records[from].timestamp, records[from].timestamp), "{start}");
        assert_eq!((*greatest, *so_far), (records[to].timestamp, records[to].timestamp), "{start}");
        assert_eq!((*invisible, gaps), (0, &None), "{start}");
    }
    let reasons: Vec<&str> = rows.iter().map(|row| row.8.as_str()).collect();
    assert_eq!(reasons, ["records", "records", "until-end"]);
    let complete: Vec<i64> = indexed.database.query(
        "SELECT COUNT(*) FROM kafka_store WHERE contentHash IS NOT NULL AND crc32c IS NOT NULL AND objectUrl IS NOT NULL AND \
         topicId IS NOT NULL AND writer IS NOT NULL AND lineage = 1 AND ABS(TIMESTAMPDIFF(SECOND, `time`, NOW())) < 600",
    );
    assert_eq!(complete, [4], "all is there that a local store knows");
    let cluster: Vec<String> = indexed.database.query("SELECT clusterId FROM kafka_store_cluster");
    assert_eq!(cluster.len(), 1, "the first daemon writes down whose rows they are");

    // Nothing is left to do, and nothing is done: no row is touched.
    let before: Vec<String> = indexed.database.query("SELECT CAST(`time` AS CHAR) FROM kafka_store");
    indexed.daemon().until_end();
    assert_eq!(indexed.database.query::<String>("SELECT CAST(`time` AS CHAR) FROM kafka_store"), before);
}

#[test]
fn topics_that_differ_in_case_and_long_ones_have_rows_of_their_own() {
    let (broker, archive) = (Broker::get(), Archive::new());
    let database = Database::with_schema("names");
    let prefix = unique("names");
    let long = format!("{prefix}.{}", "x".repeat(248 - prefix.len()));
    let topics = [format!("{prefix}.orders"), format!("{prefix}.Orders"), long];
    assert_eq!(topics[2].len(), 249, "as long as Kafka allows");
    for (topic, count) in topics.iter().zip([5, 7, 9]) {
        broker.create_topic_named(topic, 1, &[]);
        broker.produce(topic, 0, &numbered(0..count), &[]);
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    Daemon::new(&broker, &names, &prefix, archive.path()).args(&["--mysql-metadata-url", &database.url()]).until_end();
    assert_eq!(assert_rows_are_the_files(&database, &archive), 3);
    for (topic, count) in topics.iter().zip([5, 7, 9]) {
        let rows: Vec<i64> = database.query(&format!("SELECT finalOffset FROM kafka_store WHERE topic = '{topic}'"));
        assert_eq!(rows, [count - 1], "{topic}");
    }
}

#[test]
fn an_archive_that_gets_an_index_later_gets_all_its_rows() {
    let indexed = Indexed::new("later", 1);
    indexed.broker.produce(&indexed.topic, 0, &numbered(0..95), &[]);
    indexed.without_index().until_end();
    assert_eq!(indexed.archive.starts(&indexed.topic, 0).len(), 10);
    let ended = indexed.daemon().until_end();
    assert!(ended.log.contains("rows written for files that had none"), "{}", ended.log);
    assert_eq!(indexed.check(), 10);
    let so_far: Vec<Option<i64>> =
        indexed.database.query("SELECT maxTimestampSoFar FROM kafka_store ORDER BY startOffset");
    assert!(so_far.is_sorted() && so_far[0].is_some(), "{so_far:?}");

    // And if it is away for a while, those in between.
    indexed.broker.produce(&indexed.topic, 0, &numbered(95..130), &[]);
    indexed.without_index().until_end();
    indexed.daemon().until_end();
    assert_eq!(indexed.check(), 14);
}

#[test]
fn a_row_that_says_something_else_freezes_its_partition_and_no_other() {
    let indexed = Indexed::new("conflict", 2);
    for partition in 0..2 {
        indexed.broker.produce(&indexed.topic, partition, &numbered(0..10), &[]);
    }
    indexed.daemon().until_end();
    // Another process's row where the next one of partition 0 will be.
    indexed.database.execute(&format!(
        "INSERT INTO kafka_store (topic, `partition`, startOffset, finalOffset, byteSize, md5Hash, `time`) VALUES ('{}', 0, 10, 14, \
         5, '00', NOW())",
        indexed.topic
    ));
    for partition in 0..2 {
        indexed.broker.produce(&indexed.topic, partition, &numbered(10..20), &[]);
    }
    let ended = indexed.daemon().until_end_with_code(3);
    assert!(ended.log.contains("kafka-store verify --index"), "what to do is told: {}", ended.log);
    assert_eq!(indexed.broker.committed(&indexed.topic, &indexed.topic, 0).map(|(offset, _)| offset), Some(10));
    assert_eq!(indexed.broker.committed(&indexed.topic, &indexed.topic, 1).map(|(offset, _)| offset), Some(20));

    indexed.database.execute("DELETE FROM kafka_store WHERE startOffset = 10 AND md5Hash = '00'");
    indexed.daemon().until_end();
    assert_eq!(indexed.check(), 4);
    for partition in 0..2 {
        let archived = indexed.archive.records(&indexed.topic, partition);
        assert_same("the archive", &archived, &logged_from(0, &numbered(0..20)));
    }
}

/// The conflict is met while the daemon runs: the file is stored, its row is refused, and nothing is committed.
#[test]
fn a_row_that_conflicts_while_it_is_written_freezes_its_partition() {
    let indexed = Indexed::new("race", 1);
    let mut running = indexed.daemon().spawn();
    running.wait_for("chain located");
    indexed.database.execute(&format!(
        "INSERT INTO kafka_store (topic, `partition`, startOffset, finalOffset, byteSize, md5Hash, `time`) VALUES ('{}', 0, 0, 14, \
         5, '00', NOW())",
        indexed.topic
    ));
    indexed.broker.produce(&indexed.topic, 0, &numbered(0..30), &[]);
    running.wait_for("partition frozen");
    assert!(
        running.log().contains("the index has another row of this segment: finalOffset is 14, and should be 9"),
        "{}",
        running.log()
    );
    assert_eq!(running.terminate(), Some(0));
    assert_eq!(indexed.broker.committed(&indexed.topic, &indexed.topic, 0), None, "nothing is committed");
    let rows: Vec<i64> = indexed.database.query("SELECT finalOffset FROM kafka_store");
    assert_eq!(rows, [14], "and the other row stays as it was");
}

#[test]
fn rows_without_files_and_holes_freeze_and_say_so() {
    let frozen = |what: &str, break_it: &dyn Fn(&Indexed), words: &str| {
        let indexed = Indexed::new("alarm", 1);
        indexed.broker.produce(&indexed.topic, 0, &numbered(0..30), &[]);
        indexed.daemon().until_end();
        break_it(&indexed);
        indexed.broker.produce(&indexed.topic, 0, &numbered(30..40), &[]);
        let before = indexed.archive.stamps();
        let ended = indexed.daemon().until_end_with_code(3);
        assert!(ended.log.contains(words), "{what}: {}", ended.log);
        assert_eq!(indexed.archive.stamps(), before, "{what}: nothing is stored over a contradiction");
    };
    let insert = |start: i64, last: i64| {
        move |indexed: &Indexed| {
            indexed.database.execute(&format!(
                "INSERT INTO kafka_store (topic, `partition`, startOffset, finalOffset, byteSize, md5Hash, `time`) VALUES ('{}', 0, \
                 {start}, {last}, 5, '00', NOW())",
                indexed.topic
            ));
        }
    };
    frozen("a row beyond the archive", &insert(30, 34), "the index has rows below 35, and the archive ends before 30");
    frozen("a row amid a file", &insert(25, 27), "the index has a row of the segment 25 up to 27");
    let shorter =
        |indexed: &Indexed| indexed.database.execute("UPDATE kafka_store SET finalOffset = 28 WHERE startOffset = 20");
    frozen("a row that ends too early", &shorter, "the index has a row of the segment 20 up to 28");
}

#[test]
fn find_answers_from_the_index_and_from_the_archive() {
    let indexed = Indexed::new("find", 2);
    let records = numbered(0..35);
    indexed.broker.produce(&indexed.topic, 0, &records, &[]);
    indexed.broker.produce(&indexed.topic, 1, &records[..5], &[]);
    indexed.daemon().until_end();
    let archive = indexed.archive.path().to_str().expect("UTF-8").to_owned();
    let in_archive = |args: &[&str]| command(&[&["find", &indexed.topic, "--local-store", &archive], args].concat());
    let time = records[17].timestamp.to_string();
    let later = (records[34].timestamp + 1).to_string();
    for (args, starts) in [
        (["--offset=0"].as_slice(), [Some(0), Some(0)]),
        (&["--offset=19"], [Some(10), None]),
        (&["--offset=34"], [Some(30), None]),
        (&["--offset=35"], [None, None]),
        (&["1", "--offset=4"], [None, Some(0)]),
        (&["--time", &time], [Some(10), None]),
        (&["--time=0"], [Some(0), Some(0)]),
        (&["--time", &later], [None, None]),
    ] {
        let expected: Vec<String> = (0..)
            .zip(starts)
            .filter_map(|(partition, start)| {
                start.map(|start: i64| indexed.archive.segment(&indexed.topic, partition, start))
            })
            .map(|path| path.display().to_string())
            .collect();
        for (place, (code, told)) in [("index", indexed.find(args)), ("archive", in_archive(args))] {
            assert_eq!(code, Some(i32::from(expected.is_empty())), "{place} {args:?}: {told}");
            let found: Vec<String> =
                told.lines().filter_map(|line| line.split("  ").last()).map(str::to_owned).collect();
            if !expected.is_empty() {
                assert_eq!(found, expected, "{place} {args:?}");
            }
        }
    }
    let (_, told) = indexed.find(&["0", "--offset=12", "--json"]);
    let object: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(
        (&object["start_offset"], &object["final_offset"], &object["record_count"]),
        (&10.into(), &19.into(), &10.into())
    );
    let (code, told) = command(&["find", "nothing", "--offset=1", "--mysql-metadata-url", &indexed.database.url()]);
    assert_eq!(code, Some(1));
    assert!(told.contains("knows nothing of nothing"), "{told}");
}

/// What lies before is not even opened: a damaged file there is no hindrance, and without the index it is one.
#[test]
fn read_begins_where_the_index_says() {
    let indexed = Indexed::new("from-time", 1);
    let records = numbered(0..40);
    indexed.broker.produce(&indexed.topic, 0, &records, &[]);
    indexed.daemon().until_end();
    std::fs::write(indexed.archive.segment(&indexed.topic, 0, 10), "no segment").expect("written");
    let archive = indexed.archive.path().to_str().expect("UTF-8").to_owned();
    let from = records[27].timestamp.to_string();
    let read = |more: &[&str]| command(&[&["read", &archive, "--from-time", &from], more].concat());
    let (code, told) = read(&["--mysql-metadata-url", &indexed.database.url()]);
    assert_eq!((code, told.lines().count()), (Some(0), 13), "{told}");
    assert!(told.starts_with("{\"filename\": \"00000000000000000020\""), "{told}");
    let (code, told) = read(&[]);
    assert_eq!(code, Some(1), "{told}");
    let (code, told) = command(&["read", &archive, "--mysql-metadata-url", &indexed.database.url()]);
    assert_eq!(code, Some(2), "{told}");
}

#[test]
fn rebuild_makes_the_rows_from_the_files_and_tells_what_differed() {
    let indexed = Indexed::new("rebuild", 2);
    for partition in 0..2 {
        indexed.broker.produce(&indexed.topic, partition, &numbered(0..40), &[]);
    }
    indexed.daemon().until_end();
    let query = "SELECT topic, `partition`, startOffset, finalOffset, md5Hash, maxTimestampSoFar, sealReason, CAST(`time` AS CHAR) \
                 FROM kafka_store ORDER BY `partition`, startOffset";
    type Told = (String, i32, i64, i64, String, i64, Option<String>, String);
    let before: Vec<Told> = indexed.database.query(query);
    let rebuild = || {
        let archive = indexed.archive.path().to_str().expect("UTF-8").to_owned();
        command(&["index", "rebuild", &archive, "--mysql-metadata-url", &indexed.database.url()])
    };
    let (code, told) = rebuild();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("2 chains, 8 files; rows made: 0, changed: 0, removed: 0"), "{told}");
    assert_eq!(indexed.database.query::<Told>(query), before, "what is right is not touched");

    let topic = &indexed.topic;
    for statement in [
        "DELETE FROM kafka_store WHERE `partition` = 0 AND startOffset = 10".to_owned(),
        "UPDATE kafka_store SET finalOffset = 5, md5Hash = '00' WHERE `partition` = 0 AND startOffset = 20".to_owned(),
        "UPDATE kafka_store SET maxTimestampSoFar = 1 WHERE `partition` = 1 AND startOffset = 0".to_owned(),
        format!(
            "INSERT INTO kafka_store (topic, `partition`, startOffset, finalOffset, byteSize, md5Hash, `time`) VALUES ('{topic}', 1, \
             40, 44, 5, '00', NOW()), ('{topic}.gone', 0, 0, 1, 5, '00', NOW())"
        ),
    ] {
        indexed.database.execute(&statement);
    }
    let verify = |depth: &str| {
        let archive = indexed.archive.path().to_str().expect("UTF-8").to_owned();
        command(&["verify", &archive, depth, "--index", "--mysql-metadata-url", &indexed.database.url()])
    };
    for depth in ["--quick", "--deep"] {
        let (code, told) = verify(depth);
        assert_eq!(code, Some(65), "{depth}: {told}");
        for words in [
            "not in the index",
            "another row: finalOffset is 5, and should be 29",
            "maxTimestampSoFar is 1, and should be",
            "row without a file",
            "5 problems",
        ] {
            assert!(told.contains(words), "{depth}: {words} in {told}");
        }
    }
    let (code, told) = rebuild();
    assert_eq!(code, Some(0), "{told}");
    for words in [
        &format!("{topic}/000000/00000000000000000010: the index has no row of it"),
        &format!(
            "{topic}/000000/00000000000000000020: the index has another row of it: finalOffset is 5, and should be 29"
        ),
        &format!("{topic}/000001/00000000000000000040: the index has a row of it, and the archive has no such file"),
        &format!("{topic}.gone/000000/00000000000000000000: the index has a row of it"),
        &"rows made: 1, changed: 2, removed: 2".to_owned(),
    ] {
        assert!(told.contains(words), "{words} in {told}");
    }
    assert_eq!(indexed.check(), 8);
    for depth in ["--quick", "--deep"] {
        let (code, told) = verify(depth);
        assert_eq!(code, Some(0), "{depth}: {told}");
    }
    let after: Vec<Told> = indexed.database.query(query);
    for (after, before) in after.iter().zip(&before) {
        assert_eq!((after.2, after.3, &after.4, after.5), (before.2, before.3, &before.4, before.5), "{before:?}");
    }

    // Of nothing: everything comes back, but why files ended, which a directory does not keep.
    indexed.database.execute("DELETE FROM kafka_store");
    let (code, told) = rebuild();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("rows made: 8"), "{told}");
    assert_eq!(indexed.check(), 8);
    indexed.daemon().until_end();
}

#[test]
fn plan_tells_of_the_index_and_writes_nothing() {
    let indexed = Indexed::new("plan", 1);
    indexed.broker.produce(&indexed.topic, 0, &numbered(0..15), &[]);
    indexed.without_index().until_end();
    let archive = indexed.archive.path().to_str().expect("UTF-8").to_owned();
    let url = indexed.database.url();
    let flags = ["--broker-list", &indexed.broker.address, "--topic", &indexed.topic, "--group", &indexed.topic];
    let (code, told) =
        command(&[&["plan", "--local-store", &archive, "--mysql-metadata-url", &url], &flags[..]].concat());
    assert_eq!(code, Some(0), "{told}");
    let index = told.lines().find(|line| line.starts_with("index    mysql://")).expect("it is told");
    assert!(index.ends_with(&format!("/{}", indexed.database.name)) && told.contains("it has no rows yet"), "{told}");
    assert_eq!(indexed.database.query::<i64>("SELECT COUNT(*) FROM kafka_store"), [0]);
    assert_eq!(indexed.database.query::<i64>("SELECT COUNT(*) FROM kafka_store_cluster"), [0]);
}

/// Nobody is asked before the tables are right.
#[test]
fn a_daemon_does_not_start_over_a_database_without_tables_or_of_another_cluster() {
    let indexed = Indexed::new("start", 1);
    let cannot = |url: &str, words: &str| {
        let ended = indexed.without_index().args(&["--mysql-metadata-url", url, "--until-end"]).run();
        assert_eq!(ended.code, Some(1), "{}", ended.log);
        assert!(ended.log.contains(words), "{words} in {}", ended.log);
    };
    cannot(&Database::new("empty").url(), "make it with: kafka-store index init");
    cannot(&Database::of_the_original("old").url(), "migrate it with: kafka-store index migrate");
    cannot("mysql://me:hunter2@127.0.0.1:1/k", "Could not connect");
    let other = Database::with_schema("other");
    other.execute("INSERT INTO kafka_store_cluster VALUES (1, 'another', NOW())");
    cannot(&other.url(), "belongs to the Kafka cluster another");
    wait_until("nothing was archived", || indexed.archive.segments().is_empty());
}

/// Neither an origin nor a directory is left of the partition; its rows are.
#[test]
fn rows_prove_that_a_partition_had_files() {
    let indexed = Indexed::new("vanished", 1);
    indexed.broker.produce(&indexed.topic, 0, &numbered(0..20), &[]);
    indexed.daemon().until_end();
    let archive = indexed.archive.path();
    std::fs::remove_dir_all(archive.join(&indexed.topic)).expect("removed");
    std::fs::remove_dir_all(archive.join("~kafka-store/origins")).expect("removed");
    let location = archive.to_str().expect("UTF-8");
    let (code, told) = command(&["verify", location, "--deep"]);
    assert_eq!(code, Some(0), "{told}");
    let url = indexed.database.url();
    let (code, told) = command(&["verify", location, "--deep", "--index", "--mysql-metadata-url", &url]);
    assert_eq!(code, Some(65), "{told}");
    assert!(told.contains("row without a file") && told.contains("2 problems"), "{told}");
}
