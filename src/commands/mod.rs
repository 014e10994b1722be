//! What the binaries do beside running the daemon.

pub mod audit;
pub mod demo;
mod error;
mod json;
pub mod plan;
mod print;
pub mod read;
pub mod reader;

pub use error::CommandError;
