//! One row: what a segment's row says, and whether two rows say the same.

use super::error::{IndexError, IndexErrorKind, IndexResult};
use super::shape::TABLE;
use kafka_store_actors::ports::{IndexRow, StoredObject, StoredSegment, Timestamps};
use kafka_store_statecharts::gap::Gap;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use mysql::{Params, Row, Value};
use serde_json::{Value as Json, json};

/// The columns in the order of [`RowValues::params`], but for `time`, which is the server's.
const COLUMNS: &str = "topic, `partition`, lineage, startOffset, finalOffset, byteSize, md5Hash, recordCount, \
                       firstTimestamp, minTimestamp, maxTimestamp, invisibleCount, gaps, contentHash, crc32c, objectUrl, \
                       generation, sealReason, topicId, writer, maxTimestampSoFar";

/// The values of a row, as the table has them. What the original tool did not know is `None` in its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowValues {
    /// The object.
    pub name: SegmentName,
    /// The last offset covered.
    pub final_offset: Offset,
    /// The size of the whole file.
    pub file_bytes: u64,
    /// MD5 of the whole file, in hexadecimal digits. Every row of the table has it.
    pub md5: Option<String>,
    /// The records in it.
    pub record_count: Option<u64>,
    /// The records' timestamps.
    pub timestamps: Option<Timestamps>,
    /// Offsets covered that the log does not show.
    pub invisible_count: Option<u64>,
    /// Offsets covered that are missing for any other reason, as JSON.
    pub gaps: Option<String>,
    /// BLAKE3 of the records, in hexadecimal digits.
    pub content_hash: Option<String>,
    /// CRC-32C of the whole file.
    pub crc32c: Option<u32>,
    /// Where the object is.
    pub object_url: Option<String>,
    /// Which object of that name it is.
    pub generation: Option<i64>,
    /// Why it ends where it ends.
    pub seal_reason: Option<String>,
    /// The topic's id, in hexadecimal digits.
    pub topic_id: Option<String>,
    /// Who wrote it.
    pub writer: Option<String>,
    /// The greatest timestamp of the chain up to and with this row. Only rows of the table know it.
    pub max_timestamp_so_far: Option<i64>,
}

impl RowValues {
    /// The values of a stored segment's row.
    pub fn of(row: &IndexRow) -> RowValues {
        let IndexRow {
            name,
            stored: StoredSegment { content, timestamps, invisible_count, gaps, last_record: _, topic_id, object },
        } = row;
        let StoredObject { location, generation, md5, seal_reason, writer } = object;
        RowValues {
            name: name.clone(),
            final_offset: content.range.final_offset(),
            file_bytes: content.file_bytes,
            md5: md5.map(|md5| hex(&md5)),
            record_count: Some(content.record_count),
            timestamps: Some(*timestamps),
            invisible_count: Some(*invisible_count),
            gaps: (!gaps.is_empty()).then(|| gaps_as_json(gaps)),
            content_hash: content.content_hash.map(|hash| hex(&hash)),
            crc32c: Some(content.crc32c),
            object_url: Some(location.clone()),
            generation: *generation,
            seal_reason: seal_reason.map(|reason| reason.as_str().to_owned()),
            topic_id: topic_id.map(|id| id.to_string()),
            writer: writer.clone(),
            max_timestamp_so_far: None,
        }
    }

    /// The offset after the last one covered.
    pub fn next_offset(&self) -> Offset {
        self.final_offset.next()
    }

    /// The same row with what only its writer knows, and no store keeps: from another row of the same object.
    #[must_use]
    pub(super) fn completed_by(self, other: RowValues) -> RowValues {
        RowValues {
            seal_reason: self.seal_reason.or(other.seal_reason),
            writer: self.writer.or(other.writer),
            generation: self.generation.or(other.generation),
            ..self
        }
    }

