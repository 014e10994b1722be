//! Kafka: one librdkafka consumer, polled by one thread.

mod blocked;
mod canonical;
mod check;
mod fetching;
pub mod ffi;
mod heartbeat;
mod log_reader;
mod member;
mod poll_thread;
mod properties;
mod source;

pub use heartbeat::Heartbeat;
pub use log_reader::{LogError, LogFront, LogReader, LogReaders, LoggedRecord};
pub use member::{ClientMaker, Member};
pub use poll_thread::{PollThreadStart, start};
pub use properties::{ClientSettings, asking_properties, properties, topic_interval};
pub use source::KafkaSource;
