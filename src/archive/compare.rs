//! The index against the store: every row names an object and says what it is, and every object has a row.

use super::identity::{Unfit, describe, has_its_length};
use super::stored_header::Front;
use crate::avro::SegmentHeader;
use crate::index::{IndexError, MysqlIndex, RowValues};
use crate::store::{ArchiveStore, Scope, StoreError};
use kafka_store_actors::ports::{IndexRow, Timestamps};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;

/// How many rows are asked for at a time.
const ROWS_AT_A_TIME: u32 = 1000;

/// How much of the objects is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareDepth {
    /// Their headers: checksums of whole files are compared only where the store knows them.
    Headers,
    /// Every byte, where the store does not know the checksums.
    Files,
}

/// Where index and store say different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The segment.
    pub name: SegmentName,
    /// In what way.
    pub kind: DivergenceKind,
}

/// In what way index and store differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DivergenceKind {
    /// The object has no row.
    NoRow,
    /// The row says something else: what.
    OtherRow(String),
    /// The row names no object.
    NoObject,
    /// The object cannot be read, so its row cannot be compared: why.
    Unreadable(String),
    /// The object does not follow the one before it: what the archive has there.
    Unchained(String),
}

impl DivergenceKind {
    /// The word for programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            DivergenceKind::NoRow => "no-row",
            DivergenceKind::OtherRow(_) => "other-row",
            DivergenceKind::NoObject => "no-object",
            DivergenceKind::Unreadable(_) => "unreadable",
            DivergenceKind::Unchained(_) => "unchained",
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match &self.kind {
            DivergenceKind::NoRow => f.write_str("the index has no row of it"),
            DivergenceKind::OtherRow(what) => write!(f, "the index has another row of it: {what}"),
            DivergenceKind::NoObject => f.write_str("the index has a row of it, and the archive has no such file"),
            DivergenceKind::Unreadable(why) | DivergenceKind::Unchained(why) => f.write_str(why),
        }
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexReport {
    /// How many chains store and index have together.
    pub chains: u64,
    /// How many objects were looked at.
    pub objects: u64,
    /// Rows that say less than is known now: the original tool's.
    pub incomplete_rows: u64,
    /// Where the two differ.
    pub divergences: Vec<Divergence>,
}

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The store does not answer.
    #[error("the archive cannot be read")]
    Store(#[from] StoreError),
    /// The index does not answer.
    #[error("the index {index} cannot be asked")]
    Index {
        /// Its URL without the password.
        index: String,
        /// Why not.
        source: IndexError,
    },
}

/// Compares the chains of store and index in a part of the archive. `progress` is told after each object.
///
/// Daemons may go on meanwhile: what is stored and indexed between two questions is no divergence.
///
/// # Errors
/// If the store or the index does not answer.
pub fn compare(
    store: &dyn ArchiveStore,
    index: &MysqlIndex,
    scope: &Scope,
    depth: CompareDepth,
    progress: &mut dyn FnMut(),
) -> Result<IndexReport, CompareError> {
    let mut report = IndexReport::default();
    for chain in all_chains(store, index, scope)? {
        report.chains += 1;
        let mut pairs = Pairs::new(store, index, &chain)?;
        let (mut next_offset, mut greatest, incomplete_before) = (None, None, report.incomplete_rows);
        while let Some(pair) = pairs.next_pair()? {
            let Some(name) = &pair.object else {
                report.diverge(pair.row, DivergenceKind::NoObject);
                continue;
            };
            report.objects += 1;
            progress();
            let mut expected = match expected_row(store, name, depth) {
                Ok((row, _)) => row,
                Err(Unfit::Store(error)) => return Err(error.into()),
                Err(Unfit::Blocked(blocked)) => {
                    next_offset = None;
                    report
                        .divergences
                        .push(Divergence { name: name.clone(), kind: DivergenceKind::Unreadable(blocked.reason) });
                    continue;
                }
            };
            if let Some(kind) = unchained(next_offset, name) {
                report.divergences.push(Divergence { name: name.clone(), kind });
            }
            next_offset = Some(expected.next_offset());
            greatest = so_far(greatest, expected.timestamps);
            // Rows of the original tool say nothing of times, and those after them know nothing of theirs.
            expected.max_timestamp_so_far = greatest.filter(|_| report.incomplete_rows == incomplete_before);
            // A daemon stores first and writes the row a moment later.
            let row = match pair.row {
                None => pairs.look_again(name)?,
                found => found,
            };
            report.compare_row(name, &expected, row);
        }
    }
    Ok(report)
}

impl IndexReport {
    fn diverge(&mut self, row: Option<RowValues>, kind: DivergenceKind) {
        self.divergences.extend(row.map(|row| Divergence { name: row.name, kind }));
    }