    /// What differs between this row and another of the same name, if they do not say the same.
    ///
    /// What both know of the object's content must be equal. When the row was written, by whom, where the object was
    /// then, its generation and its seal reason may differ: another process may have found the object and written the
    /// row, and an archive can be moved or restored.
    pub fn difference(&self, other: &RowValues) -> Option<String> {
        let both = |ours: &Option<String>, theirs: &Option<String>| match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours != theirs => Some((ours.clone(), theirs.clone())),
            _ => None,
        };
        let text = |value: Option<u64>| value.map(|value| value.to_string());
        let times = |value: Option<Timestamps>| {
            value.map(|Timestamps { first, least, greatest }| format!("{first}/{least}/{greatest}"))
        };
        // Without a list there are none, where the row is not of the original tool.
        let gaps = |row: &RowValues| row.record_count.map(|_| row.gaps.clone().unwrap_or_else(|| "[]".to_owned()));
        let number = |value: u64| Some(value.to_string());
        [
            ("finalOffset", both(&number(self.final_offset.get() as u64), &number(other.final_offset.get() as u64))),
            ("byteSize", both(&number(self.file_bytes), &number(other.file_bytes))),
            ("md5Hash", both(&self.md5, &other.md5.as_ref().map(|md5| md5.to_ascii_lowercase()))),
            ("recordCount", both(&text(self.record_count), &text(other.record_count))),
            ("timestamps", both(&times(self.timestamps), &times(other.timestamps))),
            ("invisibleCount", both(&text(self.invisible_count), &text(other.invisible_count))),
            ("gaps", both(&gaps(self), &gaps(other))),
            ("contentHash", both(&self.content_hash, &other.content_hash)),
            ("crc32c", both(&text(self.crc32c.map(u64::from)), &text(other.crc32c.map(u64::from)))),
            ("topicId", both(&self.topic_id, &other.topic_id)),
        ]
        .into_iter()
        .find_map(|(column, differs)| {
            differs.map(|(ours, theirs)| format!("{column} is {theirs}, and should be {ours}"))
        })
    }

    /// `SELECT` with these columns, up to the condition.
    pub(super) fn select() -> String {
        format!("SELECT {COLUMNS} FROM {TABLE}")
    }

    /// The statement that makes a row of [`RowValues::params`].
    pub(super) fn insert() -> String {
        let marks = vec!["?"; COLUMNS.split(',').count()].join(", ");
        format!("INSERT INTO {TABLE} ({COLUMNS}, `time`) VALUES ({marks}, NOW())")
    }

    /// The statement that makes what is there this row: the values of [`RowValues::params`], and the key once more. When
    /// the segment was first indexed stays as it is.
    pub(super) fn update() -> String {
        let columns: Vec<String> = COLUMNS.split(", ").map(|column| format!("{column} = ?")).collect();
        format!("UPDATE {TABLE} SET {} {OF_CHAIN} AND startOffset = ?", columns.join(", "))
    }

    /// The values for [`RowValues::insert`]; `so_far` is the greatest timestamp of the chain up to and with this row.
    pub(super) fn params(&self, so_far: Option<i64>) -> Vec<Value> {
        let ChainName { topic_partition: TopicPartition { topic, partition }, lineage } = &self.name.chain;
        let times = self.timestamps;
        vec![
            topic.as_str().into(),
            partition.get().into(),
            (*lineage).into(),
            self.name.start.get().into(),
            self.final_offset.get().into(),
            self.file_bytes.into(),
            self.md5.as_deref().into(),
            self.record_count.into(),
            times.map(|times| times.first).into(),
            times.map(|times| times.least).into(),
            times.map(|times| times.greatest).into(),
            self.invisible_count.into(),
            self.gaps.as_deref().into(),
            self.content_hash.as_deref().into(),
            self.crc32c.into(),
            self.object_url.as_deref().into(),
            self.generation.into(),
            self.seal_reason.as_deref().into(),
            self.topic_id.as_deref().into(),
            self.writer.as_deref().into(),
            so_far.into(),
        ]
    }

    /// Reads what [`RowValues::select`] asked for.
    pub(super) fn from_row(mut row: Row) -> IndexResult<RowValues> {
        let mut taken = Taken { row: &mut row, column: 0 };
        let (topic, partition): (String, i32) = (taken.next()?, taken.next()?);
        let lineage: u32 = taken.next()?;
        let (start, final_offset): (i64, i64) = (taken.next()?, taken.next()?);
        let file_bytes: i64 = taken.next()?;
        let md5 = taken.next()?;
        let record_count: Option<i64> = taken.next()?;
        let times: [Option<i64>; 3] = [taken.next()?, taken.next()?, taken.next()?];
        let invisible_count: Option<i64> = taken.next()?;
        let wrong = || {
            let row = format!("{topic}/{partition} from {start}");
            IndexError::new(IndexErrorKind::Schema, format!("{TABLE} has a row that can be none: {row}"))
        };
        let unsigned = |number: i64| u64::try_from(number).map_err(|_| wrong());
        let chain = ChainName {
            topic_partition: TopicPartition {
                topic: TopicName::new(&topic).map_err(|_| wrong())?,
                partition: PartitionId::new(partition).ok_or_else(wrong)?,
            },
            lineage,
        };
        let start = Offset::new(start).ok_or_else(wrong)?;
        let final_offset = Offset::new(final_offset).ok_or_else(wrong)?;
        Ok(RowValues {
            name: chain.segment(start),
            final_offset,
            file_bytes: unsigned(file_bytes)?,
            md5,
            record_count: record_count.map(unsigned).transpose()?,
            timestamps: match times {
                [Some(first), Some(least), Some(greatest)] => Some(Timestamps { first, least, greatest }),
                _ => None,
            },
            invisible_count: invisible_count.map(unsigned).transpose()?,
            gaps: taken.next()?,
            content_hash: taken.next()?,
            crc32c: taken.next()?,
            object_url: taken.next()?,
            generation: taken.next()?,
            seal_reason: taken.next()?,
            topic_id: taken.next()?,
            writer: taken.next()?,
            max_timestamp_so_far: taken.next()?,
        })
    }

    /// Whether the segment covers an offset.
    pub fn covers(&self, offset: Offset) -> bool {
        self.name.start <= offset && offset <= self.final_offset
    }
}

