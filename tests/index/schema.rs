//! Goal: the tables come about, become wider without losing a row, and are refused where they are something else.
//! Method: `kafka-store index` over databases of a real server, among them one with the original tool's dump.

use crate::support::mysql::{Database, Server, command};
use kafka_store::index::{IndexConfig, MysqlIndex, RowOutcome, RowValues};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use slog::{Discard, Logger, o};

fn index(database: &Database) -> MysqlIndex {
    let config = IndexConfig::parse(&database.url()).expect("a URL");
    MysqlIndex::new(config, Logger::root(Discard, o!()))
}

/// A row that is whole, of this topic and these offsets.
fn row(topic: &str, folder: &str, start: i64, final_offset: i64) -> RowValues {
    let chain = ChainName::parse(topic, folder).expect("a chain");
    let offset = |offset| Offset::new(offset).expect("an offset");
    RowValues {
        name: chain.segment(offset(start)),
        final_offset: offset(final_offset),
        file_bytes: 4_153,
        md5: Some("0123456789abcdef0123456789abcdef".to_owned()),
        record_count: Some(1),
        timestamps: None,
        invisible_count: Some(0),
        gaps: None,
        content_hash: None,
        crc32c: Some(7),
        object_url: Some(format!("/archive/{topic}")),
        generation: None,
        seal_reason: Some("size".to_owned()),
        topic_id: None,
        writer: None,
        max_timestamp_so_far: None,
    }
}

fn run(database: &Database, what: &str) -> (Option<i32>, String) {
    command(&["index", what, "--mysql-metadata-url", &database.url()])
}

const SEVEN_COLUMNS: &str = "SELECT topic, `partition`, startOffset, finalOffset, byteSize, md5Hash, \
                             CAST(`time` AS CHAR) FROM kafka_store ORDER BY topic, `partition`, startOffset";
type SevenColumns = (String, i32, i64, i64, i64, String, String);

#[test]
fn an_empty_database_gets_the_tables_once() {
    let database = Database::new("init");
    let (code, told) = run(&database, "status");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("has no index"), "{told}");
    let (code, told) = run(&database, "migrate");
    assert_eq!(code, Some(1), "there is nothing to migrate: {told}");
    assert!(told.contains("make it with: kafka-store index init"), "{told}");
    for (times, words) in [(1, "made V2__wider_rows"), (2, "schema version 3, as it should be")] {
        let (code, told) = run(&database, "init");
        assert_eq!(code, Some(0), "{times}: {told}");
        assert!(told.contains(words), "{times}: {told}");
    }
    let (code, told) = run(&database, "status");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("schema version 3") && told.contains("rows     0"), "{told}");
    assert!(!told.contains("password"), "{told}");
}

#[test]
fn the_originals_table_is_widened_in_place_and_loses_nothing() {
    let database = Database::of_the_original("original");
    let before: Vec<SevenColumns> = database.query(SEVEN_COLUMNS);
    assert_eq!(before.len(), 28, "the golden table");
    let (code, told) = run(&database, "status");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("has the table of the original kafka-store"), "{told}");
    let (code, told) = run(&database, "init");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("migrate it with: kafka-store index migrate"), "{told}");

    let (code, told) = run(&database, "migrate");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("28 rows"), "{told}");
    assert_eq!(database.query::<SevenColumns>(SEVEN_COLUMNS), before, "the same rows, in the same columns");
    let lineages: Vec<u32> = database.query("SELECT DISTINCT lineage FROM kafka_store");
    assert_eq!(lineages, [1], "what was there is of the first lineage");

    // The original tool's own statement still writes, and its readers' still read.
    database.execute(
        "INSERT IGNORE INTO kafka_store (`topic`, `partition`, `startOffset`, `finalOffset`, `byteSize`, `md5Hash`, \
         `time`) VALUES ('trimmed', 0, 20, 21, 5, '00', NOW())",
    );
    let last: Vec<(i64, i64)> = database.query(
        "SELECT startOffset, finalOffset FROM kafka_store WHERE topic = 'trimmed' AND `partition` = 0 \
         ORDER BY startOffset DESC LIMIT 1",
    );
    assert_eq!(last, [(20, 21)]);
    let (code, told) = run(&database, "migrate");
    assert_eq!(code, Some(0), "a second time there is nothing to do: {told}");
}

