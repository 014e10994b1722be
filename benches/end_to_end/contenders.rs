//! Who runs: the built kafka-store, a bare consumer, the codec library.

use crate::fill::{Filled, events};
use crate::measure::{Measured, measure, prepared};
use crate::{child, sample};
use kafka_store::avro::{Codec, Compressor, Isolation};
use kafka_store::config::{KafkaProperties, MemoryPlan};
use kafka_store::kafka::{ClientSettings, properties};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(crate) enum Contender {
    /// Polls each record and looks at nothing, with the very properties of kafka-store.
    BareConsumer,
    /// Compresses the same blocks, all of them in memory already, on one thread.
    CodecAlone(String),
    KafkaStore(String),
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contender::BareConsumer => f.write_str("bare consumer"),
            Contender::CodecAlone(codec) => write!(f, "{codec} alone"),
            Contender::KafkaStore(codec) => write!(f, "**kafka-store, {codec}**"),
        }
    }
}

/// Where the runs archive to, all removed at the end. In between the files are emptied and stay: where inodes were freed
/// in the last minutes, ext4 searches long for others, which no archive makes it do, since nothing in one is deleted.
#[derive(Default)]
pub(crate) struct Archives(Vec<tempfile::TempDir>);

impl Archives {
    fn add(&mut self) -> &Path {
        self.0.push(tempfile::tempdir().expect("a directory"));
        self.0.last().expect("just added").path()
    }
}

fn empty_files(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            empty_files(&path);
        } else {
            std::fs::File::create(path).expect("a file that is ours");
        }
    }
}

const BARE: &str = "--run-bare-consumer";
const ALONE: &str = "--run-codec-alone";

impl Contender {
    pub(crate) fn run(&self, broker: &str, filled: &Filled, run: usize, archives: &mut Archives) -> Measured {
        let records = filled.records.to_string();
        let partitions = filled.partitions.to_string();
        match self {
            Contender::BareConsumer => measure(child(&[BARE, broker, &filled.topic, &partitions, &records])),
            Contender::CodecAlone(codec) => {
                measure(child(&[ALONE, codec, &filled.value_size.to_string(), &filled.bytes.to_string()]))
            }
            Contender::KafkaStore(codec) => {
                let archive = archives.add();
                let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
                command.args(["--broker-list", broker, "--topic", &filled.topic, "--until-end", "--codec", codec]);
                command.args(["--group", &format!("{}-{codec}-{run}", filled.topic), "--offset-reset", "earliest"]);
                command.arg("--local-store").arg(archive);
                let measured = measure(command);
                empty_files(archive);
                measured
            }
        }
    }
}

pub(crate) fn is_child(args: &[String]) -> bool {
    args.first().is_some_and(|arg| arg == BARE || arg == ALONE)
}

pub(crate) fn run_child(args: &[String]) {
    match args {
        [which, broker, topic, partitions, records] if which == BARE => {
            consume(broker, topic, partitions.parse().expect("a number"), records.parse().expect("a number"))
        }
        [which, codec, size, bytes] if which == ALONE => {
            compress(codec, size.parse().expect("a number"), bytes.parse().expect("a number"));
        }
        _ => panic!("not a contender: {args:?}"),
    }
}

fn consume(broker: &str, topic: &str, partitions: i32, records: u64) {
    let given = KafkaProperties::default();
    let settings = ClientSettings {
        brokers: broker,
        group: "bare-consumer",
        isolation: Isolation::ReadCommitted,
        memory: MemoryPlan::new(256_000_000),
        // As with --until-end.
        starts_often: true,
        given: &given,
    };
    let mut config = ClientConfig::new();
    for (name, value) in properties(&settings) {
        config.set(name, value);
    }
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("assigned");
    let (mut seen, mut bytes) = (0, 0);
    while seen < records {
        match consumer.poll(Duration::from_secs(30)).expect("a record comes") {
            Ok(message) => {
                seen += 1;
                bytes += message.payload_len();
            }
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    black_box(bytes);
}

fn compress(codec: &str, value_size: usize, bytes_wanted: u64) {
    let codec = Codec::parse(codec).expect("a codec");
    let events = events(value_size);
    let per_round: u64 = events.iter().map(|event| (event.key.len() + event.value.len()) as u64).sum();
    let blocks = sample::blocks(&events);
    let mut compressor = Compressor::new();
    let mut done = 0;
    prepared();
    while done < bytes_wanted {
        for (block, _) in &blocks {
            black_box(compressor.compress(codec, block));
        }
        done += per_round;
    }
}
