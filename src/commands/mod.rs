//! What the binaries do beside running the daemon.

pub mod audit;
pub mod demo;
mod error;
pub mod find;
pub mod index;
mod json;
mod moment;
pub mod plan;
mod print;
pub mod read;
pub mod reader;

pub use error::CommandError;
