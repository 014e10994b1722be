//! `kafka-store read`: prints the records of a file, a partition, a topic or an archive.

use super::error::CommandError;
use super::json::{JsonLine, hex_digit};
use super::location::{Location, Place};
use super::print::{Output, Stop, finish};
use crate::archive::{ArchiveError, ChainReader, OffsetWindow};
use crate::avro::{Record, SegmentReader};
use clap::{Args, ValueEnum};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What to print.
#[derive(Args, Clone, Debug)]
pub struct ReadArgs {
    /// A file, or the directory of a partition, a topic or an archive
    pub path: PathBuf,
    /// Leave out the records before this offset (of each partition)
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset)]
    pub from_offset: Option<Offset>,
    /// Leave out the records after this offset (of each partition)
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset)]
    pub to_offset: Option<Offset>,
    /// What a record is printed as
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
}

/// What a record is printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line of JSON with everything; bytes that are not UTF-8 in base64
    Json,
    /// The value's bytes as they are, and a newline; nothing for a null but the newline
    Value,
    /// Topic, partition and offset, then key and value in hexadecimal, 32 bytes a line
    Hex,
}

fn parse_offset(text: &str) -> Result<Offset, String> {
    let offset = text.parse().ok().and_then(Offset::new);
    offset.ok_or_else(|| "an offset is a whole number from 0 on".into())
}

/// Prints what `args` ask for, in the order of topic, partition and offset.
///
/// # Errors
/// A path that is no part of an archive, or an archive that is not whole: one line, after the records before it.
pub fn run(args: &ReadArgs) -> Result<(), CommandError> {
    print(args, io::stdout().lock())
}

/// [`run`], to any target instead of standard output.
///
/// # Errors
/// As [`run`].
pub fn print(args: &ReadArgs, target: impl Write) -> Result<(), CommandError> {
    let window = OffsetWindow { from: args.from_offset, to: args.to_offset };
    if let (Some(from), Some(to)) = (window.from, window.to)
        && to < from
    {
        return Err(CommandError::new(format!("--to-offset {to} is before --from-offset {from}")));
    }
    let location = Location::find(&args.path)?;
    let mut output = Output::new(target);
    let result = match location {
        Location::File { path, start, chain } => print_file(&path, start, chain, window, args.format, &mut output),
        Location::Place(place) => print_chains(&place, window, args.format, &mut output),
    };
    finish(output, result)
}

fn print_chains<W: Write>(
    place: &Place,
    window: OffsetWindow,
    format: Format,
    output: &mut Output<W>,
) -> Result<(), Stop> {
    for chain in place.chains().map_err(ArchiveError::from)? {
        let mut reader = ChainReader::new(Arc::clone(&place.store), chain.clone(), window)?;
        reader.for_each_record(|segment, record| {
            print_record(Some(&chain), segment.name.start, record, format, output.line());
            output.line_done()
        })?;
    }
    Ok(())
}

/// One file alone: it need not lie in an archive.
fn print_file<W: Write>(
    path: &Path,
    start: Offset,
    chain: Option<ChainName>,
    window: OffsetWindow,
    format: Format,
    output: &mut Output<W>,
) -> Result<(), Stop> {
    let wrong = |error| Stop::Failed(CommandError::new(format!("{}: {error}", path.display())));
    let file =
        File::open(path).map_err(|error| CommandError::new(format!("cannot open {}: {error}", path.display())))?;
    let mut reader = SegmentReader::new(file, start).map_err(wrong)?;
    let chain = reader.header().ours().map(|header| header.name.chain.clone()).or(chain);
    while let Some(block) = reader.next_block().map_err(wrong)? {
        let mut records = block.records();
        while let Some(record) = records.next_record().map_err(wrong)? {
            let offset = record.fields.offset;
            if window.to.is_some_and(|to| to < offset) {
                return Ok(());
            }
            if window.from.is_none_or(|from| from <= offset) {
                print_record(chain.as_ref(), start, &record, format, output.line());
                output.line_done()?;
            }
        }
    }
    Ok(())
}

fn print_record(
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

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Stop {
        Stop::Failed(CommandError::from_error(&error))
    }
}