/// Takes the values of a row one after the other.
struct Taken<'a> {
    row: &'a mut Row,
    column: usize,
}

impl Taken<'_> {
    fn next<T: mysql::prelude::FromValue>(&mut self) -> IndexResult<T> {
        let value: Option<Result<T, _>> = self.row.take_opt(self.column);
        self.column += 1;
        value.and_then(Result::ok).ok_or_else(|| {
            let column = COLUMNS.split(", ").nth(self.column - 1).unwrap_or_default();
            IndexError::new(IndexErrorKind::Schema, format!("{TABLE}.{column} holds what does not belong there"))
        })
    }
}

/// The condition on a chain, with [`chain_params`].
pub(super) const OF_CHAIN: &str = "WHERE topic = ? AND `partition` = ? AND lineage = ?";

/// What [`OF_CHAIN`] asks for, and more values after it.
pub(super) fn chain_params(chain: &ChainName, more: &[Value]) -> Params {
    let mut values = chain_values(chain);
    values.extend_from_slice(more);
    Params::Positional(values)
}

/// What [`OF_CHAIN`] asks for.
pub(super) fn chain_values(chain: &ChainName) -> Vec<Value> {
    let TopicPartition { topic, partition } = &chain.topic_partition;
    vec![topic.as_str().into(), partition.get().into(), chain.lineage.into()]
}

/// `[{"from":3,"to":9,"reason":"deleted"}]`; both ends belong to a gap, as in the file's header.
fn gaps_as_json(gaps: &[Gap]) -> String {
    let gap = |Gap { offsets, reason }: &Gap| -> Json {
        json!({"from": offsets.start().get(), "to": offsets.final_offset().get(), "reason": reason.as_str()})
    };
    Json::Array(gaps.iter().map(gap).collect()).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
