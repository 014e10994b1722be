//! `kafka-store-reader`: the original tool's reader, line by line.

use super::bar::Bar;
use super::error::CommandError;
use super::json::JsonLine;
use super::location::bucket;
use super::memory::MemoryArgs;
use super::print::{Output, Sink, Stop, finish};
use super::window::WindowArgs;
use crate::archive::{ArchiveError, ChainStart, ReadJob, SegmentContext, TakeRecords, Window};
use crate::avro::{Record, SegmentReader};
use crate::cli::GcsArgs;
use crate::store::{LooseFiles, SegmentSource};
use clap::{Parser, Subcommand};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Prints saved kafka-store records as JSON, one line each
#[derive(Debug, Parser)]
#[command(name = "kafka-store-reader", version, infer_long_args = true, after_help = AFTER_HELP)]
pub struct ReaderCli {
    /// Wait for files if they are not written yet
    #[arg(long, global = true)]
    wait: bool,
    /// As --wait, without a word on stderr
    #[arg(long, global = true)]
    follow: bool,
    /// Which records.
    #[command(flatten)]
    window: WindowArgs,
    /// Memory for decoding.
    #[command(flatten)]
    memory: MemoryArgs,
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
    /// Objects in Google Cloud Storage (`kafka-store-reader gs://…` is short for it)
    Gcs {
        /// The first object to print: gs://BUCKET/PREFIX/TOPIC/PARTITION/OFFSET
        #[arg(value_parser = parse_url)]
        url: String,
        /// How Google Cloud Storage is reached.
        #[command(flatten)]
        gcs: GcsArgs,
    },
}

fn parse_url(text: &str) -> Result<String, String> {
    let is_url = text.starts_with(bucket::SCHEME);
    is_url.then(|| text.to_owned()).ok_or_else(|| "it must begin with gs://".into())
}

const AFTER_HELP: &str = "\
From PATH on, file after file is printed until the next one is not there. A line has
filename, key, offset, timestamp (ms) and value; `headers` where there are some, as
[[name, value], ...]; bytes that are not UTF-8 come as key_base64 and value_base64
instead, in headers as {\"base64\": ...}.

`kafka-store read` prints whole partitions, topics and archives.

Exit codes: 0 printed all there is; 1 could not; 2 wrong usage.";

/// How often `--wait` looks for the next file.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Prints what `cli` asks for.
///
/// # Errors
/// A wrong path, or a file that is not whole: one line each, after the records before it.
pub fn run(cli: &ReaderCli) -> Result<(), CommandError> {
    let window = cli.window.window()?;
    cli.memory.limit_process();
    let (source, name): (Box<dyn SegmentSource>, SegmentName) = match &cli.store {
        Store::Local { path } => {
            let (directory, start) = split(path)?;
            (Box::new(LooseFiles::in_directory(&directory)), LooseFiles::chain().segment(start))
        }
        Store::Gcs { url, gcs } => {
            let (store, name) = bucket::segment(url, gcs)?;
            (Box::new(store), name)
        }
    };
    let files = Files { cli, source: source.as_ref(), chain: name.chain, window };
    let mut output = Output::new(io::stdout().lock());
    let result = files.print(name.start, &mut output);
    finish(output, result)
}

impl ReaderCli {
    /// Reads a command line.
    ///
    /// # Errors
    /// If it is wrong, or asks for help.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<ReaderCli, clap::Error> {
        let mut args: Vec<OsString> = args.into_iter().collect();
        let is_url = |arg: &OsString| arg.as_bytes().starts_with(bucket::SCHEME.as_bytes());
        let has_store = args.iter().skip(1).any(|arg| arg == "local" || arg == "gcs");
        if let (Some(at), false) = (args.iter().position(is_url), has_store) {
            args.insert(at, "gcs".into());
        }
        ReaderCli::try_parse_from(args)
    }
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

/// Files that follow each other by their names.
struct Files<'a> {
    cli: &'a ReaderCli,
    source: &'a dyn SegmentSource,
    chain: ChainName,
    window: Window,
}

/// How a run over the files that were there has ended.
enum RunEnd {
    /// The next file in line is not there.
    Next(Offset),
    /// The last wanted record is printed.
    Last,
}

