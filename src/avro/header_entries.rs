//! The entries of a segment's header: how [`SegmentHeader`] is written and read.

use super::codec::BlockCodec;
use super::content_hash::ContentHash;
use super::error::ReadError;
use super::header::{FORMAT_VERSION, HEADER_BYTES, SealError, SegmentHeader, sync_marker};
use super::metadata::{Metadata, MetadataBuilder};
use super::schema::SCHEMA;
use super::summary::{Isolation, SegmentSummary, TimestampRange};
use kafka_store_statecharts::boundary::BoundarySettings;
use kafka_store_statecharts::gap::{Gap, GapReason};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::topic::{PartitionId, TopicId, TopicName, TopicPartition};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// The names of the header's entries, in the order in which they are written.
mod key {
    pub(super) const CODEC: &str = "avro.codec";
    pub(super) const SCHEMA: &str = "avro.schema";
    pub(super) const FORMAT: &str = "kafka_store.format";
    pub(super) const TOPIC: &str = "kafka_store.topic";
    pub(super) const PARTITION: &str = "kafka_store.partition";
    pub(super) const LINEAGE: &str = "kafka_store.lineage";
    pub(super) const START: &str = "kafka_store.start_offset";
    pub(super) const FINAL: &str = "kafka_store.final_offset";
    pub(super) const RECORD_COUNT: &str = "kafka_store.record_count";
    pub(super) const INVISIBLE_COUNT: &str = "kafka_store.invisible_count";
    pub(super) const GAPS: &str = "kafka_store.gaps";
    pub(super) const FIRST_TIMESTAMP: &str = "kafka_store.first_timestamp_ms";
    pub(super) const MIN_TIMESTAMP: &str = "kafka_store.min_timestamp_ms";
    pub(super) const MAX_TIMESTAMP: &str = "kafka_store.max_timestamp_ms";
    pub(super) const CONTENT_HASH: &str = "kafka_store.content_blake3";
    pub(super) const CLUSTER_ID: &str = "kafka_store.cluster_id";
    pub(super) const TOPIC_ID: &str = "kafka_store.topic_id";
    pub(super) const ISOLATION: &str = "kafka_store.isolation";
    pub(super) const SEGMENT_BYTES: &str = "kafka_store.segment_bytes";
    pub(super) const SEGMENT_RECORDS: &str = "kafka_store.segment_records";
    pub(super) const SEGMENT_AGE: &str = "kafka_store.segment_age_ms";
    pub(super) const PADDING: &str = "kafka_store.padding";
}

impl SegmentHeader {
    /// The header's bytes: exactly [`HEADER_BYTES`].
    pub(super) fn encode(&self) -> Result<Vec<u8>, SealError> {
        let mut metadata = MetadataBuilder::default();
        metadata.entry(key::CODEC, self.codec.avro_name());
        metadata.entry(key::SCHEMA, SCHEMA);
        self.each_entry(|key, value| metadata.entry(key, &value.to_string()));
        metadata
            .padded(key::PADDING, &sync_marker(&self.name), HEADER_BYTES)
            .map_err(|bytes| SealError::HeaderTooLong { bytes, gap_count: self.summary.gaps.len() })
    }

    /// The entries of its own, in order.
    fn each_entry(&self, mut entry: impl FnMut(&'static str, &dyn fmt::Display)) {
        let SegmentSummary { timestamps, boundaries, gaps, .. } = &self.summary;
        let ChainName { topic_partition, lineage } = &self.name.chain;
        entry(key::FORMAT, &FORMAT_VERSION);
        entry(key::TOPIC, &topic_partition.topic);
        entry(key::PARTITION, &topic_partition.partition);
        if *lineage > 1 {
            entry(key::LINEAGE, lineage);
        }
        entry(key::START, &self.name.start);
        entry(key::FINAL, &self.summary.final_offset);
        entry(key::RECORD_COUNT, &self.record_count);
        entry(key::INVISIBLE_COUNT, &self.invisible_count());
        if !gaps.is_empty() {
            entry(key::GAPS, &format_gaps(gaps));
        }
        entry(key::FIRST_TIMESTAMP, &timestamps.first);
        entry(key::MIN_TIMESTAMP, &timestamps.min);
        entry(key::MAX_TIMESTAMP, &timestamps.max);
        entry(key::CONTENT_HASH, &self.content_hash);
        if let Some(cluster_id) = &self.summary.cluster_id {
            entry(key::CLUSTER_ID, cluster_id);
        }
        if let Some(topic_id) = &self.summary.topic_id {
            entry(key::TOPIC_ID, topic_id);
        }
        entry(key::ISOLATION, &self.summary.isolation);
        entry(key::SEGMENT_BYTES, &boundaries.segment_bytes);
        if let Some(segment_records) = &boundaries.segment_records {
            entry(key::SEGMENT_RECORDS, segment_records);
        }
        entry(key::SEGMENT_AGE, &boundaries.segment_age_ms);
    }

    /// What a store keeps beside the object: the header's entries without `kafka_store.` and with `-` for `_`, and
    /// `codec`.
    pub fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::from([(attribute_of(key::CODEC), self.codec.to_string())]);
        self.each_entry(|key, value| {
            attributes.insert(attribute_of(key), value.to_string());
        });
        attributes
    }

