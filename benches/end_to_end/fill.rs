//! Fills a topic with the benchmarks' records.

use crate::sample;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// So many different records are made, and produced again and again: more than any codec looks back.
const DIFFERENT_BYTES: usize = 32 << 20;

/// A topic that holds the records.
pub(crate) struct Filled {
    pub(crate) topic: String,
    pub(crate) partitions: i32,
    pub(crate) value_size: usize,
    pub(crate) records: u64,
    /// Of keys and values.
    pub(crate) bytes: u64,
}

/// The records of a size.
pub(crate) fn events(value_size: usize) -> Vec<sample::Event> {
    sample::events(value_size, DIFFERENT_BYTES / value_size)
}

fn admin(broker: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker).create().expect("an admin client")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

pub(crate) fn fill(broker: &str, value_size: usize, partitions: i32, bytes_wanted: u64) -> Filled {
    let topic = format!("bench-{value_size}-{partitions}-{}", std::process::id());
    let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    for result in block_on(admin(broker).create_topics([&new], &options)).expect("topics are created") {
        result.expect("the topic is created");
    }
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("compression.type", "lz4")
        .set("linger.ms", "100")
        .set("batch.size", "1000000")
        .set("enable.idempotence", "true")
        .create()
        .expect("a producer");
    let events = events(value_size);
    let mut filled = Filled { topic, partitions, value_size, records: 0, bytes: 0 };
    for event in events.iter().cycle() {
        if filled.bytes >= bytes_wanted {
            break;
        }
        // Runs of a hundred for one partition, as producers with sticky partitioning make them.
        let partition = (filled.records / 100 % partitions as u64) as i32;
        send(&producer, &filled.topic, partition, event);
        filled.records += 1;
        filled.bytes += (event.key.len() + event.value.len()) as u64;
    }
    producer.flush(PATIENCE).expect("the broker takes the records");
    filled
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, event: &sample::Event) {
    loop {
        let record =
            BaseRecord::to(topic).partition(partition).key(&event.key).payload(&event.value).timestamp(event.timestamp);
        match producer.send(record) {
            Ok(()) => {
                producer.poll(Duration::ZERO);
                return;
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => panic!("{error}"),
        }
    }
}

impl Filled {
    pub(crate) fn delete(&self, broker: &str) {
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for result in block_on(admin(broker).delete_topics(&[&self.topic], &options)).expect("topics are deleted") {
            result.expect("the topic is deleted");
        }
    }
}
