//! What `kafka-store read` prints of a record.

use super::json::{JsonLine, hex_digit};
use super::print::{PART_BYTES, Sink};
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
    out: &mut impl Sink,
) {
    match format {
        Format::Json => print_json(chain, segment_start, record, out),
        Format::Value => {
            for part in record.fields.value.unwrap_or_default().chunks(PART_BYTES) {
                out.buffer().extend_from_slice(part);
                out.spill();
            }
            out.buffer().push(b'\n');
        }
        Format::Hex => print_hex(chain, record, out),
    }
}

fn print_json(chain: Option<&ChainName>, segment_start: Offset, record: &Record<'_>, out: &mut impl Sink) {
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

fn print_hex(chain: Option<&ChainName>, record: &Record<'_>, out: &mut impl Sink) {
    let place = chain.map_or_else(|| "?".into(), ChainName::to_string);
    out.buffer().extend_from_slice(format!("{place} {}\n", record.fields.offset).as_bytes());
    print_hex_bytes("key", record.fields.key, out);
    for header in record.headers {
        print_hex_bytes("header", Some(&header.name), out);
        print_hex_bytes("  value", header.value, out);
    }
    print_hex_bytes("value", record.fields.value, out);
}

/// Bytes in a line of hexadecimal.
const LINE_BYTES: usize = 32;

/// `value (5 bytes)`, then lines of hexadecimal and printable characters.
fn print_hex_bytes(label: &str, bytes: Option<&[u8]>, out: &mut impl Sink) {
    let Some(bytes) = bytes else {
        out.buffer().extend_from_slice(format!("  {label} null\n").as_bytes());
        return;
    };
    out.buffer().extend_from_slice(format!("  {label} {} bytes\n", bytes.len()).as_bytes());
    for part in bytes.chunks(PART_BYTES) {
        part.chunks(LINE_BYTES).for_each(|line| print_hex_line(line, out.buffer()));
        out.spill();
    }
}

fn print_hex_line(line: &[u8], out: &mut Vec<u8>) {
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
