//! Why a chain cannot be read.

use super::origin_object::OriginError;
use crate::avro::ReadError;
use crate::store::StoreError;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{Offset, OffsetRange};

/// What is wrong with a chain, after the records that were read before it.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store did not answer.
    #[error("the archive cannot be read")]
    Store(#[from] StoreError),
    /// A segment is not whole.
    #[error("{location}")]
    Segment {
        /// Its path or URL.
        location: String,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
    /// What is kept as a chain's origin is none.
    #[error("{name} in {store} is not an origin that this version can read")]
    UnreadableOrigin {
        /// The object.
        name: String,
        /// Where it is.
        store: String,
    },
    /// A segment that was listed is gone.
    #[error("{location} was there a moment ago and is gone: segments are never deleted by kafka-store")]
    Gone {
        /// Its path or URL.
        location: String,
    },
    /// Segments are missing in the middle of the chain.
    #[error(
        "the segment {missing} is missing: the one before it ends at {before}, the next one there is starts at {next}; \
         bring it back from a copy of the archive"
    )]
    Missing {
        /// The segment that must be there.
        missing: SegmentName,
        /// The final offset of the segment before it.
        before: Offset,
        /// The start offset of the next segment that is there.
        next: Offset,
    },
    /// Two segments cover the same offsets.
    #[error(
        "the segment {second} overlaps the one before it, which covers {first}; \
         one of them was not written by this archive's chain"
    )]
    Overlap {
        /// What the earlier one covers.
        first: OffsetRange,
        /// The later one.
        second: SegmentName,
    },
    /// A segment says that it belongs elsewhere.
    #[error("{location} says that it belongs to {chain}: it was moved or copied here")]
    WrongChain {
        /// Its path or URL.
        location: String,
        /// Where its header says that it belongs.
        chain: ChainName,
    },
}

impl From<OriginError> for ArchiveError {
    fn from(error: OriginError) -> ArchiveError {
        match error {
            OriginError::Store(error) => ArchiveError::Store(error),
            OriginError::Unreadable { name, store } => ArchiveError::UnreadableOrigin { name, store },
        }
    }
}