    fn compare_row(&mut self, name: &SegmentName, expected: &RowValues, row: Option<RowValues>) {
        let kind = match row {
            None => DivergenceKind::NoRow,
            Some(row) => match expected.difference(&row) {
                Some(what) => DivergenceKind::OtherRow(what),
                None if row.record_count.is_none() => {
                    self.incomplete_rows += 1;
                    return;
                }
                None => match wrong_so_far(expected, &row) {
                    Some(what) => DivergenceKind::OtherRow(what),
                    None => return,
                },
            },
        };
        self.divergences.push(Divergence { name: name.clone(), kind });
    }
}

/// The divergence of an object that does not begin where the one before it ended.
pub(super) fn unchained(next_offset: Option<Offset>, name: &SegmentName) -> Option<DivergenceKind> {
    let next_offset = next_offset.filter(|next_offset| *next_offset != name.start)?;
    let what = if next_offset < name.start { "a hole" } else { "an overlap" };
    Some(DivergenceKind::Unchained(format!(
        "the archive has {what} before it: the segment before ends before {next_offset}"
    )))
}

/// What the row of an object should say, and what the object says of itself where it is ours.
pub(super) fn expected_row(
    store: &dyn ArchiveStore,
    name: &SegmentName,
    depth: CompareDepth,
) -> Result<(RowValues, Option<SegmentHeader>), Unfit> {
    if depth == CompareDepth::Headers {
        let front = Front::of_object(store, name)?;
        if let (Some(header), Some(stat)) = (front.as_ref().and_then(Front::ours), store.head(name)?)
            && has_its_length(header, &stat)
        {
            let stored =
                super::identity::stored_by_header(header, &stat, stat.crc32c.unwrap_or_default(), String::new());
            let mut row = RowValues::of(&IndexRow { name: name.clone(), stored });
            row.crc32c = stat.crc32c;
            return Ok((row, Some(header.clone())));
        }
    }
    let (header, stored) = describe(store, name)?;
    Ok((RowValues::of(&IndexRow { name: name.clone(), stored }), header))
}

/// The chains of store and index, as far as they are of this part.
pub(super) fn all_chains(
    store: &dyn ArchiveStore,
    index: &MysqlIndex,
    scope: &Scope,
) -> Result<BTreeSet<ChainName>, CompareError> {
    let asked = |source| CompareError::Index { index: index.describe(), source };
    let (stored, topics) = match scope {
        Scope::Archive => (store.chains()?, index.topics().map_err(asked)?),
        Scope::Topic(topic) => (store.chains_of(topic)?, vec![topic.clone()]),
        Scope::Chain(chain) => (vec![chain.clone()], Vec::new()),
    };
    let mut chains: BTreeSet<ChainName> = stored.into_iter().collect();
    for topic in topics {
        chains.extend(index.chains(&topic, None).map_err(asked)?);
    }
    Ok(chains)
}

/// An object, or a row, or both of one name.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) object: Option<SegmentName>,
    pub(super) row: Option<RowValues>,
}

