//! Reading a real broker's log outside of a group.

use crate::support::broker::Broker;
use crate::support::records::{numbered, record};
use kafka_store::avro::Isolation;
use kafka_store::config::KafkaProperties;
use kafka_store::kafka::{LogFront, LogReader, LogReaders};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use std::sync::atomic::AtomicBool;

static GO_ON: AtomicBool = AtomicBool::new(false);

fn reader(broker: &Broker) -> LogReader {
    let none = KafkaProperties::parse([]).expect("no properties");
    LogReaders::new(&broker.address, "reads", &none).open(Isolation::ReadCommitted).expect("a reader")
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition {
        topic: TopicName::new(topic).expect("legal"),
        partition: PartitionId::new(0).expect("not negative"),
    }
}

fn offset(number: i64) -> Offset {
    Offset::new(number).expect("legal")
}

/// The offsets up to the end, and where that is.
fn offsets(reader: &mut LogReader) -> (Vec<i64>, i64) {
    let mut offsets = Vec::new();
    loop {
        match reader.front(&GO_ON).expect("it reads") {
            LogFront::Record(record) => offsets.push(record.offset.get()),
            LogFront::End(end) => return (offsets, end.get()),
        }
        reader.pop();
    }
}

#[test]
fn a_range_of_a_log_is_read_again_and_again() {
    let broker = Broker::get();
    let topics = ["first", "second"].map(|label| broker.create_topic(label, 1, &[]));
    for topic in &topics {
        broker.produce(topic, 0, &numbered(0..20), &[]);
    }
    let mut reader = reader(&broker);
    for (from, until) in [(0, 20), (19, 20), (5, 7), (0, 1), (20, 20), (12, 30), (3, 4), (30, 31)] {
        for topic in &topics {
            reader.start(&partition(topic), offset(from), offset(until)).expect("it starts");
            let last = until.min(20);
            assert_eq!(offsets(&mut reader), ((from..last).collect(), last), "{from} to {until}");
            // The end stays.
            assert_eq!(offsets(&mut reader), (Vec::new(), last));
        }
    }
    // A start in the midst of what was read.
    reader.start(&partition(&topics[0]), offset(0), offset(20)).expect("it starts");
    reader.front(&GO_ON).expect("it reads");
    reader.start(&partition(&topics[0]), offset(10), offset(20)).expect("it starts");
    assert_eq!(offsets(&mut reader).0, (10..20).collect::<Vec<_>>());
}

/// More than a reader fetches ahead lies between what it has and what is deleted.
#[test]
fn records_that_expire_while_they_are_read_are_passed_over() {
    let broker = Broker::get();
    let topic = broker.create_topic("expires", 1, &[("max.message.bytes", "2000000")]);
    let value = vec![b'x'; 1_000_000];
    for number in 0..60 {
        broker.produce(&topic, 0, &[record(None, Some(&value), 1_700_000_000_000 + number)], &[]);
    }
    let mut reader = reader(&broker);
    reader.start(&partition(&topic), offset(0), offset(60)).expect("it starts");
    assert!(matches!(reader.front(&GO_ON), Ok(LogFront::Record(record)) if record.offset == offset(0)));
    assert_eq!(reader.log_start(), offset(0));
    broker.delete_records(&topic, 0, 50);
    let (read, end) = offsets(&mut reader);
    assert_eq!(end, 60);
    assert!(read.is_sorted() && read.ends_with(&(50..60).collect::<Vec<_>>()), "{read:?}");
    assert!(read.len() < 50, "it had fetched less ahead: {read:?}");
    assert_eq!(reader.log_start(), offset(50));
}

#[test]
fn a_leader_is_asked_for_the_epoch_of_an_offset() {
    let broker = Broker::get();
    let topic = broker.create_topic("epochs", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..20), &[]);
    broker.delete_records(&topic, 0, 5);
    let (mut reader, partition) = (reader(&broker), partition(&topic));
    let mut has = |number, epoch| {
        let epoch = LeaderEpoch::new(epoch).expect("not negative");
        reader.has_history(&partition, offset(number), epoch, &GO_ON).expect("it answers")
    };
    // Its only leader so far has epoch 0.
    assert_eq!([has(5, 0), has(10, 0), has(20, 0)], [Some(true); 3]);
    assert_eq!([has(10, 1), has(20, 7)], [Some(false); 2]);
    assert_eq!([has(4, 0), has(21, 0)], [None; 2]);
    // It reads on after all that.
    reader.start(&partition, offset(18), offset(20)).expect("it starts");
    assert_eq!(offsets(&mut reader), (vec![18, 19], 20));
}

#[test]
fn a_reader_can_be_stopped() {
    let broker = Broker::get();
    let topic = broker.create_topic("stopped", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..1), &[]);
    let mut reader = reader(&broker);
    reader.start(&partition(&topic), offset(0), offset(1)).expect("it starts");
    assert!(reader.front(&AtomicBool::new(true)).is_err());
}
