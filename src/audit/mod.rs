//! The audit log: every change of a state's name, kept before it has effects, and what proves that it is whole.
//!
//! One line of JSON a transition. Each has `sequence` (from 1, without holes, in each instance), `time` and
//! `instance` (one run of the program: host, process id and start), and
//!
//! * a transition: `topic`, `partition`, `lineage` (only from the second on), `epoch` (of the assignment),
//!   `start_offset` (of the segment) and `upload` (its number in the instance), as far as the chart has them; `chart`,
//!   `from`, `event`, `to`; and what
//!   [`Detail`](kafka_store_actors::transition::Detail) says of the state after;
//! * the first and, where it ended in good order, the last of an instance: `chart` is `instance`, `event` is
//!   `Started` or `Ended`.
//!
//! [`AuditLog`] writes it; [`verify()`] reads the logs of any number of instances.

mod chain;
mod entry;
mod file;
mod instance;
mod key;
mod line;
mod log;
mod pieces;
mod report;
mod segment;
mod tables;
mod verify;

pub use file::AuditFileSettings;
pub use line::InstanceStart;
pub use log::{AuditLog, AuditLogError};
pub use pieces::AuditReadError;
pub use report::{InstanceReport, Place, Problem, ProblemKind, Report};
pub use tables::charts_hash;
pub use verify::verify;
