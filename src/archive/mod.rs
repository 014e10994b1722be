//! The archive: chains of segments in a store. Above the adapters; it joins store, file format and Kafka.

mod arbiter;
mod chain_reader;
mod compare;
mod error;
mod first_start;
mod identity;
mod index_tail;
mod lineage;
mod locate;
mod md5;
mod mirrors;
mod origin_object;
mod parallel;
mod partition_facts;
mod reading;
mod rebuild;
mod resolve;
mod search;
mod spool;
mod survey;
mod topic_facts;
mod verify;
mod walk;
mod window;

pub use arbiter::Arbiter;
pub use chain_reader::{ChainReader, SegmentContext};
pub use compare::{CompareDepth, CompareError, Divergence, DivergenceKind, IndexReport, compare};
pub use error::ArchiveError;
pub use first_start::{FirstStart, FirstStartError};
pub use identity::Identity;
pub(crate) use locate::no_committed_offset;
pub use locate::{Locator, LocatorParams, Plan};
pub use mirrors::{MirroredLocator, Mirrors};
pub use parallel::parallel_map;
pub use partition_facts::PartitionFacts;
pub use reading::{ChainStart, Reached, ReadJob};
pub use rebuild::{Rebuilt, rebuild};
pub use resolve::{Begin, NewLineage, Stuck};
pub use search::{Search, SearchError, Sought};
pub use spool::Spool;
pub use survey::{ChainSurvey, Joint, SegmentFacts, SurveyedSegment, facts_of, header_of, read_facts, survey};
pub use topic_facts::TopicFacts;
pub use verify::{
    AgainstIndex, AgainstKafka, ChainReport, Depth, KafkaTail, Problem, ProblemKind, StateError, VerifyError,
    VerifyJob, VerifyReport, VerifyState, Watch, Work,
};
pub use window::{OffsetWindow, TimeWindow, Window};
