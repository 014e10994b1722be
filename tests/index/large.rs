//! Goal: with a million rows, a question is one step into an index, and a start reads tails alone. Method: rows by a seed,
//! inserted in bulk; the server's own counters say how many it read, and a clock how long it took.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::daemon::Daemon;
use crate::support::mysql::{Database, Server, command};
use crate::support::records::numbered;
use crate::support::seed::Chance;
use kafka_store::index::{IndexConfig, Moment, MysqlIndex};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicName;
use mysql::Conn;
use mysql::prelude::Queryable;
use slog::{Discard, Logger, o};
use std::fmt::Write;
use std::time::{Duration, Instant};

const TOPICS: u64 = 4;
const PARTITIONS: u64 = 25;
const ROWS_OF_A_CHAIN: u64 = 10_000;
const FIRST_TIME: i64 = 1_600_000_000_000;
/// How long a question may take.
const ANSWER_TIME: Duration = Duration::from_millis(10);

/// What a chain's rows are: each covers as many offsets and milliseconds as chance says; some times go back.
struct Chain {
    starts: Vec<i64>,
    so_far: Vec<i64>,
    next_offset: i64,
}

fn insert_chain(connection: &mut Conn, topic: u64, partition: u64, chance: &mut Chance) -> Chain {
    let (mut start, mut time, mut greatest) = (0_i64, FIRST_TIME, 0_i64);
    let mut chain = Chain { starts: Vec::new(), so_far: Vec::new(), next_offset: 0 };
    let mut statement = String::new();
    for number in 0..ROWS_OF_A_CHAIN {
        let (count, span) = (1 + chance.below(1_000) as i64, chance.below(60_000) as i64);
        let late = if chance.below(50) == 0 { 86_400_000 } else { 0 };
        let (least, most) = (time - late, time + span - late);
        greatest = greatest.max(most);
        if statement.is_empty() {
            statement.push_str(
                "INSERT INTO kafka_store (topic, `partition`, startOffset, finalOffset, byteSize, md5Hash, `time`, recordCount, \
                 firstTimestamp, minTimestamp, maxTimestamp, maxTimestampSoFar, invisibleCount, crc32c, objectUrl) VALUES ",
            );
        } else {
            statement.push(',');
        }
        let last = start + count - 1;
        write!(
            statement,
            "('topic-{topic}',{partition},{start},{last},4153,'0123456789abcdef0123456789abcdef','2026-01-01',{count},{least},\
             {least},{most},{greatest},0,7,'/archive/topic-{topic}/{partition:06}/{start:020}')"
        )
        .expect("a text takes everything");
        chain.starts.push(start);
        chain.so_far.push(greatest);
        start = last + 1;
        time += span;
        if (number + 1) % 2_500 == 0 {
            connection.query_drop(&statement).expect("inserted");
            statement.clear();
        }
    }
    chain.next_offset = start;
    chain
}

/// How many rows the server reads from tables, by whatever way.
struct RowsRead {
    connection: Conn,
    /// What asking reads.
    of_asking: u64,
    before: u64,
}

impl RowsRead {
    fn new(database: &Database) -> RowsRead {
        let mut read = RowsRead { connection: database.connect(), of_asking: 0, before: 0 };
        read.before = read.total();
        read.of_asking = read.total() - read.before;
        read.before += read.of_asking;
        read
    }

    /// Since it was asked last.
    fn since(&mut self) -> u64 {
        let now = self.total();
        let read = now - self.before - self.of_asking;
        self.before = now;
        read
    }

    fn total(&mut self) -> u64 {
        let counters: Vec<(String, u64)> =
            self.connection.query("SHOW GLOBAL STATUS LIKE 'Handler_read%'").expect("told");
        assert!(counters.len() > 5, "the server counts: {counters:?}");
        counters.iter().map(|(_, count)| count).sum()
    }
}

#[test]
fn among_a_million_rows_each_question_reads_what_it_answers_with() {
    let mut chance = Chance::from_seed();
    let server =
        Server::start(&["--innodb-flush-log-at-trx-commit=0".to_owned(), "--innodb-buffer-pool-size=512M".to_owned()]);
    let database = Database::on(&server.url(), "large");
    database.init();
    let mut connection = database.connect();
    let begun = Instant::now();
    let mut chains = Vec::new();
    for topic in 0..TOPICS {
        for partition in 0..PARTITIONS {
            chains.push((topic, partition, insert_chain(&mut connection, topic, partition, &mut chance)));
        }
    }
    let count: Option<u64> = connection.query_first("SELECT COUNT(*) FROM kafka_store").expect("counted");
    assert_eq!(count, Some(1_000_000));
    println!("a million rows after {:.1} s", begun.elapsed().as_secs_f64());
    drop(connection);
    let mut read = RowsRead::new(&database);
    questions(&database, &mut read, &chains, &mut chance);
    the_command(&database, &mut read, &chains[0].2);
    a_start(&database, &mut read);
}

