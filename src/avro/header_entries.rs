//! The entries of a segment's header: how [`SegmentHeader`] is written and read.

use super::codec::BlockCodec;
use super::error::ReadError;
use super::header::{FORMAT_VERSION, SealError, SegmentHeader, sync_marker};
use super::header_fields::Fields;
use super::metadata::{METADATA_BYTES_MAX, Metadata, MetadataBuilder};
use super::schema::SCHEMA;
use super::summary::SegmentSummary;
use kafka_store_statecharts::gap::Gap;
use kafka_store_statecharts::last_record::LastRecord;
use kafka_store_statecharts::name::ChainName;
use std::collections::BTreeMap;
use std::fmt;

/// The names of the header's entries, in the order in which they are written.
pub(super) mod key {
    pub(in crate::avro) const CODEC: &str = "avro.codec";
    pub(in crate::avro) const SCHEMA: &str = "avro.schema";
    pub(in crate::avro) const FORMAT: &str = "kafka_store.format";
    pub(in crate::avro) const TOPIC: &str = "kafka_store.topic";
    pub(in crate::avro) const PARTITION: &str = "kafka_store.partition";
    pub(in crate::avro) const LINEAGE: &str = "kafka_store.lineage";
    pub(in crate::avro) const START: &str = "kafka_store.start_offset";
    pub(in crate::avro) const FINAL: &str = "kafka_store.final_offset";
    pub(in crate::avro) const RECORD_COUNT: &str = "kafka_store.record_count";
    pub(in crate::avro) const INVISIBLE_COUNT: &str = "kafka_store.invisible_count";
    pub(in crate::avro) const GAPS: &str = "kafka_store.gaps";
    pub(in crate::avro) const FIRST_TIMESTAMP: &str = "kafka_store.first_timestamp_ms";
    pub(in crate::avro) const MIN_TIMESTAMP: &str = "kafka_store.min_timestamp_ms";
    pub(in crate::avro) const MAX_TIMESTAMP: &str = "kafka_store.max_timestamp_ms";
    pub(in crate::avro) const CONTENT_HASH: &str = "kafka_store.content_blake3";
    pub(in crate::avro) const LAST_RECORD_HASH: &str = "kafka_store.last_record_blake3";
    pub(in crate::avro) const LAST_LEADER_EPOCH: &str = "kafka_store.last_leader_epoch";
    pub(in crate::avro) const CLUSTER_ID: &str = "kafka_store.cluster_id";
    pub(in crate::avro) const TOPIC_ID: &str = "kafka_store.topic_id";
    pub(in crate::avro) const ISOLATION: &str = "kafka_store.isolation";
    pub(in crate::avro) const SEGMENT_BYTES: &str = "kafka_store.segment_bytes";
    pub(in crate::avro) const SEGMENT_RECORDS: &str = "kafka_store.segment_records";
    pub(in crate::avro) const SEGMENT_AGE: &str = "kafka_store.segment_age_ms";
    pub(in crate::avro) const BLOCK_BYTES: &str = "kafka_store.block_bytes";
    pub(in crate::avro) const FILE_BYTES: &str = "kafka_store.file_bytes";
    pub(in crate::avro) const BLOCKS_CRC32C: &str = "kafka_store.blocks_crc32c";
    pub(in crate::avro) const HEADER_HASH: &str = "kafka_store.header_blake3";
    pub(in crate::avro) const PADDING: &str = "kafka_store.padding";
}

