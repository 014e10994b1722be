//! The adapters and the commands of kafka-store.

pub mod archive;
pub mod audit;
pub mod avro;
pub mod blocking;
pub mod cgroup;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod exit;
pub mod index;
pub mod kafka;
pub mod logging;
pub mod open_files;
pub mod page_cache;
mod progress_line;
pub mod status;
pub mod store;
pub mod system_error;
pub mod transitions;
