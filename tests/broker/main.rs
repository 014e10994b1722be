//! Daemons and commands against a real Kafka broker.

mod audit;
mod exact_archive;
mod failing_sync;
mod formats;
mod full_disk;
mod gcs;
mod golden_continue;
mod healing;
mod log_reader;
mod logs;
mod membership;
mod memory;
mod odd_records;
mod page_cache;
mod plan;
mod resolve;
mod seals;
mod shutdown;
mod spool;
mod start;
mod status;
mod verify_kafka;
mod verify_records;

#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
#[path = "../support"]
mod support {
    pub(crate) mod archive;
    pub(crate) mod broker;
    pub(crate) mod bucket;
    pub(crate) mod daemon;
    pub(crate) mod failing_sync;
    pub(crate) mod fake_gcs;
    pub(crate) mod http;
    pub(crate) mod memory;
    pub(crate) mod metrics;
    pub(crate) mod mysql;
    pub(crate) mod page_cache;
    pub(crate) mod ports;
    pub(crate) mod random;
    pub(crate) mod raw_produce;
    pub(crate) mod records;
    pub(crate) mod rows;
    pub(crate) mod scene;
    pub(crate) mod seed;
    pub(crate) mod seen;
    pub(crate) mod segments;
    pub(crate) mod small_disk;
    pub(crate) mod traffic;
    pub(crate) mod verified;
    mod waiting;

    pub(crate) use waiting::wait_until;
}
