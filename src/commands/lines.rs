//! What `kafka-store read` prints of a record.

use super::json::{JsonLine, hex_digit};
use super::read::Format;
use crate::avro::Record;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;

/// Appends what a record is printed as.
pub(super) fn print_record(
    chain: Option<&ChainName>,
    segment_start: Offset,
    record: &Record<'_>,
    format: Format,
    out: &mut Vec<u8>,
) {
    match format {
        Format::Json => print_json(chain, segment_start, record, out),
        Format::Value => {
            out.extend_from_slice(record.fields.value.unwrap_or_default());
            out.push(b'\n');
        }
        Format::Hex => print_hex(chain, record, out),
    }
}

fn print_json(chain: Option<&ChainName>, segment_start: Offset, record: &Record<'_>, out: &mut Vec<u8>) {
    let fields = &record.fields;
    let mut line = JsonLine::begin(out);
    line.segment("filename", segment_start);
    line.headers(record.headers);
    line.bytes("key", "key_base64", fields.key);
    line.number("offset", fields.offset.get());
    match chain {
        Some(chain) => line.number("partition", chain.topic_partition.partition.get().into()),
        None => line.null("partition"),
    }
    line.number("timestamp", fields.timestamp);
    line.text("timestamp_type", fields.timestamp_type.as_str());
    match chain {
        Some(chain) => line.text("topic", chain.topic_partition.topic.as_str()),
        None => line.null("topic"),
    }
    line.bytes("value", "value_base64", fields.value);
    line.end();
}

fn print_hex(chain: Option<&ChainName>, record: &Record<'_>, out: &mut Vec<u8>) {
    let place = chain.map_or_else(|| "?".into(), ChainName::to_string);
    out.extend_from_slice(format!("{place} {}\n", record.fields.offset).as_bytes());
    print_hex_bytes("key", record.fields.key, out);
    for header in record.headers {
        print_hex_bytes("header", Some(&header.name), out);
        print_hex_bytes("  value", header.value, out);
    }
    print_hex_bytes("value", record.fields.value, out);
}

/// `value (5 bytes)`, then lines of hexadecimal and printable characters.
fn print_hex_bytes(label: &str, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    const LINE_BYTES: usize = 32;
    let Some(bytes) = bytes else {
        out.extend_from_slice(format!("  {label} null\n").as_bytes());
        return;
    };
    out.extend_from_slice(format!("  {label} {} bytes\n", bytes.len()).as_bytes());
    for line in bytes.chunks(LINE_BYTES) {
        out.extend_from_slice(b"    ");
        for index in 0..LINE_BYTES {
            match line.get(index) {
                Some(byte) => out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 0xf)]),
                None => out.extend_from_slice(b"  "),
            }
            if index % 4 == 3 {
                out.push(b' ');
            }
        }
        out.push(b' ');
        out.extend(line.iter().map(|byte| if matches!(byte, b' '..=b'~') { *byte } else { b'.' }));
        out.push(b'\n');
    }
}
