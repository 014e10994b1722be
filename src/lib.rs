//! kafka-store

pub mod avro;
pub mod store;
