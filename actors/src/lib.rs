//! The actors of kafka-store.
//!
//! They carry out what the charts of [`kafka_store_statecharts`] decide: each effect becomes a call of a
//! port, each answer an event. They never make arbiters, threads, runtimes, clocks or random numbers;
//! they are given them, so that a simulation runs the very same actors with one arbiter and virtual time.
//!
//! ```text
//! poll thread --LogEvents, 256-> Consumer --RecordBatch, 64--> PartitionWriter (1 a partition)
//!      ^                            ^                             |         |
//!      |                            +------WriterReport, 256------+         +--StoreSegment, 64--> UploaderPool --1--> Uploader
//!      +--- RecordSource port (start, stop, commit) --------------+         +--WriteIndexRow, 64--> Indexer
//!                                                                          +--MirrorStores port (copy), where there are mirrors
//! ```
//!
//! The numbers bound the mailboxes. Bytes in memory are bounded by one [`budget::Budget`] for the whole
//! process, bytes on disk by one [`spool_account::SpoolAccount`]; a writer whose mailbox is full leaves its
//! batches with the Consumer until it has room again.
//!
//! **Architecture invariant:** nothing here knows librdkafka, HTTP, SQL, Avro or the file system.
#![forbid(unsafe_code)]

pub mod batch;
pub mod budget;
pub mod consumer;
pub mod figures;
pub mod indexer;
pub mod messages;
pub mod open_segment;
pub mod partition_writer;
pub mod ports;
pub mod spool_account;
pub mod transition;
mod until_end;
pub mod uploader;