impl Files<'_> {
    fn print<W: Write>(&self, first: Offset, output: &mut Output<W>) -> Result<(), Stop> {
        let mut next = first;
        loop {
            if !self.is_there(next)? {
                output.flush()?;
                if !self.waits() {
                    if next == first {
                        self.check_is_next(first)?;
                    }
                    let _ = write!(io::stderr(), "Next file not ready.");
                    return Ok(());
                }
                self.wait_for(next)?;
            }
            match self.print_from(next, output)? {
                RunEnd::Next(after) => next = after,
                RunEnd::Last => return Ok(()),
            }
        }
    }

    fn waits(&self) -> bool {
        self.cli.wait || self.cli.follow
    }

    /// Prints the file that starts at `start`, which is there, and those that follow on it.
    fn print_from<W: Write>(&self, start: Offset, output: &mut Output<W>) -> Result<RunEnd, Stop> {
        // What would be before it: the file that follows must be this one.
        let before = start.previous().and_then(|last| OffsetRange::new(last, last));
        let chains = vec![ChainStart { chain: self.chain.clone(), before }];
        let (stop, bar) = (AtomicBool::new(false), Bar::hidden());
        let threads = self.cli.window.threads();
        let memory_limit = self.cli.memory.memory_limit;
        let (source, window) = (self.source, self.window);
        let job = ReadJob { source, chains, window, threads, memory_limit, stop: &stop, watch: &bar };
        let each = |context: SegmentContext<'_>, record: &Record<'_>, lines: &mut Vec<u8>| {
            print_record(context.name.start, record, lines);
        };
        match job.run_with(&each, &mut Printer(output)) {
            Ok(reached) if reached.ended.is_empty() => {
                let covered = reached.segments.get(&self.chain).copied();
                Ok(covered.map_or(RunEnd::Last, |covered| RunEnd::Next(covered.next_offset())))
            }
            Ok(_) => Ok(RunEnd::Last),
            // The original follows the names: what else there is has no part in it.
            Err(RunError::Archive(ArchiveError::Missing { before, .. })) => Ok(RunEnd::Next(before.next())),
            Err(RunError::Archive(ArchiveError::Overlap { first, .. })) => Ok(RunEnd::Next(first.next_offset())),
            Err(RunError::Archive(error)) => Err(error.into()),
            Err(RunError::Stop(stop)) => Err(stop),
        }
    }

    fn location(&self, start: Offset) -> String {
        self.source.location(&self.chain.segment(start))
    }

    fn is_there(&self, start: Offset) -> Result<bool, Stop> {
        let opened = self.source.open(&self.chain.segment(start));
        Ok(opened.map_err(|error| CommandError::from_error(&error))?.is_some())
    }

    fn wait_for(&self, start: Offset) -> Result<(), Stop> {
        if !self.cli.follow {
            let _ = writeln!(io::stderr(), "Next file not ready yet. Waiting for: {}", self.location(start));
        }
        while !self.is_there(start)? {
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Tells a file that comes next and is not written yet, which is no error, from a wrong path.
    ///
    /// A script may ask for the next file again and again; the original also answered a wrong name that way.
    fn check_is_next(&self, start: Offset) -> Result<(), CommandError> {
        let wrong = |problem: String| {
            let location = self.location(start);
            Err(CommandError::new(format!("cannot start at {location}: {problem}; give the path of a file")))
        };
        let listed = match self.source.segments(&self.chain, None) {
            Ok(listed) => listed,
            Err(error) => {
                let error = CommandError::from_error(&error);
                return wrong(format!("its directory cannot be read ({error})"));
            }
        };
        let earlier = listed.into_iter().map(|(other, _)| other).filter(|other| *other < start).max();
        let Some(earlier) = earlier else {
            return wrong("there is no such file, and none before it".into());
        };
        let name = self.chain.segment(earlier).file_name();
        match self.covered_until(earlier) {
            Some(next) if next == start => Ok(()),
            Some(next) if next > start => wrong(format!("there is no such file; its offset is in {name}")),
            _ => wrong(format!("there is no such file; the last one before it is {name}")),
        }
    }

    /// Where the file after a file starts, if the file is whole.
    fn covered_until(&self, start: Offset) -> Option<Offset> {
        let file = self.source.open(&self.chain.segment(start)).ok()??;
        let mut reader = SegmentReader::new(file, start).ok()?;
        if let Some(header) = reader.header().ours() {
            return Some(header.next_offset());
        }
        while reader.next_block().ok()?.is_some() {}
        start.advanced_by(reader.record_count())
    }
}

/// Prints what was read.
struct Printer<'a, W: Write>(&'a mut Output<W>);

impl<W: Write> TakeRecords<Vec<u8>, RunError> for Printer<'_, W> {
    fn take(&mut self, lines: &mut Vec<u8>) -> Result<(), RunError> {
        self.0.take_lines(lines).map_err(RunError::Stop)
    }

    fn take_record(&mut self, context: SegmentContext<'_>, record: &Record<'_>) -> Result<(), RunError> {
        print_record(context.name.start, record, self.0);
        self.0.line_done().map_err(RunError::Stop)
    }
}

/// Why a run has ended early.
enum RunError {
    Archive(ArchiveError),
    Stop(Stop),
}

impl From<ArchiveError> for RunError {
    fn from(error: ArchiveError) -> RunError {
        RunError::Archive(error)
    }
}

fn print_record(start: Offset, record: &Record<'_>, out: &mut impl Sink) {
    let mut line = JsonLine::begin(out);
    line.segment("filename", start);
    line.headers(record.headers);
    line.bytes("key", "key_base64", record.fields.key);
    line.number("offset", record.fields.offset.get());
    line.number("timestamp", record.fields.timestamp);
    line.bytes("value", "value_base64", record.fields.value);
    line.end();
}
