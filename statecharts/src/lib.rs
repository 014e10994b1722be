//! The rules of kafka-store, as values.
//!
//! This crate decides and never acts: it has no IO, no clock and no chance, and is `no_std`, so that
//! the compiler refuses them. Time arrives as an argument; whatever is to happen leaves as an effect.
//!
//! * [`offset`], [`topic`], [`name`], [`origin`], [`gap`]: what things are called and where they lie.
//! * [`record`]: the canonical bytes of a record, which boundaries, hashes and files are made of.
//! * [`last_record`], [`anchor`]: what tells one history from another, and how a log proves to be the one that was read.
//! * [`record_clock`], [`boundary`]: where a segment ends, a pure function of the records.
//! * [`failure`], [`backoff`]: what passes by itself, what does not, and how long to wait before a call is made again.
//! * [`chart`]: the table that every statechart runs on; [`segment`], [`partition`], [`input`], [`assignment`] and
//!   [`upload`] are the charts; [`mermaid`] draws them.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod anchor;
pub mod assignment;
pub mod backoff;
pub mod boundary;
pub mod chart;
pub mod commit_metadata;
pub mod failure;
pub mod gap;
pub mod input;
pub mod last_record;
pub mod mermaid;
pub mod name;
pub mod offset;
pub mod origin;
pub mod partition;
pub mod record;
pub mod record_clock;
pub mod segment;
pub mod topic;
pub mod upload;
pub mod wall_clock;

/// A moment in milliseconds since the Unix epoch, as Kafka writes it.
///
/// Verbatim from the log: any `i64` occurs, also -1 ("no timestamp") and values that are no time at all.
pub type TimestampMs = i64;
