//! What lies above the stores: the segments of a chain, read as one stream of records.

mod chain_reader;
mod error;

pub use chain_reader::{ChainReader, OffsetWindow, SegmentContext};
pub use error::ArchiveError;
