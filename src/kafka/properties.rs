//! The properties that the consumer is made with.

use crate::avro::Isolation;
use crate::config::{KafkaProperties, MemoryPlan};
use std::time::Duration;

/// Who consumes from where, and in how much memory.
#[derive(Clone, Debug)]
pub struct ClientSettings<'a> {
    /// `--broker-list`.
    pub brokers: &'a str,
    /// `--group`.
    pub group: &'a str,
    /// Which records are asked for.
    pub isolation: Isolation,
    /// How much librdkafka may keep.
    pub memory: MemoryPlan,
    /// Whether partitions stop and start all the time, as they do where the spool is limited, and in a run that ends, where
    /// each that is done makes room for another.
    pub starts_often: bool,
    /// `-X`.
    pub given: &'a KafkaProperties,
}

/// How often librdkafka asks for the topics that it is subscribed to, in ms.
const METADATA_INTERVAL: &str = "topic.metadata.refresh.interval.ms";

/// How often topics are looked for that match a pattern: as often as `-X` has librdkafka ask for topics, and at least every
/// 20 s.
pub fn topic_interval(given: &KafkaProperties) -> Duration {
    const LONGEST: Duration = Duration::from_secs(20);
    let asked = given.iter().find(|(name, _)| *name == METADATA_INTERVAL);
    let asked = asked.and_then(|(_, value)| value.trim().parse().ok()).filter(|asked| *asked > 0);
    asked.map_or(LONGEST, |asked| Duration::from_millis(asked).min(LONGEST))
}

/// The properties of a client that only asks where a log and a group stand.
pub fn asking_properties(brokers: &str, group: &str, given: &KafkaProperties) -> Vec<(String, String)> {
    let ours = [
        ("client.id", "kafka-store"),
        ("bootstrap.servers", brokers),
        ("group.id", group),
        ("isolation.level", Isolation::ReadCommitted.as_str()),
        ("enable.auto.commit", "false"),
        ("allow.auto.create.topics", "false"),
        ("log.connection.close", "false"),
    ];
    let ours = ours.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let given = given.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    ours.into_iter().chain(given).collect()
}

/// The properties, ours first and the user's after them: those that must be ours, `-X` has refused already.
pub fn properties(settings: &ClientSettings<'_>) -> Vec<(String, String)> {
    let mut properties: Vec<(String, String)> = [
        ("client.id", "kafka-store"),
        ("bootstrap.servers", settings.brokers),
        ("group.id", settings.group),
        ("isolation.level", &settings.isolation.to_string()),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // Where to go on is never librdkafka's decision.
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        ("check.crcs", "true"),
        ("allow.auto.create.topics", "false"),
        ("statistics.interval.ms", "0"),
        // Partitions that are added to a topic are seen within a minute, not after librdkafka's five.
        (METADATA_INTERVAL, "30000"),
        // A broker may close an idle connection; that is no event.
        ("log.connection.close", "false"),
        // A full queue is looked at again at once: the default of a second starves a consumer that bounds its queue,
        // and 5 ms take half of the throughput from one whose queue is as short as ours.
        ("fetch.queue.backoff.ms", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if !settings.given.has_consumer_protocol() {
        // A rebalance then takes only the partitions that move; `-X` may say otherwise.
        properties.push(("partition.assignment.strategy".to_owned(), "cooperative-sticky".to_owned()));
    }
    if settings.starts_often {
        // A partition that starts waits for the fetch of those that are caught up, which take their time. And where no
        // others can be fetched for a moment, one fetch of these holds up all.
        properties.push(("fetch.wait.max.ms".to_owned(), "50".to_owned()));
    }
    properties.extend(sizes(&settings.memory).map(|(name, value)| (name.to_owned(), value.to_string())));
    properties.extend(settings.given.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    properties
}

/// librdkafka's limits, from the parts of `--memory-limit`.
///
/// * One shared queue of fetched records. It counts values alone (in units of 1000 bytes) and records, and is looked
///   at before each fetch, so it overshoots by one fetch a broker.
/// * `message.max.bytes` is for producers, but a fetch may not be smaller than it.
/// * One partition gets a quarter of a fetch, from 1 MiB to 4 MiB: what comes of several is worked at by several
///   cores, and does not wait for long. Each answer ends within a batch, which is sent in vain: so no smaller pieces.
/// * The largest answer taken: 256 MiB, so that records of 100 MB pass, which every broker may send alone.
fn sizes(memory: &MemoryPlan) -> [(&'static str, u64); 6] {
    const MIB: u64 = 1 << 20;
    let partition_fetch_bytes = (memory.fetch_bytes / 4).clamp(MIB, 4 * MIB).min(memory.fetch_bytes);
    [
        ("queued.max.messages.kbytes", memory.queue_bytes / 1000),
        ("queued.min.messages", memory.queue_records),
        ("message.max.bytes", memory.fetch_bytes.min(MIB)),
        ("fetch.max.bytes", memory.fetch_bytes),
        ("fetch.message.max.bytes", partition_fetch_bytes),
        ("receive.message.max.bytes", 256 * MIB),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_looked_for_at_least_every_twenty_seconds() {
        let interval = |given: &[&str]| {
            topic_interval(&KafkaProperties::parse(given.iter().copied()).expect("allowed")).as_millis()
        };
        assert_eq!(interval(&[]), 20_000);
        assert_eq!(interval(&["topic.metadata.refresh.interval.ms=500"]), 500);
        assert_eq!(interval(&["topic.metadata.refresh.interval.ms=300000"]), 20_000);
        assert_eq!(interval(&["topic.metadata.refresh.interval.ms=-1"]), 20_000);
    }
}
