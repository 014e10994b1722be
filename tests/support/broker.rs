//! A real broker: topics and records for tests.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// The broker that the test command has started, or that it was given.
pub(crate) struct Broker {
    pub(crate) address: String,
}

/// A record as a test produces it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// 0 lets the producer take its clock: not what a test wants.
    pub(crate) timestamp: i64,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Keeps the offsets that the broker gave.
#[derive(Default)]
struct Acknowledged {
    failures: Mutex<Vec<String>>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failures.lock().expect("no panic").push(error.to_string());
        }
    }
}

impl Broker {
    /// The broker of this test run.
    pub(crate) fn get() -> Broker {
        let address = std::env::var("KAFKA_STORE_TEST_BROKER").expect(
            "KAFKA_STORE_TEST_BROKER is not set: run tests/run, or eval \"$(tests/services start)\" before cargo test",
        );
        Broker { address }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.address).create().expect("an admin client")
    }

    /// Creates a topic with a name of its own; `config` are topic settings.
    pub(crate) fn create_topic(&self, label: &str, partitions: i32, config: &[(&str, &str)]) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{label}-{}-{number}", std::process::id());
        self.create_topic_named(&name, partitions, config);
        name
    }

    /// Creates a topic.
    pub(crate) fn create_topic_named(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        // Tests produce old timestamps, which retention by time would delete within a second.
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
        for (key, value) in config {
            topic = topic.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let created = block_on(self.admin().create_topics([&topic], &options)).expect("topics are created");
        for result in created {
            result.expect("the topic is created");
        }
        self.wait_for_topic(name, partitions);
    }

    /// Waits until the broker's metadata shows the whole topic.
    fn wait_for_topic(&self, name: &str, partitions: i32) {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.address).create().expect("a client");
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let metadata = consumer.fetch_metadata(Some(name), PATIENCE).expect("metadata");
            let topic = &metadata.topics()[0];
            let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
            if topic.error().is_none() && led == usize::try_from(partitions).expect("positive") {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "topic {name} does not appear");
        }
    }

    /// A producer; `config` are librdkafka's properties.
    fn producer(&self, config: &[(&str, &str)]) -> BaseProducer<Acknowledged> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.address).set("acks", "all").set("enable.idempotence", "true");
        client.set("message.max.bytes", "120000000").set("queue.buffering.max.kbytes", "1000000");
        for (key, value) in config {
            client.set(*key, *value);
        }
        client.create_with_context(Acknowledged::default()).expect("a producer")
    }

    /// Produces records to a partition, in order, and waits until the broker has them.
    pub(crate) fn produce(&self, topic: &str, partition: i32, records: &[Record], config: &[(&str, &str)]) {
        let producer = self.producer(config);
        for record in records {
            send(&producer, topic, partition, record);
        }
        producer.flush(PATIENCE).expect("the broker takes the records");
        assert_eq!(*producer.context().failures.lock().expect("no panic"), Vec::<String>::new());
    }

    /// The log's start and end, as a reader of uncommitted records sees it.
    pub(crate) fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.address).create().expect("a client");
        consumer.fetch_watermarks(topic, partition, PATIENCE).expect("watermarks")
    }

    /// What a group has committed; `None` where it has nothing.
    pub(crate) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.address)
            .set("group.id", group)
            .create()
            .expect("a client");
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let committed = consumer.committed_offsets(list, PATIENCE).expect("committed offsets");
        let element = committed.find_partition(topic, partition)?;
        match element.offset() {
            Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
            _ => None,
        }
    }

    /// Commits an offset for a group without members, as the original tool did: without metadata.
    pub(crate) fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.address)
            .set("group.id", group)
            .create()
            .expect("a client");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        consumer.commit(&list, rdkafka::consumer::CommitMode::Sync).expect("committed");
    }

    /// Deletes the records before an offset.
    pub(crate) fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let deleted = block_on(self.admin().delete_records(&list, &options)).expect("records are deleted");
        assert!(deleted.elements().iter().all(|element| element.error().is_ok()));
    }

    /// Reads a whole partition with a plain consumer: the independent view of the log.
    pub(crate) fn read_all(&self, topic: &str, partition: i32) -> Vec<(i64, Record)> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.address)
            .set("group.id", "reads-all")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("receive.message.max.bytes", "270000000")
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
        consumer.assign(&list).expect("assigned");
        let mut records = Vec::new();
        loop {
            match consumer.poll(Timeout::After(PATIENCE)).expect("the end of the partition comes") {
                Ok(message) => records.push((message.offset(), record_of(&message))),
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => return records,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn record_of(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
    use rdkafka::message::Headers;
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Record {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        headers: headers.unwrap_or_default(),
    }
}

fn send(producer: &BaseProducer<Acknowledged>, topic: &str, partition: i32, record: &Record) {
    loop {
        let mut base = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).timestamp(record.timestamp);
        if let Some(key) = &record.key {
            base = base.key(key);
        }
        if let Some(value) = &record.value {
            base = base.payload(value);
        }
        if !record.headers.is_empty() {
            let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_deref() })
            });
            base = base.headers(headers);
        }
        match producer.send(base) {
            Ok(()) => {
                producer.poll(Duration::ZERO);
                return;
            }
            Err((rdkafka::error::KafkaError::MessageProduction(code), _))
                if code == rdkafka::types::RDKafkaErrorCode::QueueFull =>
            {
                producer.poll(Duration::from_millis(100));
            }
            Err((error, _)) => panic!("{error}"),
        }
    }
}

/// Runs one of the admin client's futures to its end; it needs no runtime of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
