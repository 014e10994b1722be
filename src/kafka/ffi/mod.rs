//! librdkafka's C interface, where its Rust interface loses information: end-of-partition and error events
//! with topic, partition and offset; header parse errors; timestamps with their type; commit metadata;
//! rebalances answered by partitions added one by one.
//!
//! The only unsafe code of the project. What leaves this module is safe: pointers stay inside, and what
//! borrows from a message lives no longer than the message.
#![allow(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod admin;
mod allocator;
mod client;
mod damaged_batch;
mod event;
mod group_offsets;
mod list;
mod mock;
mod plain_consumer;
mod record;
mod seek;
mod topics;

pub use admin::{LogEnd, LogPosition};
pub use client::{Client, CommitAnswer, CommitTicket};
pub use event::{Event, EventKind, PartitionProblem};
pub use list::{Committed, PartitionOffset};
#[cfg(test)]
pub(crate) use mock::HeartbeatRefusal;
pub use mock::MockBrokers;
pub use record::{Delivered, FetchedRecord, Headers};
pub use topics::{BrokerView, BrokerViews, TopicIds};

use kafka_store_statecharts::backoff;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use rdkafka::bindings as rd;
use std::ffi::CStr;
use std::time::{Duration, Instant};

/// An error of librdkafka: its name and what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({name})")]
pub struct KafkaError {
    /// The name of the error code, as `REBALANCE_IN_PROGRESS` or `_TRANSPORT`.
    pub name: String,
    /// What it means.
    pub text: String,
}

impl KafkaError {
    /// The error of a code; `Ok` if the code says that there is none.
    fn check(code: rd::rd_kafka_resp_err_t) -> Result<(), KafkaError> {
        match code {
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(KafkaError::from_code(code)),
        }
    }

    fn from_code(code: rd::rd_kafka_resp_err_t) -> KafkaError {
        // SAFETY: both functions answer with static strings for every code.
        let (name, text) = unsafe { (rd::rd_kafka_err2name(code), rd::rd_kafka_err2str(code)) };
        KafkaError { name: owned(name), text: owned(text) }
    }

    /// Takes an error object over and frees it; `Ok` for null.
    fn take(error: *mut rd::rd_kafka_error_t) -> Result<(), KafkaError> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: `error` is a valid error object that librdkafka gave to us; it is read, then freed once.
        unsafe {
            let name = owned(rd::rd_kafka_error_name(error));
            let text = owned(rd::rd_kafka_error_string(error));
            rd::rd_kafka_error_destroy(error);
            Err(KafkaError { name, text })
        }
    }

    /// Asks a group's coordinator, again for as long as it is being elected, loads its log, or has just moved.
    ///
    /// # Errors
    /// The last answer after `within`, and every other error at once.
    pub fn ask_coordinator<T>(within: Duration, ask: impl Fn() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
        let deadline = Instant::now() + within;
        let mut failures = 0;
        loop {
            match ask() {
                Err(error) if error.is_of_a_coordinator() && Instant::now() < deadline => {
                    failures += 1;
                    std::thread::sleep(backoff::delay(failures, 0));
                }
                answer => return answer,
            }
        }
    }

    /// Reports whether a group's coordinator is being elected, loads its log, or has just moved: the next try may succeed.
    fn is_of_a_coordinator(&self) -> bool {
        let names = ["NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS", "_WAIT_COORD"];
        names.contains(&self.name.as_str())
    }

    /// What kind of failure it is.
    pub fn class(&self, port: Port) -> Class {
        Class::of_signs(port, [self.name.as_str()])
    }

    /// The same, as a failure of a port.
    pub fn failure(&self, port: Port) -> Failure {
        Failure::new(port, self.class(port), self.to_string())
    }

    fn local(text: String) -> KafkaError {
        KafkaError { name: "_LOCAL".to_owned(), text }
    }
}

/// A copy of a C string; empty for null.
fn owned(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and librdkafka's strings end with a zero byte.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
