//! Findings: Kafka's log is not the one that a chain was made from; and what an operator decided about them.
//!
//! A partition with such a log is frozen. The finding is written down, create-only, so that it stays frozen when the log
//! has grown, and when another process looks.

mod finding;

pub(super) use finding::other_topic_reason;
pub use finding::{Archived, Choice, Difference, Finding, LogFound};

use super::asked_once::AskedOnce;
use crate::store::{ArchiveStore, SmallOutcome, StoreError};
use finding::{FindingName, folder};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicId;
use std::sync::Arc;
use std::time::Instant;

/// Why it is not known what was found.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store cannot say.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object is not a finding.
    #[error("{name} in {store} is not a finding or a choice that this version can read")]
    Unreadable {
        /// The object.
        name: String,
        /// Its store.
        store: String,
    },
}

/// The findings of a store. They are listed once for all chains that are located at the same time.
#[derive(Debug, Default)]
pub struct Histories {
    listed: AskedOnce<(), Arc<Vec<String>>>,
}

/// The findings about one chain, by chain end and number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainHistory {
    findings: Vec<Finding>,
}

impl Histories {
    /// The findings about a chain, by a listing that was not made before `not_before`.
    ///
    /// # Errors
    /// If the store cannot say, or holds something else under a name.
    pub(super) fn of(
        &self,
        store: &dyn ArchiveStore,
        chain: &ChainName,
        not_before: Instant,
    ) -> Result<ChainHistory, HistoryError> {
        let names = self.listed.get(&(), not_before, || store.list_small(&folder()).map(Arc::new))?;
        let of_chain = |name: &FindingName| name.chain == *chain;
        Ok(ChainHistory { findings: read(store, &names, of_chain)? })
    }

    /// Writes a finding down, unless somebody else has. Its number is the next free one.
    ///
    /// # Errors
    /// If the store cannot keep it, or holds something else under the name.
    pub(super) fn record(&self, store: &dyn ArchiveStore, finding: Finding) -> Result<Finding, HistoryError> {
        let outcome = store.create_small(&finding.name(), &finding.encode())?;
        self.listed.forget(&());
        match outcome {
            SmallOutcome::Created => Ok(finding),
            SmallOutcome::AlreadyExists(bytes) => parse(store, &finding.object_name(), &bytes),
        }
    }
}

/// Every finding of a store, by chain, chain end and number.
///
/// # Errors
/// If the store cannot say, or holds something else under a name.
pub fn all_findings(store: &dyn ArchiveStore) -> Result<Vec<Finding>, HistoryError> {
    read(store, &store.list_small(&folder())?, |_| true)
}

/// The findings about a chain.
///
/// # Errors
/// If the store cannot say, or holds something else under a name.
pub fn history_of(store: &dyn ArchiveStore, chain: &ChainName) -> Result<ChainHistory, HistoryError> {
    Histories::default().of(store, chain, Instant::now())
}

/// Writes down what an operator decided about a finding.
///
/// # Errors
/// If the store cannot keep it, or something else was decided.
pub fn choose(store: &dyn ArchiveStore, finding: &Finding, choice: Choice) -> Result<(), HistoryError> {
    let name = finding.choice_name();
    match store.create_small(&name, &choice.encode())? {
        SmallOutcome::AlreadyExists(bytes) if Choice::parse(&bytes) != Some(choice) => Err(unreadable(store, name)),
        SmallOutcome::Created | SmallOutcome::AlreadyExists(_) => Ok(()),
    }
}

/// Reads the findings of these names, and what was decided about them.
fn read(
    store: &dyn ArchiveStore,
    names: &[String],
    is_wanted: impl Fn(&FindingName) -> bool,
) -> Result<Vec<Finding>, HistoryError> {
    let mut findings = Vec::new();
    for (name, parsed) in names.iter().filter_map(|name| Some((name, FindingName::parse(name)?))) {
        if !is_wanted(&parsed) {
            continue;
        }
        let Some(bytes) = store.read_small(name)? else { continue };
        let mut finding = parse(store, &parsed, &bytes)?;
        // Not by the listing: the choice may have been written since.
        let choice_name = finding.choice_name();
        if let Some(bytes) = store.read_small(&choice_name)? {
            finding.choice = Some(Choice::parse(&bytes).ok_or_else(|| unreadable(store, choice_name))?);
        }
        findings.push(finding);
    }
    findings.sort_by(|one, other| (&one.chain, one.end, one.number).cmp(&(&other.chain, other.end, other.number)));
    Ok(findings)
}

fn parse(store: &dyn ArchiveStore, name: &FindingName, bytes: &[u8]) -> Result<Finding, HistoryError> {
    Finding::parse(name, bytes).ok_or_else(|| unreadable(store, name.to_string()))
}

fn unreadable(store: &dyn ArchiveStore, name: String) -> HistoryError {
    HistoryError::Unreadable { name, store: store.describe() }
}

impl ChainHistory {
    /// The findings.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The last finding at this end of the chain.
    fn last_at(&self, end: Offset) -> Option<&Finding> {
        self.findings.iter().rfind(|finding| finding.end == end)
    }

    /// The finding that keeps the chain from being continued at this end.
    pub fn unresolved_at(&self, end: Offset) -> Option<&Finding> {
        self.last_at(end).filter(|finding| finding.choice.is_none())
    }

    /// The finding at this end about which it was decided that the histories are one.
    pub fn joined_at(&self, end: Offset) -> Option<&Finding> {
        self.last_at(end).filter(|finding| finding.choice == Some(Choice::SameHistory))
    }

    /// Reports whether it was decided that the chain, of the topic `from`, is continued with the topic `to` at this offset.
    pub fn continues_with(&self, start: Offset, from: TopicId, to: TopicId) -> bool {
        self.joined_at(start)
            .is_some_and(|finding| (finding.archived.topic_id, finding.log.topic_id) == (Some(from), Some(to)))
    }

    /// The finding at the chain's last end at which it was decided that the histories are one: what Kafka has below it was
    /// accepted as different.
    pub fn last_joined(&self) -> Option<&Finding> {
        self.findings.iter().rev().find_map(|finding| self.joined_at(finding.end))
    }

    /// Number of the next finding at this end.
    pub(super) fn next_number(&self, end: Offset) -> u32 {
        self.last_at(end).map_or(1, |finding| finding.number + 1)
    }

    /// Reports whether a segment that ends before `next_offset` may be of this topic, although the chain continues with
    /// another: it was decided that their histories are one.
    pub fn joins(&self, next_offset: Offset, topic_id: TopicId) -> bool {
        self.findings.iter().any(|finding| {
            finding.choice == Some(Choice::SameHistory)
                && finding.end >= next_offset
                && finding.archived.topic_id == Some(topic_id)
        })
    }
}

#[cfg(test)]
mod tests;