/// A process that dies between the statement and its note leaves the table ahead of its history.
#[test]
fn a_migration_that_was_cut_short_goes_on() {
    let cut = |statement: &str| {
        let database = Database::of_the_original("cut");
        assert_eq!(run(&database, "migrate").0, Some(0));
        database.execute(statement);
        let (code, told) = run(&database, "status");
        assert_eq!(code, Some(1), "{statement}: {told}");
        assert!(told.contains("has a schema of version"), "{statement}: {told}");
        let (code, told) = run(&database, "migrate");
        assert_eq!(code, Some(0), "{statement}: {told}");
        assert_eq!(run(&database, "status").0, Some(0), "{statement}");
        assert_eq!(database.query::<SevenColumns>(SEVEN_COLUMNS).len(), 28, "{statement}");
        let history: Vec<i32> = database.query("SELECT version FROM kafka_store_schema_history ORDER BY version");
        assert_eq!(history, [1, 2, 3], "{statement}");
    };
    cut("DELETE FROM kafka_store_schema_history WHERE version > 1");
    cut("DELETE FROM kafka_store_schema_history WHERE version > 2");
    cut("DELETE FROM kafka_store_schema_history");
    cut("DROP TABLE kafka_store_schema_history");

    // Cut before the table was widened: its note of the first version is there, and nothing else.
    let database = Database::of_the_original("cut");
    assert_eq!(run(&Database::new("other"), "migrate").0, Some(1));
    database.execute(
        "CREATE TABLE kafka_store_schema_history (version int4 PRIMARY KEY, name varchar(255), applied_on varchar(255), \
         checksum varchar(255))",
    );
    let (code, told) = run(&database, "migrate");
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(database.query::<SevenColumns>(SEVEN_COLUMNS).len(), 28);
}

#[test]
fn several_processes_migrate_at_once_and_one_does_it() {
    let database = Database::of_the_original("crowd");
    let told: Vec<(Option<i32>, String)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| run(&database, "migrate"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(told.iter().all(|(code, _)| *code == Some(0)), "{told:?}");
    assert_eq!(told.iter().filter(|(_, told)| told.contains("made V2__wider_rows")).count(), 1, "{told:?}");
    assert_eq!(database.query::<SevenColumns>(SEVEN_COLUMNS).len(), 28);
}

#[test]
fn what_is_no_index_is_refused_and_left_alone() {
    let refused = |statement: &str, words: &str| {
        let database = Database::with_schema("refused");
        database.execute(statement);
        for what in ["status", "init", "migrate"] {
            let (code, told) = run(&database, what);
            assert_eq!(code, Some(1), "{statement}, {what}: {told}");
            assert!(told.contains(words), "{statement}, {what}: {told}");
        }
        let error = index(&database).prepare(Some("c")).expect_err("a daemon does not start over it");
        assert!(error.to_string().contains(words), "{statement}: {error}");
    };
    refused("ALTER TABLE kafka_store DROP COLUMN gaps", "kafka_store has no column gaps");
    refused("ALTER TABLE kafka_store MODIFY COLUMN finalOffset int NOT NULL", "kafka_store.finalOffset is int");
    refused(
        "ALTER TABLE kafka_store DROP PRIMARY KEY, ADD PRIMARY KEY (topic, `partition`, startOffset)",
        "the primary key of kafka_store is (topic, partition, startOffset)",
    );
    refused("ALTER TABLE kafka_store ADD COLUMN theirs int NOT NULL", "a column theirs that every row must fill");
    refused(
        "ALTER TABLE kafka_store MODIFY COLUMN topic varchar(249) CHARACTER SET latin1 NOT NULL",
        "kafka_store.topic",
    );
    refused("DROP TABLE kafka_store_cluster", "there is no table kafka_store_cluster");
    refused("DROP TABLE kafka_store", "there is no table kafka_store)");
    refused(
        "INSERT INTO kafka_store_schema_history VALUES (9, 'later', '2030-01-01T00:00:00Z', '1')",
        "has a schema of version 9, and this kafka-store knows 3",
    );

    // Somebody's own column that needs no value is none of our business.
    let database = Database::with_schema("theirs");
    database.execute("ALTER TABLE kafka_store ADD COLUMN theirs int NULL");
    assert_eq!(run(&database, "status").0, Some(0));
}

#[test]
fn a_topic_that_kafka_cannot_have_stops_the_migration_before_it_begins() {
    let database = Database::of_the_original("odd");
    database.execute("INSERT INTO kafka_store VALUES ('für', 0, 0, 1, 2, '00', NOW())");
    let (code, told) = run(&database, "migrate");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("\"für\", which is no name of a Kafka topic"), "{told}");
    assert_eq!(database.query::<SevenColumns>(SEVEN_COLUMNS).len(), 29);
    let (_, told) = run(&database, "status");
    assert!(told.contains("has the table of the original"), "{told}");
}