fn questions(database: &Database, rows_read: &mut RowsRead, chains: &[(u64, u64, Chain)], chance: &mut Chance) {
    let index = MysqlIndex::new(IndexConfig::parse(&database.url()).expect("a URL"), Logger::root(Discard, o!()));
    let (mut slowest, mut took) = (Duration::ZERO, Vec::new());
    for _ in 0..300 {
        let (topic, partition, chain) = &chains[chance.below(chains.len() as u64) as usize];
        let name = ChainName::parse(&format!("topic-{topic}"), &format!("{partition:06}")).expect("a chain");
        let offset = chance.below(chain.next_offset as u64) as i64;
        let time = FIRST_TIME + chance.below((chain.so_far[chain.so_far.len() - 1] - FIRST_TIME) as u64) as i64;
        rows_read.since();
        let begun = Instant::now();
        let by_offset =
            index.find_offset(&name, Offset::new(offset).expect("an offset")).expect("answered").expect("a row");
        let by_time = index.find_time(&name, time).expect("answered");
        let last = index.last_row(&name).expect("answered").expect("a row");
        let one = begun.elapsed() / 3;
        (slowest, _) = (slowest.max(one), took.push(one));
        let read = rows_read.since();
        assert!(read <= 12, "{read} rows were read for three questions");
        let expected = chain.starts[chain.starts.partition_point(|start| *start <= offset) - 1];
        assert_eq!(by_offset.name.start.get(), expected, "{name} {offset}");
        let expected = chain.starts[chain.so_far.partition_point(|so_far| *so_far < time)];
        assert!(matches!(by_time, Moment::In(row) if row.name.start.get() == expected), "{name} {time}");
        assert_eq!(Some(&last.start.get()), chain.starts.last());
    }
    took.sort();
    let median = took[took.len() / 2];
    println!("a question: {median:?} in the middle, {slowest:?} at the most, over 900");
    assert!(median < ANSWER_TIME, "half of the questions take longer than {median:?}");

    rows_read.since();
    let chains_of_topic = index.chains(&TopicName::new("topic-2").expect("a topic"), None).expect("answered");
    let read = rows_read.since();
    assert_eq!(chains_of_topic.len() as u64, PARTITIONS);
    assert!(read < 10 * PARTITIONS, "{read} rows were read for {PARTITIONS} partitions");
}

/// The whole command, process and all; what it reads is the server's word.
fn the_command(database: &Database, rows_read: &mut RowsRead, chain: &Chain) {
    rows_read.since();
    let begun = Instant::now();
    let (code, told) = command(&["find", "topic-0", "0", "--offset=77777", "--mysql-metadata-url", &database.url()]);
    let (took, read) = (begun.elapsed(), rows_read.since());
    assert_eq!(code, Some(0), "{told}");
    let expected = chain.starts[chain.starts.partition_point(|start| *start <= 77_777) - 1];
    assert!(told.contains(&format!("{expected:020}")), "{told}");
    println!("the command: {took:?}, {read} rows");
    assert!(read < 300, "{read} rows were read, with those that describe the tables");
}

/// A daemon starts over this table, writes rows, and starts again.
fn a_start(database: &Database, rows_read: &mut RowsRead) {
    let (broker, archive) = (Broker::get(), Archive::new());
    let topic = broker.create_topic("large", 2, &[]);
    for partition in 0..2 {
        broker.produce(&topic, partition, &numbered(0..50), &[]);
    }
    let daemon = || {
        let daemon = Daemon::new(&broker, &[&topic], &topic, archive.path());
        daemon.args(&["--file-records", "10", "--mysql-metadata-url", &database.url()])
    };
    rows_read.since();
    daemon().until_end();
    let first = rows_read.since();
    daemon().until_end();
    let again = rows_read.since();
    println!("a start that writes ten rows reads {first} rows, and the next one {again}");
    assert!(first < 1_000 && again < 1_000, "{first} and {again} rows were read among a million");
}
