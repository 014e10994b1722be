//! The canonical bytes of a fetched record: one encoder for what is archived and for what is compared with an archive.

use super::ffi::{FetchedRecord, KafkaError};
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::record::{RecordFields, encode_fields, encode_headers};

/// Appends the canonical bytes of a record, whose offset is known to be legal, and returns its timestamp.
///
/// # Errors
/// If librdkafka cannot parse the record's headers; then nothing is appended.
#[inline]
pub(super) fn append(record: &FetchedRecord<'_>, offset: Offset, out: &mut Vec<u8>) -> Result<TimestampMs, KafkaError> {
    let (timestamp, timestamp_type) = record.timestamp();
    let fields = RecordFields { timestamp, timestamp_type, offset, key: record.key(), value: record.value() };
    let before = out.len();
    encode_fields(&fields, out);
    // Only now: the headers lie behind the value, and are in the processor's cache once it has been copied.
    match record.headers() {
        Ok(headers) => encode_headers(headers, out),
        Err(error) => {
            out.truncate(before);
            return Err(error);
        }
    }
    Ok(timestamp)
}
