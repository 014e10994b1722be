//! Kafka: one librdkafka consumer, polled by one thread.

mod blocked;
mod fetching;
pub mod ffi;
mod heartbeat;
mod poll_thread;
mod properties;
mod source;

pub use heartbeat::Heartbeat;
pub use poll_thread::{PollThreadStart, start};
pub use properties::{ClientSettings, asking_properties, properties};
pub use source::KafkaSource;
