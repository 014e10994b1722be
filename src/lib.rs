//! kafka-store

pub mod avro;
