//! What the binaries do beside running the daemon.

pub mod audit;
mod bar;
pub mod demo;
mod error;
pub mod find;
pub mod index;
mod interrupt;
mod json;
mod lines;
mod location;
pub mod ls;
mod memory;
mod patience;
pub mod plan;
mod print;
pub mod read;
pub mod reader;
pub mod resolve;
mod table;
pub mod verify;
mod window;

pub use error::CommandError;
pub use memory::MemoryArgs;
pub use window::WindowArgs;

/// How many threads a command uses where nothing is said.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Reads `--parallel`.
fn parse_parallel(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1_000).contains(number));
    number.ok_or_else(|| "a number from 1 to 1000 is needed".into())
}
