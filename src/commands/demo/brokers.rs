//! The demo's brokers, and the producer that fills them.

use super::super::CommandError;
use super::sample::{SampleRecord, TOPICS, topic_names};
use crate::commands::interrupt::Interrupt;
use crate::kafka::ffi::MockBrokers;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// Brokers in memory, with the sample's topics.
pub(super) struct Brokers(MockBrokers);

impl Brokers {
    pub(super) fn start() -> Result<Brokers, CommandError> {
        let failed = |error| CommandError::new(format!("the brokers in memory do not start: {error}"));
        let brokers = MockBrokers::start(3).map_err(failed)?;
        for (topic, name) in TOPICS.iter().zip(topic_names()) {
            brokers.create_topic(&name, topic.partitions).map_err(failed)?;
        }
        Ok(Brokers(brokers))
    }

    pub(super) fn bootstrap_servers(&self) -> String {
        self.0.bootstrap_servers()
    }

    /// Produces the sample, and waits until the brokers have it.
    pub(super) fn produce(
        &self,
        total: u64,
        progress: impl Fn(u64),
        interrupt: &Interrupt,
    ) -> Result<(), CommandError> {
        let failed = |error: KafkaError| CommandError::new(format!("the brokers in memory take no records: {error}"));
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap_servers())
            // The brokers keep about 5 MiB a partition, as stored.
            .set("compression.type", "zstd")
            .set("linger.ms", "50")
            .set("batch.size", "262144")
            .set("enable.idempotence", "true")
            .create()
            .map_err(failed)?;
        let mut done = 0;
        for topic in TOPICS {
            for partition in 0..topic.partitions {
                let count = topic.records_in(partition, total);
                for index in 0..count {
                    send(&producer, topic.name, partition, &topic.record(partition, index, count)).map_err(failed)?;
                    done += 1;
                    if done % 1_000 == 0 {
                        progress(done);
                        if interrupt.is_set() {
                            return Ok(());
                        }
                    }
                }
            }
        }
        producer.flush(PATIENCE).map_err(failed)
    }
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, record: &SampleRecord) -> Result<(), KafkaError> {
    loop {
        let mut base = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).timestamp(record.timestamp);
        if let Some(key) = &record.key {
            base = base.key(key);
        }
        if let Some(value) = &record.value {
            base = base.payload(value);
        }
        if !record.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(record.headers.len());
            base = base.headers(
                record
                    .headers
                    .iter()
                    .fold(empty, |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() })),
            );
        }
        match producer.send(base) {
            Ok(()) => {
                producer.poll(Duration::ZERO);
                return Ok(());
            }
            // The queue holds 100,000: the brokers catch up.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(20));
            }
            Err((error, _)) => return Err(error),
        }
    }
}