/// In the original's table these were one row each, and the second one was dropped in silence.
#[test]
fn names_that_differ_in_case_length_or_lineage_are_different() {
    let database = Database::with_schema("names");
    let index = index(&database);
    let long = "x".repeat(248);
    let rows = [
        row("Orders", "000000", 0, 1),
        row("orders", "000000", 0, 4),
        row("ORDERS", "000000", 0, 9),
        row(&format!("{long}a"), "000000", 0, 1),
        row(&format!("{long}b"), "000000", 0, 2),
        row(&format!("{long}A"), "000000", 0, 3),
        row(&"x".repeat(191), "000000", 0, 5),
        row("orders", "000000~2", 0, 6),
        row("orders", "000000~10", 0, 7),
        row("orders", "2147483647", 0, i64::MAX - 1),
    ];
    let outcomes = index.write(&rows).expect("written");
    assert!(outcomes.iter().all(|outcome| *outcome == RowOutcome::Written), "{outcomes:?}");
    for row in &rows {
        let found = index.find_offset(&row.name.chain, row.name.start).expect("found").expect("a row");
        assert_eq!((&found.name, found.final_offset), (&row.name, row.final_offset));
    }
    assert_eq!(index.write(&rows).expect("written"), vec![RowOutcome::WasThere; rows.len()]);
    // A reader whose connection has another collation finds its topic, and no other.
    let found: Vec<i64> = database
        .query("SELECT finalOffset FROM kafka_store WHERE topic = 'orders' AND lineage = 1 AND `partition` = 0");
    assert_eq!(found, [4]);
}

#[test]
fn a_table_belongs_to_one_cluster() {
    let database = Database::new("cluster");
    let init = |id: &str| command(&["index", "init", "--mysql-metadata-url", &database.url(), "--cluster-id", id]);
    assert_eq!(init("one").0, Some(0));
    let (code, told) = init("other");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("belongs to the Kafka cluster one, and this one is other"), "{told}");
    let index = index(&database);
    index.prepare(Some("one")).expect("the right one");
    for id in [Some("other"), Some("One"), None] {
        let error = index.prepare(id).expect_err("another cluster");
        assert!(error.to_string().contains("use a database of its own for each cluster"), "{error}");
    }
}

/// The original's column had room for 191 characters, and `INSERT IGNORE` cut what was longer.
#[test]
fn topics_that_may_have_been_cut_are_told() {
    let database = Database::of_the_original("long");
    database.execute(&format!("INSERT INTO kafka_store VALUES ('{}', 0, 0, 1, 2, '00', NOW())", "y".repeat(191)));
    let (code, told) = run(&database, "migrate");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("1 rows have topics of 191 characters"), "{told}");
}

/// Other storage engines have no transactions.
#[test]
fn a_table_of_another_engine_is_converted() {
    let server = Server::start(&[]);
    let database = Database::on(&server.url(), "engine");
    database.execute(
        "CREATE TABLE kafka_store (topic varchar(191) CHARACTER SET latin1 NOT NULL, `partition` int NOT NULL, startOffset \
         bigint NOT NULL, finalOffset bigint NOT NULL, byteSize bigint NOT NULL, md5Hash varchar(32) NOT NULL, `time` \
         datetime NOT NULL, PRIMARY KEY (topic, `partition`, startOffset)) ENGINE=MyISAM",
    );
    database.execute("INSERT INTO kafka_store VALUES ('a', 0, 0, 1, 2, '00', NOW())");
    let (code, told) = run(&database, "migrate");
    assert_eq!(code, Some(0), "{told}");
    let engine: Vec<String> = database.query(
        "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'kafka_store'",
    );
    assert_eq!(engine, ["InnoDB"]);
    assert_eq!(database.query::<SevenColumns>(SEVEN_COLUMNS).len(), 1);
}
