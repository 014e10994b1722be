//! The archive: chains of segments in a store. Above the adapters; it joins store, file format and Kafka.

mod arbiter;
mod asked_once;
mod chain_reader;
mod compare;
mod doubt;
mod error;
mod examine;
mod first_start;
mod history;
mod identity;
mod index_refill;
mod index_tail;
mod lineage;
mod locate;
mod locator;
mod log_entry;
mod md5;
mod mirrors;
mod origin_object;
mod parallel;
mod parting;
mod partition_facts;
mod plan;
mod reading;
mod rebuild;
mod resolve;
mod search;
mod second_look;
mod spool;
mod stored_header;
mod survey;
#[cfg(test)]
mod test_segments;
mod topic_facts;
mod verify;
mod walk;
mod window;

pub use arbiter::Arbiter;
pub use chain_reader::{ChainReader, SegmentContext};
pub use compare::{CompareDepth, CompareError, Divergence, DivergenceKind, IndexReport, compare};
pub use doubt::read_all_in_doubt;
pub use error::ArchiveError;
pub use first_start::{FirstStart, FirstStartError};
pub use history::{
    Archived, ChainHistory, Choice, Difference, Finding, Histories, HistoryError, LogFound, all_findings, choose,
    history_of,
};
pub use identity::Identity;
pub use index_refill::{IndexedLocator, RefilledIndex};
pub use locate::LocatorParams;
pub use locator::Locator;
pub use mirrors::{MirroredLocator, Mirrors};
pub use parallel::parallel_map;
pub use parting::{AtEnd, Parting, PartingError};
pub use partition_facts::PartitionFacts;
pub(crate) use plan::no_committed_offset;
pub use plan::{OriginsUnknown, Plan};
pub use reading::{ChainStart, Made, Reached, ReadJob, TakeRecords};
pub use rebuild::{Rebuilt, rebuild};
pub use resolve::{Begin, Compare, NewLineage, Stuck};
pub use search::{Search, SearchError, Sought};
pub use spool::Spool;
pub use survey::{ChainSurvey, Joint, SegmentFacts, SurveyedSegment, facts_of, header_of, read_facts, survey};
pub use topic_facts::TopicFacts;
pub use verify::{
    AgainstIndex, AgainstKafka, AgainstKafkaError, ChainReport, Depth, KafkaTail, OtherEpoch, Problem, ProblemKind,
    RecordComparison, StateError, VerifyError, VerifyJob, VerifyReport, VerifyState, Watch, Work,
};
pub use window::{OffsetWindow, TimeWindow, Window};
