//! Why a partition must not go on, in words that say what to do.

use super::ffi::{KafkaError, PartitionProblem};
use kafka_store_statecharts::failure::{Class, Lasts, Port};
use kafka_store_statecharts::topic::TopicPartition;

/// A record that librdkafka handed over but that cannot be archived as it is.
pub(super) fn unreadable(partition: &TopicPartition, offset: i64, error: &KafkaError) -> String {
    format!(
        "the record at offset {offset} of {partition} cannot be read: {error}; nothing after it is archived until it \
         can be (or is gone from Kafka), so look at it with another consumer"
    )
}

/// An error that librdkafka reports for a partition.
pub(super) fn partition_failed(problem: &PartitionProblem) -> String {
    let PartitionProblem { partition, offset, error } = problem;
    match error.name.as_str() {
        "_BAD_MSG" | "CORRUPT_MESSAGE" | "INVALID_MSG" => format!(
            "the log of {partition} is damaged near offset {offset}: {error}; nothing after it is archived; check the \
             broker's disks and replicas"
        ),
        "TOPIC_AUTHORIZATION_FAILED" => {
            format!("this user may not read {partition}: {error}; grant it Read and Describe on the topic")
        }
        "UNKNOWN_TOPIC_OR_PART" | "_UNKNOWN_TOPIC" | "_UNKNOWN_PARTITION" | "UNKNOWN_TOPIC_ID" => {
            format!("the brokers no longer know {partition}: {error}; was the topic deleted?")
        }
        _ => format!("{partition} cannot be read on from offset {offset}: {error}"),
    }
}

/// Reports whether a broker gives records again by itself. What librdkafka cannot make sense of, and would skip, does not
/// pass: neither what the table says, nor an error of its own that nobody foresaw.
pub(super) fn passes(problem: &PartitionProblem) -> bool {
    let class = problem.error.class(Port::Kafka);
    let is_unforeseen = class == Class::Other && problem.error.name.starts_with('_');
    Port::Kafka.lasts(class) == Lasts::ForNow && !is_unforeseen
}

/// Reports whether the log does not hold what comes next. The cause is found out by questions to the brokers.
pub(super) fn is_out_of_range(problem: &PartitionProblem) -> bool {
    matches!(problem.error.name.as_str(), "_AUTO_OFFSET_RESET" | "OFFSET_OUT_OF_RANGE")
}

/// Reports whether a broker was not reached: when it is again, its logs may be others.
pub(super) fn loses_connection(error: &KafkaError) -> bool {
    matches!(error.name.as_str(), "_TRANSPORT" | "_ALL_BROKERS_DOWN" | "_RESOLVE" | "_TIMED_OUT")
}

/// What an operator may do about an error that librdkafka deals with itself.
pub(super) fn hint(error: &KafkaError) -> &'static str {
    match error.name.as_str() {
        "INCONSISTENT_GROUP_PROTOCOL" => {
            "another member of the group uses another protocol: an old kafka-store or another consumer still runs in \
             this group; stop it"
        }
        "_ALL_BROKERS_DOWN" | "_TRANSPORT" | "_RESOLVE" => "it is tried again; check --broker-list and the network",
        "_AUTHENTICATION" | "SASL_AUTHENTICATION_FAILED" => "check the -X sasl.* and security.protocol settings",
        "GROUP_AUTHORIZATION_FAILED" => "grant this user Read on the group",
        "UNKNOWN_TOPIC_OR_PART" => "create the topic, or check --topic",
        _ => "it is tried again",
    }
}

/// Reports whether another process has taken this one's `group.instance.id`. To take it back would only go back and forth.
pub(super) fn is_fenced(error: &KafkaError) -> bool {
    error.name == "FENCED_INSTANCE_ID"
}

/// What an operator may do about an error after which librdkafka's client is replaced.
pub(super) fn fatal_hint(error: &KafkaError) -> &'static str {
    match error.name.as_str() {
        "UNRELEASED_INSTANCE_ID" => {
            "another member has this group.instance.id: if it is this daemon's earlier run, its session ends by itself \
             (group.consumer.session.timeout.ms of the broker); if another daemon runs with it, give each its own"
        }
        "GROUP_AUTHORIZATION_FAILED" => "grant this user Read on the group",
        "GROUP_MAX_SIZE_REACHED" => "the group is full: stop a member, or raise group.consumer.max.size of the broker",
        "UNSUPPORTED_ASSIGNOR" => "check -X group.remote.assignor",
        "UNSUPPORTED_VERSION" | "_UNSUPPORTED_FEATURE" => {
            "the broker does not know the newer group protocol: leave out -X group.protocol=consumer"
        }
        _ => "it is tried again",
    }
}
