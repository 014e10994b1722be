//! A real broker: topics and records for tests.

use super::records::{Logged, Record};
use super::wait_until;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, ClientContext, Message, Offset, Timestamp, TopicPartitionList};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a broker may take on a busy machine: some tests hand it hundreds of megabytes.
const PATIENCE: Duration = Duration::from_secs(180);

/// The broker that the test command has started, or that it was given.
pub(crate) struct Broker {
    pub(crate) address: String,
}

/// Keeps what the broker refused.
#[derive(Default)]
pub(crate) struct Acknowledged {
    failures: Mutex<Vec<String>>,
}

/// Asks for a group's commits.
pub(crate) struct Commits(BaseConsumer);

impl Commits {
    /// What is committed of the first partitions of a topic, all asked at once.
    pub(crate) fn of(&self, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let committed = answer("committed offsets", || self.0.committed_offsets(list.clone(), PATIENCE));
        let offset = |partition| match committed.find_partition(topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        (0..partitions).map(offset).collect()
    }
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
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

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    fn consumer(&self, settings: &[(&str, &str)]) -> BaseConsumer {
        let mut config = self.client();
        settings.iter().for_each(|(key, value)| {
            config.set(*key, *value);
        });
        config.create().expect("a consumer")
    }

    fn admin(&self) -> (AdminClient<DefaultClientContext>, AdminOptions) {
        let admin = self.client().create().expect("an admin client");
        (admin, AdminOptions::new().operation_timeout(Some(PATIENCE)))
    }

    /// Creates a topic with a name of its own; `config` are topic settings.
    pub(crate) fn create_topic(&self, label: &str, partitions: i32, config: &[(&str, &str)]) -> String {
        let name = unique(label);
        self.create_topic_named(&name, partitions, config);
        name
    }

    /// Creates a topic.
    pub(crate) fn create_topic_named(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        self.create_replicated_topic(name, partitions, TopicReplication::Fixed(1), config);
    }

    /// Creates a topic with more than one replica, or with replicas on certain brokers.
    pub(crate) fn create_replicated_topic(
        &self,
        name: &str,
        partitions: i32,
        replication: TopicReplication<'_>,
        config: &[(&str, &str)],
    ) {
        // Tests produce old timestamps, which retention by time would delete within a second, and future ones.
        let mut topic = NewTopic::new(name, partitions, replication)
            .set("retention.ms", "-1")
            .set("message.timestamp.after.max.ms", "9223372036854775807");
        for (key, value) in config {
            topic = topic.set(key, value);
        }
        let (admin, options) = self.admin();
        let created = block_on(admin.create_topics([&topic], &options)).expect("topics are created");
        created.into_iter().for_each(|result| drop(result.expect("the topic is created")));
        self.wait_for_topic(name, partitions);
    }

    /// Changes a topic's settings; those that are not named get their defaults.
    pub(crate) fn alter_topic(&self, name: &str, config: &[(&str, &str)]) {
        let mut altered = AlterConfig::new(ResourceSpecifier::Topic(name)).set("retention.ms", "-1");
        for (key, value) in config {
            altered = altered.set(key, value);
        }
        let (admin, options) = self.admin();
        let results = block_on(admin.alter_configs([&altered], &options)).expect("settings are changed");
        results.into_iter().for_each(|result| drop(result.expect("the settings are changed")));
    }

    /// Deletes a topic, and waits until its name is free.
    pub(crate) fn delete_topic(&self, name: &str) {
        let (admin, options) = self.admin();
        let deleted = block_on(admin.delete_topics(&[name], &options)).expect("topics are deleted");
        deleted.into_iter().for_each(|result| drop(result.expect("the topic is deleted")));
        let consumer = self.consumer(&[]);
        wait_until("the topic is gone", || {
            let metadata = consumer.fetch_metadata(Some(name), PATIENCE).expect("metadata");
            metadata.topics()[0].error().is_some()
        });
    }

    /// Adds partitions to a topic.
    pub(crate) fn create_partitions(&self, name: &str, count: i32) {
        let (admin, options) = self.admin();
        let new = NewPartitions::new(name, usize::try_from(count).expect("positive"));
        let created = block_on(admin.create_partitions([&new], &options)).expect("partitions are created");
        created.into_iter().for_each(|result| drop(result.expect("the partitions are created")));
        self.wait_for_topic(name, count);
    }

    /// Waits until the broker's metadata shows the whole topic.
    fn wait_for_topic(&self, name: &str, partitions: i32) {
        let consumer = self.consumer(&[]);
        wait_until("the topic is there", || {
            let metadata = consumer.fetch_metadata(Some(name), PATIENCE).expect("metadata");
            let topic = &metadata.topics()[0];
            let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
            topic.error().is_none() && led == usize::try_from(partitions).expect("positive")
        });
    }

    /// A producer; `config` are librdkafka's properties.
    pub(crate) fn producer(&self, config: &[(&str, &str)]) -> BaseProducer<Acknowledged> {
        let mut client = self.client();
        // In order and once, without an idempotent producer's start: one request at a time, and no second try.
        client.set("acks", "all").set("max.in.flight", "1").set("message.send.max.retries", "0");
        client.set("linger.ms", "0").set("message.max.bytes", "120000000").set("queue.buffering.max.kbytes", "1000000");
        config.iter().for_each(|(key, value)| {
            client.set(*key, *value);
        });
        client.create_with_context(Acknowledged::default()).expect("a producer")
    }

    /// Produces records to a partition, in order, and waits until the broker has them.
    pub(crate) fn produce(&self, topic: &str, partition: i32, records: &[Record], config: &[(&str, &str)]) {
        let producer = self.producer(config);
        records.iter().for_each(|record| send(&producer, topic, partition, record));
        flush(&producer);
    }

    /// Begins a transaction with these records and leaves it open.
    pub(crate) fn open_transaction(
        &self,
        topic: &str,
        partition: i32,
        records: &[Record],
    ) -> BaseProducer<Acknowledged> {
        let id = unique("transaction");
        let producer = self.producer(&[("transactional.id", &id), ("message.send.max.retries", "10")]);
        producer.init_transactions(PATIENCE).expect("a transactional producer");
        producer.begin_transaction().expect("a transaction");
        records.iter().for_each(|record| send(&producer, topic, partition, record));
        flush(&producer);
        producer
    }

    /// Produces records in a transaction, ends it, and waits until the log shows so.
    pub(crate) fn transaction(&self, topic: &str, partition: i32, records: &[Record], commits: bool) {
        let producer = self.open_transaction(topic, partition, records);
        let ended = if commits { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) };
        ended.expect("the transaction ends");
        wait_until("no transaction is open", || {
            self.watermarks(topic, partition).1 == self.last_stable_offset(topic, partition)
        });
    }