    /// Reads [`SegmentHeader::attributes`] back; others beside them do not matter. `None` if there are none.
    ///
    /// # Errors
    /// If they are not what a header of ours says.
    pub fn from_attributes(attributes: &BTreeMap<String, String>) -> Result<Option<SegmentHeader>, ReadError> {
        let get = |key: &str| attributes.get(&attribute_of(key)).map(String::as_str);
        if get(key::FORMAT).is_none() {
            return Ok(None);
        }
        let fields = Fields { place: "metadata", get: &get };
        fields.check_format()?;
        let codec = fields.with(key::CODEC, BlockCodec::from_avro_name)?;
        fields.header(codec).map(Some)
    }

    /// Reads a header of ours. The caller has not necessarily checked that it is one.
    pub(super) fn from_metadata(metadata: &Metadata) -> Result<SegmentHeader, ReadError> {
        let fields = Fields { place: "header", get: &|key| metadata.get(key) };
        fields.check_format()?;
        if metadata.get(key::SCHEMA) != Some(SCHEMA) {
            return Err(ReadError::corrupt(0, "its schema is not that of format version 1"));
        }
        let header = fields.header(block_codec(metadata)?)?;
        if metadata.sync != sync_marker(&header.name) {
            return Err(ReadError::corrupt(0, "its sync marker does not belong to its name"));
        }
        Ok(header)
    }
}

/// `kafka_store.record_count` is `record-count`, `avro.codec` is `codec`.
fn attribute_of(key: &str) -> String {
    key.rsplit('.').next().unwrap_or(key).replace('_', "-")
}

/// How the blocks of any file are compressed. Avro's default is not at all.
pub(super) fn block_codec(metadata: &Metadata) -> Result<BlockCodec, ReadError> {
    let name = metadata.get(key::CODEC).unwrap_or("null");
    BlockCodec::from_avro_name(name)
        .ok_or_else(|| ReadError::Unsupported { problem: format!("its blocks are compressed by {name:?}") })
}

/// The schema of any file.
pub(super) fn schema(metadata: &Metadata) -> Option<&str> {
    metadata.get(key::SCHEMA)
}

/// `123-456:deleted`, in order, separated by commas.
fn format_gaps(gaps: &[Gap]) -> String {
    let words: Vec<String> = gaps
        .iter()
        .map(|gap| format!("{}-{}:{}", gap.offsets.start(), gap.offsets.final_offset(), gap.reason))
        .collect();
    words.join(",")
}

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

/// The entries of a header, or the same as a store keeps them beside the object, read strictly.
struct Fields<'a> {
    place: &'static str,
    get: &'a dyn Fn(&str) -> Option<&'a str>,
}

impl Fields<'_> {
    fn check_format(&self) -> Result<(), ReadError> {
        match self.required::<u32>(key::FORMAT) {
            Ok(FORMAT_VERSION) => Ok(()),
            Ok(version) => Err(ReadError::Unsupported { problem: format!("its format has version {version}") }),
            Err(_) if (self.get)(key::FORMAT).is_none() => {
                Err(ReadError::NotSegment { problem: format!("its {} lacks {}", self.place, key::FORMAT) })
            }
            Err(error) => Err(error),
        }
    }

    fn header(&self, codec: BlockCodec) -> Result<SegmentHeader, ReadError> {
        let header = SegmentHeader {
            name: self.name()?,
            codec,
            record_count: self.required(key::RECORD_COUNT)?,
            content_hash: self.with(key::CONTENT_HASH, ContentHash::parse)?,
            summary: self.summary()?,
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

    fn with<T>(&self, key: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, ReadError> {
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
        })
    }
}
