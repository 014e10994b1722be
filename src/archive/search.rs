//! Where an offset or a moment lies: by the index, or by the archive where there is none.

use super::compare::{CompareDepth, CompareError, expected_row};
use super::identity::Unfit;
use crate::index::{Moment, MysqlIndex, RowValues};
use crate::store::ArchiveStore;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::{PartitionId, TopicName};

/// Where to look. What the index does not know is looked up in the archive, if one is named.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The index.
    pub index: Option<&'a MysqlIndex>,
    /// The archive.
    pub store: Option<&'a dyn ArchiveStore>,
}

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// The segment that covers it.
    Offset(Offset),
    /// The first segment with a record of this time (ms) or a later one, in the order of offsets.
    Time(i64),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// Index or archive do not answer.
    #[error(transparent)]
    Unanswered(#[from] CompareError),
    /// A file is not as it should be.
    #[error("{0}")]
    Unfit(String),
    /// Rows of the original tool have no times, and no archive is named to look in.
    #[error(
        "the files of {chain} up to {last} have no times in the index, for the original kafka-store wrote their rows: name \
         the archive, too (--local-store), or complete the rows with: kafka-store index rebuild"
    )]
    TimesUnknown {
        /// The chain.
        chain: ChainName,
        /// The last segment without times.
        last: Offset,
    },
}

impl Search<'_> {
    /// For each chain of the topic, or of one of its partitions: what was looked for, as a row of the index has it.
    ///
    /// # Errors
    /// If index or archive do not answer, or cannot say.
    pub fn find(
        &self,
        topic: &TopicName,
        partition: Option<PartitionId>,
        sought: Sought,
    ) -> Result<Vec<(ChainName, Option<RowValues>)>, SearchError> {
        let chains = match (self.index, self.store) {
            (Some(index), _) => index
                .chains(topic, partition)
                .map_err(|source| CompareError::Index { index: index.describe(), source })?,
            (None, Some(store)) => {
                let mut chains = store.chains_of(topic).map_err(CompareError::from)?;
                chains.retain(|chain| partition.is_none_or(|wanted| chain.topic_partition.partition == wanted));
                chains
            }
            (None, None) => Vec::new(),
        };
        chains.into_iter().map(|chain| Ok((chain.clone(), self.find_in(&chain, sought)?))).collect()
    }

    /// As [`Search::find`], in one chain.
    ///
    /// # Errors
    /// If index or archive do not answer, or cannot say.
    pub fn find_in(&self, chain: &ChainName, sought: Sought) -> Result<Option<RowValues>, SearchError> {
        let Some(index) = self.index else {
            return self.store.map_or(Ok(None), |store| find_in_store(store, chain, sought));
        };
        let asked = |source| CompareError::Index { index: index.describe(), source };
        match sought {
            Sought::Offset(offset) => Ok(index.find_offset(chain, offset).map_err(asked)?),
            Sought::Time(time) => match index.find_time(chain, time).map_err(asked)? {
                Moment::In(row) => Ok(Some(*row)),
                Moment::Later | Moment::Nowhere => Ok(None),
                Moment::Unknown { last } => match self.store {
                    Some(store) => find_in_store(store, chain, sought),
                    None => Err(SearchError::TimesUnknown { chain: chain.clone(), last: last.name.start }),
                },
            },
        }
    }
}

fn find_in_store(
    store: &dyn ArchiveStore,
    chain: &ChainName,
    sought: Sought,
) -> Result<Option<RowValues>, SearchError> {
    let mut starts = store.segments_from(chain, None).map_err(CompareError::from)?;
    if let Sought::Offset(offset) = sought {
        let after = starts.partition_point(|start| *start <= offset);
        starts = starts.get(after.saturating_sub(1)..after).unwrap_or_default().to_vec();
    }
    for start in starts {
        let row = match expected_row(store, &chain.segment(start), CompareDepth::Headers) {
            Ok((row, _)) => row,
            Err(Unfit::Store(error)) => return Err(CompareError::from(error).into()),
            Err(Unfit::Blocked(blocked)) => return Err(SearchError::Unfit(blocked.reason)),
        };
        let is_it = match sought {
            Sought::Offset(offset) => row.covers(offset),
            Sought::Time(time) => row.timestamps.is_some_and(|timestamps| timestamps.greatest >= time),
        };
        if is_it {
            let object_url = Some(store.location(&row.name));
            return Ok(Some(RowValues { object_url, ..row }));
        }
    }
    Ok(None)
}
