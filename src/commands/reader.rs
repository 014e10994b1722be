//! `kafka-store-reader`: the original tool's reader, line by line.

use super::error::CommandError;
use super::json::JsonLine;
use super::print::{Output, Stop, finish};
use crate::avro::{Record, SegmentReader};
use clap::{Parser, Subcommand};
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::offset::Offset;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Prints saved kafka-store records as JSON, one line each
#[derive(Debug, Parser)]
#[command(name = "kafka-store-reader", version, infer_long_args = true, after_help = AFTER_HELP)]
pub struct ReaderCli {
    /// Wait for files if they are not written yet
    #[arg(long, global = true)]
    wait: bool,
    /// Accepted for the sake of old scripts; there is nothing more to say
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    store: Store,
}

/// Where the files are.
#[derive(Debug, Subcommand)]
enum Store {
    /// Files in a directory
    Local {
        /// The first file to print: DIR/TOPIC/PARTITION/OFFSET, as in archive/sample/000000/00000000000000000000
        path: PathBuf,
    },
}

const AFTER_HELP: &str = "\
From PATH on, file after file is printed until the next one is not there. A line has
filename, key, offset, timestamp (ms) and value; `headers` where there are some, as
[[name, value], ...]; bytes that are not UTF-8 come as key_base64 and value_base64
instead, in headers as {\"base64\": ...}.

`kafka-store read` prints whole partitions, topics and archives, and ranges of offsets.

Exit codes: 0 printed all there is; 1 could not; 2 wrong usage.";

/// How often `--wait` looks for the next file.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Prints what `cli` asks for.
///
/// # Errors
/// A wrong path, or a file that is not whole: one line each, after the records before it.
pub fn run(cli: &ReaderCli) -> Result<(), CommandError> {
    let Store::Local { path } = &cli.store;
    let (directory, start) = split(path)?;
    let mut output = Output::new(io::stdout().lock());
    let result = print_files(&directory, start, cli.wait, &mut output);
    finish(output, result)
}

/// The directory and the start offset that a path names. As the original, by its text alone.
fn split(path: &Path) -> Result<(PathBuf, Offset), CommandError> {
    let bytes = path.as_os_str().as_bytes();
    let name_start = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (directory, name) = bytes.split_at(name_start);
    let start = std::str::from_utf8(name).ok().and_then(SegmentName::parse_file_name).ok_or_else(|| {
        CommandError::new(
            "Filename was not standard kafka-store output (20 digits): \
             give the path of one file, as in archive/sample/000000/00000000000000000000",
        )
    })?;
    Ok((PathBuf::from(OsStr::from_bytes(directory)), start))
}

fn print_files<W: Write>(directory: &Path, mut start: Offset, wait: bool, output: &mut Output<W>) -> Result<(), Stop> {
    let mut is_first = true;
    loop {
        let path = directory.join(file_name(start));
        let file = match open(&path)? {
            Some(file) => file,
            None if wait => {
                output.flush()?;
                let _ = writeln!(io::stderr(), "Next file not ready yet. Waiting for: {}", path.display());
                wait_for(&path)?
            }
            None => {
                output.flush()?;
                if is_first {
                    check_is_next(directory, start)?;
                }
                let _ = write!(io::stderr(), "Next file not ready.");
                return Ok(());
            }
        };
        start = print_file(file, &path, start, output)?;
        is_first = false;
    }
}

/// Prints one file and returns the start of the next.
fn print_file<W: Write>(file: File, path: &Path, start: Offset, output: &mut Output<W>) -> Result<Offset, Stop> {
    let wrong = |error| Stop::Failed(CommandError::new(format!("{}: {error}", path.display())));
    let mut reader = SegmentReader::new(file, start).map_err(wrong)?;
    let mut next = reader.header().ours().map(|header| header.next_offset());
    while let Some(block) = reader.next_block().map_err(wrong)? {
        let mut records = block.records();
        while let Some(record) = records.next_record().map_err(wrong)? {
            print_record(start, &record, output.line());
            output.line_done()?;
        }
    }
    // The original's files do not say where they end.
    if next.is_none() {
        next = start.advanced_by(reader.record_count()).filter(|next| *next > start);
    }
    next.ok_or_else(|| CommandError::new(format!("{}: the file has no records", path.display())).into())
}

fn print_record(start: Offset, record: &Record<'_>, out: &mut Vec<u8>) {
    let mut line = JsonLine::begin(out);
    line.segment("filename", start);
    line.headers(record.headers);
    line.bytes("key", "key_base64", record.fields.key);
    line.number("offset", record.fields.offset.get());
    line.number("timestamp", record.fields.timestamp);
    line.bytes("value", "value_base64", record.fields.value);
    line.end();
}

fn file_name(start: Offset) -> String {
    format!("{:020}", start.get())
}

fn open(path: &Path) -> Result<Option<File>, CommandError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CommandError::new(format!("cannot open {}: {error}", path.display()))),
    }
}

fn wait_for(path: &Path) -> Result<File, CommandError> {
    loop {
        std::thread::sleep(POLL_INTERVAL);
        if let Some(file) = open(path)? {
            return Ok(file);
        }
    }
}

/// Tells a file that comes next and is not written yet, which is no error, from a wrong path.
///
/// A script may ask for the next file again and again; the original also answered a wrong name that way.
fn check_is_next(directory: &Path, start: Offset) -> Result<(), CommandError> {
    let path = directory.join(file_name(start));
    let wrong = |problem: String| {
        Err(CommandError::new(format!("cannot start at {}: {problem}; give the path of a file", path.display())))
    };
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let entries = match fs::read_dir(listed) {
        Ok(entries) => entries,
        Err(error) => return wrong(format!("its directory cannot be read ({error})")),
    };
    let earlier = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(SegmentName::parse_file_name))
        .filter(|other| *other < start)
        .max();
    let Some(earlier) = earlier else {
        return wrong("there is no such file, and none before it".into());
    };
    match covered_until(&directory.join(file_name(earlier)), earlier) {
        Some(next) if next == start => Ok(()),
        Some(next) if next > start => wrong(format!("there is no such file; its offset is in {}", file_name(earlier))),
        _ => wrong(format!("there is no such file; the last one before it is {}", file_name(earlier))),
    }
}

/// Where the file after a file starts, if the file is whole.
fn covered_until(path: &Path, start: Offset) -> Option<Offset> {
    let mut reader = SegmentReader::new(File::open(path).ok()?, start).ok()?;
    if let Some(header) = reader.header().ours() {
        return Some(header.next_offset());
    }
    while reader.next_block().ok()?.is_some() {}
    start.advanced_by(reader.record_count())
}
