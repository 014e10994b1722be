//! Kafka: one librdkafka consumer, polled by one thread.

pub mod ffi;