/// Objects and rows of a chain side by side, in order.
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    store: &'a dyn ArchiveStore,
    index: &'a MysqlIndex,
    chain: &'a ChainName,
    objects: VecDeque<Offset>,
    /// What was listed last.
    last_object: Option<Offset>,
    rows: VecDeque<RowValues>,
    /// From where to ask for more rows; `None`: there are no more.
    rows_from: Option<Offset>,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(
        store: &'a dyn ArchiveStore,
        index: &'a MysqlIndex,
        chain: &'a ChainName,
    ) -> Result<Pairs<'a>, CompareError> {
        let objects: VecDeque<Offset> = store.segments_from(chain, None)?.into();
        let last_object = objects.back().copied();
        let rows_from = Some(Offset::default());
        Ok(Pairs { store, index, chain, objects, last_object, rows: VecDeque::new(), rows_from })
    }

    pub(super) fn next_pair(&mut self) -> Result<Option<Pair>, CompareError> {
        if self.rows.is_empty() {
            self.fetch_rows()?;
        }
        // A row of an object that was stored since the listing, and there may be others before it.
        if self.objects.is_empty() && self.rows.front().is_some_and(|row| Some(row.name.start) > self.last_object) {
            self.list_more()?;
        }
        let (object, row) = (self.objects.front().copied(), self.rows.front().map(|row| row.name.start));
        Ok(match (object, row) {
            (None, None) => None,
            (Some(object), Some(row)) if object == row => {
                Some(Pair { object: self.take_object(), row: self.rows.pop_front() })
            }
            (Some(object), row) if row.is_none_or(|row| object < row) => {
                Some(Pair { object: self.take_object(), row: None })
            }
            _ => self.rows.pop_front().map(|row| self.row_without_listed_object(row)).transpose()?,
        })
    }

    /// The object may have been stored since the listing.
    fn row_without_listed_object(&self, row: RowValues) -> Result<Pair, CompareError> {
        let is_there = self.store.head(&row.name)?.is_some();
        Ok(Pair { object: is_there.then(|| row.name.clone()), row: Some(row) })
    }

    fn take_object(&mut self) -> Option<SegmentName> {
        self.objects.pop_front().map(|start| self.chain.segment(start))
    }

    /// The row of a segment as it is now.
    pub(super) fn look_again(&self, name: &SegmentName) -> Result<Option<RowValues>, CompareError> {
        let row = self.index.find_offset(self.chain, name.start).map_err(|source| self.asked(source))?;
        Ok(row.filter(|row| row.name == *name))
    }

    /// Objects stored since the last listing, and their rows; true if there are some. All others have been taken.
    pub(super) fn list_again(&mut self) -> Result<bool, CompareError> {
        self.list_more()?;
        self.rows_from = self.objects.front().copied();
        Ok(!self.objects.is_empty())
    }

    fn list_more(&mut self) -> Result<(), CompareError> {
        let mut more = self.store.segments_from(self.chain, self.last_object)?;
        more.retain(|start| Some(*start) > self.last_object);
        self.last_object = more.last().copied().or(self.last_object);
        self.objects.extend(&more);
        Ok(())
    }

    fn fetch_rows(&mut self) -> Result<(), CompareError> {
        let Some(from) = self.rows_from else { return Ok(()) };
        let rows = self.index.rows_from(self.chain, from, ROWS_AT_A_TIME).map_err(|source| self.asked(source))?;
        self.rows_from = rows.last().map(|last| last.name.start.next());
        self.rows = rows.into();
        Ok(())
    }

    fn asked(&self, source: IndexError) -> CompareError {
        CompareError::Index { index: self.index.describe(), source }
    }
}

/// What is wrong with the time by which moments are found, if something is.
fn wrong_so_far(expected: &RowValues, row: &RowValues) -> Option<String> {
    let right = expected.max_timestamp_so_far?;
    let is_right = row.max_timestamp_so_far == Some(right);
    let stored = row.max_timestamp_so_far.map_or_else(|| "null".to_owned(), |stored| stored.to_string());
    (!is_right).then(|| format!("maxTimestampSoFar is {stored}, and should be {right}"))
}

/// The greatest timestamp up to here, when this row is added.
pub(super) fn so_far(before: Option<i64>, timestamps: Option<Timestamps>) -> Option<i64> {
    before.max(timestamps.map(|timestamps| timestamps.greatest))
}
