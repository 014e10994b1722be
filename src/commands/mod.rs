//! What the binaries do beside running the daemon.

mod error;
mod json;
mod print;
pub mod read;
pub mod reader;

pub use error::CommandError;