    /// The log's start and end, as a reader of uncommitted records sees it.
    pub(crate) fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        let consumer = self.consumer(&[("isolation.level", "read_uncommitted")]);
        answer("watermarks", || consumer.fetch_watermarks(topic, partition, PATIENCE))
    }

    /// The end of the log as a reader of committed records sees it.
    pub(crate) fn last_stable_offset(&self, topic: &str, partition: i32) -> i64 {
        let consumer = self.consumer(&[("isolation.level", "read_committed")]);
        answer("watermarks", || consumer.fetch_watermarks(topic, partition, PATIENCE)).1
    }

    /// What a group has committed, with the metadata; `None` where it has nothing.
    pub(crate) fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
        let consumer = self.consumer(&[("group.id", group)]);
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let committed = answer("committed offsets", || consumer.committed_offsets(list.clone(), PATIENCE));
        let element = committed.find_partition(topic, partition)?;
        match element.offset() {
            Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
            _ => None,
        }
    }

    /// One who asks for a group's commits again and again.
    pub(crate) fn commits_of(&self, group: &str) -> Commits {
        Commits(self.consumer(&[("group.id", group)]))
    }

    /// Commits an offset for a group without members, as the original tool did: without metadata.
    pub(crate) fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let consumer = self.consumer(&[("group.id", group)]);
        answer("a commit", || consumer.commit(&offset_of(topic, partition, offset), CommitMode::Sync));
    }

    /// How many members a group has whose partitions are all given; `None` while it rebalances. Groups of the
    /// classic protocol only.
    pub(crate) fn stable_members(&self, group: &str) -> Option<usize> {
        let consumer = self.consumer(&[]);
        let list = consumer.fetch_group_list(Some(group), PATIENCE).expect("the group is described");
        let group = list.groups().first()?;
        (group.state() == "Stable").then(|| group.members().len())
    }

    /// Deletes the records before an offset.
    pub(crate) fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let (admin, options) = self.admin();
        let deleted = block_on(admin.delete_records(&offset_of(topic, partition, before), &options));
        let deleted = deleted.expect("records are deleted");
        assert!(deleted.elements().iter().all(|element| element.error().is_ok()));
    }

    /// Reads a whole partition with a plain consumer: the independent view of the log.
    pub(crate) fn read_all(&self, topic: &str, partition: i32) -> Vec<Logged> {
        let consumer = self.consumer(&[
            ("group.id", "reads-all"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            ("receive.message.max.bytes", "270000000"),
        ]);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
        consumer.assign(&list).expect("assigned");
        let mut records = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match consumer.poll(Timeout::After(PATIENCE)).expect("the end of the partition comes") {
                Ok(message) => records.push(logged(&message)),
                Err(KafkaError::PartitionEOF(_)) => return records,
                // One of several brokers is down: the client asks the others by itself.
                Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure))
                    if Instant::now() < deadline => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A name that nothing else has, also not from an earlier run against the same broker.
pub(crate) fn unique(label: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    format!("{label}-{seconds:x}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn offset_of(topic: &str, partition: i32, offset: i64) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
    list
}

fn logged(message: &BorrowedMessage<'_>) -> Logged {
    let (timestamp, timestamp_type) = match message.timestamp() {
        Timestamp::CreateTime(timestamp) => (timestamp, "CREATE_TIME"),
        Timestamp::LogAppendTime(timestamp) => (timestamp, "LOG_APPEND_TIME"),
        Timestamp::NotAvailable => (-1, "NOT_AVAILABLE"),
    };
    let headers = message
        .headers()
        .map(|headers| headers.iter().map(|header| (header.key.into(), header.value.map(<[u8]>::to_vec))).collect());
    Logged {
        offset: message.offset(),
        timestamp_type: timestamp_type.to_owned(),
        record: Record {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            timestamp,
            headers: headers.unwrap_or_default(),
        },
    }
}

/// Asks until there is an answer: a broker that has just started, or has just become a leader or coordinator, refuses for a
/// moment, and one that was stopped closes its connections. librdkafka hands that through.
#[track_caller]
pub(crate) fn answer<T>(what: &str, mut ask: impl FnMut() -> KafkaResult<T>) -> T {
    const PASSING: [RDKafkaErrorCode; 7] = [
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::NotLeaderForPartition,
        RDKafkaErrorCode::LeaderNotAvailable,
        RDKafkaErrorCode::OffsetNotAvailable,
        RDKafkaErrorCode::NotCoordinator,
        RDKafkaErrorCode::CoordinatorNotAvailable,
        RDKafkaErrorCode::CoordinatorLoadInProgress,
    ];
    let mut answered = None;
    wait_until(what, || match ask() {
        Ok(answer) => {
            answered = Some(answer);
            true
        }
        Err(error) if error.rdkafka_error_code().is_some_and(|code| PASSING.contains(&code)) => false,
        Err(error) => panic!("{what}: {error}"),
    });
    answered.expect("waited for")
}

/// Produces one record, later; the order is kept.
pub(crate) fn send(producer: &BaseProducer<Acknowledged>, topic: &str, partition: i32, record: &Record) {
    loop {
        let mut base = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).timestamp(record.timestamp);
        if let Some(key) = &record.key {
            base = base.key(key);
        }
        if let Some(value) = &record.value {
            base = base.payload(value);
        }
        if !record.headers.is_empty() {
            base = base.headers(record.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
                let key = std::str::from_utf8(name).expect("librdkafka's producer takes only UTF-8");
                headers.insert(Header { key, value: value.as_deref() })
            }));
        }
        match producer.send(base) {
            Ok(()) => break producer.poll(Duration::ZERO),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(100));
            }
            Err((error, _)) => panic!("{error}"),
        }
    }
}

/// Waits until the broker has everything.
pub(crate) fn flush(producer: &BaseProducer<Acknowledged>) {
    producer.flush(PATIENCE).expect("the broker takes the records");
    assert_eq!(*producer.context().failures.lock().expect("no panic"), Vec::<String>::new());
}

/// Runs one of the admin client's futures to its end; it needs no runtime of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