/// Value of a header entry.
enum EntryValue<'a> {
    /// A number, whose digits the header's length does not depend on.
    Number(&'a dyn fmt::Display),
    /// Anything else.
    Text(&'a dyn fmt::Display),
    /// A list whose numbers are numbers, too.
    Gaps(&'a [Gap]),
}

/// As long as any number that a header can hold.
const ANY_NUMBER: &str = "00000000000000000000";

impl EntryValue<'_> {
    /// The value as it is written.
    fn text(&self) -> String {
        match self {
            EntryValue::Number(value) | EntryValue::Text(value) => value.to_string(),
            EntryValue::Gaps(gaps) => format_gaps(gaps),
        }
    }

    /// A value of the length that is counted: each number has 20 digits.
    fn counted_text(&self) -> String {
        match self {
            EntryValue::Number(_) => ANY_NUMBER.into(),
            EntryValue::Text(value) => value.to_string(),
            EntryValue::Gaps(gaps) => {
                let words = gaps.iter().map(|gap| format!("{ANY_NUMBER}-{ANY_NUMBER}:{}", gap.reason));
                words.collect::<Vec<_>>().join(",")
            }
        }
    }
}

/// Header lengths are multiples of this.
const HEADER_UNIT_BYTES: usize = 512;

/// Stands in place of the header's hash where the hash is counted.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Bytes of all names and values that [`SegmentHeader::attributes`] has at most. Google Cloud Storage takes 8 KiB for
/// each object, of which `--gcs-metadata` may use 4 KiB.
const ATTRIBUTE_BYTES_MAX: usize = 3584;

impl SegmentHeader {
    /// The header's bytes, which are a function of what it says.
    ///
    /// # Errors
    /// [`SealError::HeaderTooLong`], or if it is a header of format version 1, which is written no more.
    pub fn encode(&self) -> Result<Vec<u8>, SealError> {
        let length = self.encoded_bytes();
        if self.format != FORMAT_VERSION {
            return Err(SealError::Inconsistent(format!("its format has version {}", self.format)));
        }
        if length as u64 > METADATA_BYTES_MAX {
            return Err(SealError::HeaderTooLong { bytes: length, gap_count: self.summary.gaps.len() });
        }
        Ok(self.with_header_hash(self.header_hash().to_hex().as_str()))
    }

    /// The header's bytes with these digits as its hash.
    fn with_header_hash(&self, digits: &str) -> Vec<u8> {
        let metadata = self.metadata(digits, |value| value.text());
        metadata.padded(key::PADDING, &sync_marker(&self.name), self.encoded_bytes())
    }

    /// The hash that its own bytes hold.
    fn header_hash(&self) -> blake3::Hash {
        blake3::hash(&self.with_header_hash(NO_HASH))
    }

    /// Length of the header: the least multiple of 512 that holds its entries, each number counted with 20 digits. So
    /// it is known before the numbers are.
    pub(super) fn encoded_bytes(&self) -> usize {
        let least = self.metadata(NO_HASH, |value| value.counted_text()).length_with_padding(key::PADDING);
        least.next_multiple_of(HEADER_UNIT_BYTES)
    }

    /// The entries of a header of format version 2, up to the padding.
    fn metadata(&self, header_hash: &str, text: impl Fn(&EntryValue<'_>) -> String) -> MetadataBuilder {
        let mut metadata = MetadataBuilder::default();
        metadata.entry(key::CODEC, self.codec.avro_name());
        metadata.entry(key::SCHEMA, SCHEMA);
        self.each_entry(|key, value| metadata.entry(key, &text(&value)));
        metadata.entry(key::HEADER_HASH, header_hash);
        metadata
    }

    /// The entries of its own, in order, but for the header's hash.
    fn each_entry(&self, mut entry: impl FnMut(&'static str, EntryValue<'_>)) {
        use EntryValue::{Gaps, Number, Text};
        let SegmentSummary { timestamps, boundaries, gaps, .. } = &self.summary;
        let ChainName { topic_partition, lineage } = &self.name.chain;
        entry(key::FORMAT, Number(&self.format));
        entry(key::TOPIC, Text(&topic_partition.topic));
        entry(key::PARTITION, Number(&topic_partition.partition));
        if *lineage > 1 {
            entry(key::LINEAGE, Number(lineage));
        }
        entry(key::START, Number(&self.name.start));
        entry(key::FINAL, Number(&self.summary.final_offset));
        entry(key::RECORD_COUNT, Number(&self.record_count));
        entry(key::INVISIBLE_COUNT, Number(&self.invisible_count()));
        if !gaps.is_empty() {
            entry(key::GAPS, Gaps(gaps));
        }
        entry(key::FIRST_TIMESTAMP, Number(&timestamps.first));
        entry(key::MIN_TIMESTAMP, Number(&timestamps.min));
        entry(key::MAX_TIMESTAMP, Number(&timestamps.max));
        entry(key::CONTENT_HASH, Text(&self.content_hash));
        if let Some(LastRecord { hash, leader_epoch }) = &self.summary.last_record {
            entry(key::LAST_RECORD_HASH, Text(hash));
            if let Some(leader_epoch) = leader_epoch {
                entry(key::LAST_LEADER_EPOCH, Number(&leader_epoch.get()));
            }
        }
        if let Some(cluster_id) = &self.summary.cluster_id {
            entry(key::CLUSTER_ID, Text(cluster_id));
        }
        if let Some(topic_id) = &self.summary.topic_id {
            entry(key::TOPIC_ID, Text(topic_id));
        }
        entry(key::ISOLATION, Text(&self.summary.isolation));
        entry(key::SEGMENT_BYTES, Number(&boundaries.segment_bytes));
        if let Some(segment_records) = &boundaries.segment_records {
            entry(key::SEGMENT_RECORDS, Number(segment_records));
        }
        entry(key::SEGMENT_AGE, Number(&boundaries.segment_age_ms));
        if let Some(block_bytes) = &self.block_bytes {
            entry(key::BLOCK_BYTES, Number(block_bytes));
        }
        if let Some(file_bytes) = &self.file_bytes {
            entry(key::FILE_BYTES, Number(file_bytes));
        }
        if let Some(crc32c) = &self.blocks_crc32c {
            entry(key::BLOCKS_CRC32C, Text(&format_args!("{crc32c:08x}")));
        }
    }

    /// What a store keeps beside the object: the header's entries without `kafka_store.` and with `-` for `_`, and
    /// `codec`. Nothing if they are more than a store takes (hundreds of gaps): then the header alone says it.
    pub fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::from([(attribute_of(key::CODEC), self.codec.to_string())]);
        self.each_entry(|key, value| {
            attributes.insert(attribute_of(key), value.text());
        });
        if self.format > 1 {
            attributes.insert(attribute_of(key::HEADER_HASH), self.header_hash().to_string());
        }
        let bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > ATTRIBUTE_BYTES_MAX { BTreeMap::new() } else { attributes }
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
        let format = fields.format()?;
        let codec = fields.with(key::CODEC, BlockCodec::from_avro_name)?;
        let header = fields.header(format, codec)?;
        if format > 1 && get(key::HEADER_HASH) != Some(header.header_hash().to_hex().as_str()) {
            return Err(ReadError::corrupt(0, "its metadata are not those that its header's hash is of"));
        }
        Ok(Some(header))
    }

    /// Reads a header of ours. The caller has not necessarily checked that it is one.
    pub(super) fn from_metadata(metadata: &Metadata) -> Result<SegmentHeader, ReadError> {
        let fields = Fields { place: "header", get: &|key| metadata.get(key) };
        let format = fields.format()?;
        if format > 1 {
            // Digit by digit: the hash itself is the one value that it does not cover.
            let hash = metadata.hash_without(key::HEADER_HASH).map(|hash| hash.to_string());
            if hash != Some(fields.with(key::HEADER_HASH, |text| Some(text.to_owned()))?) {
                return Err(ReadError::corrupt(0, "its header is not the one that its own hash is of"));
            }
        }
        if metadata.get(key::SCHEMA) != Some(SCHEMA) {
            return Err(ReadError::corrupt(0, format!("its schema is not that of format version {format}")));
        }
        let header = fields.header(format, block_codec(metadata)?)?;
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
