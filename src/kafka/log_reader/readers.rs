//! The properties that readers of logs are made with.

use super::super::ffi::{Client, KafkaError};
use super::super::properties;
use super::LogReader;
use crate::avro::Isolation;
use crate::config::KafkaProperties;

/// Makes readers.
#[derive(Clone, Debug)]
pub struct LogReaders {
    properties: Vec<(String, String)>,
}

impl LogReaders {
    /// Readers with these brokers and the user's properties.
    pub fn new(brokers: &str, group: &str, given: &KafkaProperties) -> LogReaders {
        let ours = [
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "error"),
            ("check.crcs", "true"),
            // The end of a log is reported by the fetch after the last record, which must not wait for more.
            ("fetch.wait.max.ms", "20"),
            ("fetch.queue.backoff.ms", "1"),
            // A few megabytes fetched ahead keep one reader busy; more would only be memory. A batch may be twenty
            // times as large when it is decompressed.
            ("fetch.message.max.bytes", "1048576"),
            ("message.max.bytes", "1048576"),
            ("fetch.max.bytes", "4194304"),
            ("queued.max.messages.kbytes", "4096"),
            ("queued.min.messages", "10000"),
            // A broker sends a record of any size if it is the first of an answer.
            ("receive.message.max.bytes", "268435456"),
        ];
        let ours = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut properties = properties::asking_properties(brokers, group, given);
        properties.extend(ours);
        LogReaders { properties }
    }

    /// A reader that sees the log at this isolation level.
    ///
    /// # Errors
    /// If librdkafka refuses one of the properties.
    pub fn open(&self, isolation: Isolation) -> Result<LogReader, KafkaError> {
        let isolation_level = ("isolation.level", isolation.as_str());
        let properties = self.properties.iter().map(|(name, value)| (&**name, &**value));
        let client = Client::new(properties.chain([isolation_level]))?;
        Ok(LogReader::new(client, isolation))
    }
}
