//! The entries of a segment's header, or the same as a store keeps them beside the object, read strictly.

use super::codec::BlockCodec;
use super::content_hash::ContentHash;
use super::error::ReadError;
use super::header::{FORMAT_VERSION, SegmentHeader};
use super::header_entries::key;
use super::summary::{Isolation, SegmentSummary, TimestampRange};
use kafka_store_statecharts::boundary::BoundarySettings;
use kafka_store_statecharts::gap::{Gap, GapReason};
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset, OffsetRange};
use kafka_store_statecharts::topic::{PartitionId, TopicId, TopicName, TopicPartition};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

fn parse_gaps(text: &str) -> Option<Vec<Gap>> {
    let parse_gap = |word: &str| {
        let (offsets, reason) = word.split_once(':')?;
        let (start, final_offset) = offsets.split_once('-')?;
        let offsets = OffsetRange::new(parse_offset(start)?, parse_offset(final_offset)?)?;
        Some(Gap { offsets, reason: GapReason::parse(reason)? })
    };
    text.split(',').map(parse_gap).collect()
}

fn parse_offset(text: &str) -> Option<Offset> {
    Offset::new(parse_number(text)?)
}

/// A number in the one spelling that we write.
fn parse_number<T: FromStr + fmt::Display>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

/// A checksum in the one spelling that we write: eight lower-case hexadecimal digits.
fn parse_crc32c(text: &str) -> Option<u32> {
    let crc32c = u32::from_str_radix(text, 16).ok()?;
    (format!("{crc32c:08x}") == text).then_some(crc32c)
}

/// Header entries, wherever they are kept.
pub(super) struct Fields<'a> {
    /// Place that they are kept in, for messages.
    pub(super) place: &'static str,
    /// Finds the value of a key.
    pub(super) get: &'a dyn Fn(&str) -> Option<&'a str>,
}

impl Fields<'_> {
    /// The version of the format, if this program knows it.
    pub(super) fn format(&self) -> Result<u32, ReadError> {
        match self.required::<u32>(key::FORMAT) {
            Ok(version @ 1..=FORMAT_VERSION) => Ok(version),
            Ok(version) => Err(ReadError::Unsupported { problem: format!("its format has version {version}") }),
            Err(_) if (self.get)(key::FORMAT).is_none() => {
                Err(ReadError::NotSegment { problem: format!("its {} lacks {}", self.place, key::FORMAT) })
            }
            Err(error) => Err(error),
        }
    }

    /// The header that the entries make.
    pub(super) fn header(&self, format: u32, codec: BlockCodec) -> Result<SegmentHeader, ReadError> {
        let is_second = format > 1;
        let header = SegmentHeader {
            format,
            name: self.name()?,
            codec,
            record_count: self.required(key::RECORD_COUNT)?,
            content_hash: self.with(key::CONTENT_HASH, ContentHash::parse)?,
            summary: SegmentSummary {
                last_record: is_second.then(|| self.last_record()).transpose()?,
                ..self.summary()?
            },
            file_bytes: is_second.then(|| self.required(key::FILE_BYTES)).transpose()?,
            block_bytes: is_second.then(|| self.required(key::BLOCK_BYTES)).transpose()?,
            blocks_crc32c: is_second.then(|| self.with(key::BLOCKS_CRC32C, parse_crc32c)).transpose()?,
        };
        let place = self.place;
        if let Some(contradiction) = header.contradiction() {
            return Err(ReadError::corrupt(0, format!("its {place} contradicts itself: {contradiction}")));
        }
        if self.required::<u64>(key::INVISIBLE_COUNT)? != header.invisible_count() {
            return Err(ReadError::corrupt(0, format!("its {place} counts the invisible offsets wrongly")));
        }
        Ok(header)
    }

    /// A value that must be there, as it is parsed.
    pub(super) fn with<T>(&self, key: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, ReadError> {
        let place = self.place;
        match (self.get)(key) {
            None => Err(ReadError::corrupt(0, format!("its {place} lacks {key}"))),
            Some(text) => {
                parse(text).ok_or_else(|| ReadError::corrupt(0, format!("its {place} says {text:?} for {key}")))
            }
        }
    }

    fn optional<T>(&self, key: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, ReadError> {
        if (self.get)(key).is_none() { Ok(None) } else { self.with(key, parse).map(Some) }
    }

    fn required<T: FromStr + fmt::Display>(&self, key: &str) -> Result<T, ReadError> {
        self.with(key, parse_number)
    }

    fn last_record(&self) -> Result<LastRecord, ReadError> {
        let parse_epoch = |text: &str| LeaderEpoch::new(parse_number(text)?);
        Ok(LastRecord {
            hash: self.with(key::LAST_RECORD_HASH, RecordHash::parse)?,
            leader_epoch: self.optional(key::LAST_LEADER_EPOCH, parse_epoch)?,
        })
    }

    fn name(&self) -> Result<SegmentName, ReadError> {
        let topic = self.with(key::TOPIC, |text| TopicName::new(text).ok())?;
        let partition = self.with(key::PARTITION, |text| PartitionId::new(parse_number(text)?))?;
        let parse_lineage = |text: &str| parse_number(text).filter(|lineage| *lineage > 1);
        let lineage = self.optional(key::LINEAGE, parse_lineage)?.unwrap_or(1);
        let start = self.with(key::START, parse_offset)?;
        Ok(SegmentName { chain: ChainName { topic_partition: TopicPartition { topic, partition }, lineage }, start })
    }

    fn summary(&self) -> Result<SegmentSummary, ReadError> {
        let boundaries = BoundarySettings {
            segment_bytes: self.required(key::SEGMENT_BYTES)?,
            segment_records: self.optional(key::SEGMENT_RECORDS, parse_number::<NonZeroU64>)?,
            segment_age_ms: self.required(key::SEGMENT_AGE)?,
        };
        Ok(SegmentSummary {
            final_offset: self.with(key::FINAL, parse_offset)?,
            timestamps: TimestampRange {
                first: self.required(key::FIRST_TIMESTAMP)?,
                min: self.required(key::MIN_TIMESTAMP)?,
                max: self.required(key::MAX_TIMESTAMP)?,
            },
            cluster_id: self.optional(key::CLUSTER_ID, |text| Some(text.into()))?,
            topic_id: self.optional(key::TOPIC_ID, TopicId::parse)?,
            isolation: self.with(key::ISOLATION, Isolation::parse)?,
            boundaries,
            gaps: self.optional(key::GAPS, parse_gaps)?.unwrap_or_default(),
            last_record: None,
        })
    }
}
