//! `kafka-store read`: prints the records of a file, a partition, a topic or an archive.

use super::bar::Bar;
use super::error::CommandError;
use super::index::open_if_named;
use super::interrupt::Interrupt;
use super::lines::print_record;
use super::location::{Location, Place};
use super::memory::MemoryArgs;
use super::patience::Patience;
use super::print::{Output, Stop, finish};
use super::window::WindowArgs;
use crate::archive::{ArchiveError, ChainStart, Reached, ReadJob, SegmentContext, TakeRecords, Watch, Window, Work};
use crate::avro::Record;
use crate::cli::{GcsArgs, IndexArgs};
use crate::exit::ExitCode;
use crate::index::{IndexError, Moment, MysqlIndex};
use crate::store::{LooseFiles, OnlySegment, SegmentSource, StoreError};
use clap::{Args, ValueEnum};
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// What to print.
#[derive(Args, Clone, Debug)]
pub struct ReadArgs {
    /// A file, or the place of a partition, a topic or an archive: a path, or gs://BUCKET/PREFIX
    #[arg(value_name = "LOCATION")]
    pub location: PathBuf,
    /// Which records.
    #[command(flatten)]
    pub window: WindowArgs,
    /// What a record is printed as
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// Go on with each next file when it is there, also of new partitions, until Ctrl-C or --to-offset
    ///
    /// What is there at the start comes in the order of topic, partition and offset; then partitions come as their
    /// files do, each in its order.
    #[arg(long)]
    pub follow: bool,
    /// Memory for decoding.
    #[command(flatten)]
    pub memory: MemoryArgs,
    /// How Google Cloud Storage is reached.
    #[command(flatten)]
    pub gcs: GcsArgs,
    /// An index that says in which file --from-time begins: earlier files are then not even looked at.
    #[command(flatten)]
    pub index: IndexArgs,
}

/// What a record is printed as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line of JSON with everything; bytes that are not UTF-8 in base64
    #[default]
    Json,
    /// The value's bytes as they are, and a newline; nothing for a null but the newline
    Value,
    /// Topic, partition and offset, then key and value in hexadecimal, 32 bytes a line
    Hex,
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
    let window = args.window.window()?;
    let location = Location::find(&args.location, &args.gcs)?;
    let index = index_for(args)?;
    let mut output = Output::new(target);
    let printed = match location {
        Location::File { .. } | Location::Object { .. } if args.follow => {
            return Err(CommandError::new("--follow goes on with files: give the place of a partition"));
        }
        Location::File { path, start, chain } => print_file(args, &path, start, chain.as_ref(), &mut output),
        Location::Object { store, name } => print_object(args, OnlySegment { store, name }, &mut output),
        Location::Place(place) => print_place(args, &place, window, index.as_ref(), &mut output),
    };
    finish(output, printed)
}

/// Everything that is there, and with `--follow` what comes.
fn print_place<W: Write>(
    args: &ReadArgs,
    place: &Place,
    window: Window,
    index: Option<&MysqlIndex>,
    output: &mut Output<W>,
) -> Result<(), Stop> {
    let interrupt = if args.follow { Some(Interrupt::watch()?) } else { None };
    let never = AtomicBool::new(false);
    let stop = interrupt.as_ref().map_or(&never, Interrupt::flag);
    let begins = Begins { index, from: window.times.from };
    let mut chains = Chains::default();
    let mut patience = Patience::new(place.poll_interval());
    loop {
        let bar = bar(args, place)?;
        let starts = chains.still_open(place, &begins)?;
        let source: &dyn SegmentSource = &place.store;
        let reached = print_chains(args, source, starts, stop, &bar, output, &Belongs::WhereItLies)?;
        drop(bar);
        output.flush()?;
        let Some(interrupt) = &interrupt else { return Ok(()) };
        if reached.is_stopped {
            return Ok(());
        }
        let is_news = chains.reached(reached);
        if (window.offsets.to.is_some() && chains.are_all_ended()) || !patience.wait(is_news, interrupt) {
            return Ok(());
        }
    }
}

/// The index that `--from-time` is to be looked up in.
fn index_for(args: &ReadArgs) -> Result<Option<MysqlIndex>, CommandError> {
    let index = open_if_named(&args.index)?;
    if index.is_some() && args.window.from_time.is_none() {
        let message = "--mysql-metadata-url is only for --from-time: give both, or neither";
        return Err(CommandError::with_code(message, ExitCode::WrongUsage));
    }
    if let Some(index) = &index {
        index.check_schema().map_err(|error| CommandError::from_error(&error))?;
    }
    Ok(index)
}

/// Where chains begin to be read.
struct Begins<'a> {
    index: Option<&'a MysqlIndex>,
    from: Option<TimestampMs>,
}

impl Begins<'_> {
    /// What need not be read of a chain: up to the segment before the first one with a record of that time or later.
    fn after(&self, chain: &ChainName) -> Result<Option<OffsetRange>, CommandError> {
        let (Some(index), Some(from)) = (self.index, self.from) else { return Ok(None) };
        let failed = |error: IndexError| CommandError::from_error(&error);
        let first = match index.find_time(chain, from).map_err(failed)? {
            Moment::In(row) => row.name.start,
            // The index does not know: the files say it themselves.
            Moment::Later | Moment::Unknown { .. } | Moment::Nowhere => return Ok(None),
        };
        let Some(last_before) = first.previous() else { return Ok(None) };
        let before = index.find_offset(chain, last_before).map_err(failed)?;
        Ok(before.and_then(|row| OffsetRange::new(row.name.start, row.final_offset)))
    }
}

/// Where each chain has been read to.
#[derive(Default)]
struct Chains(BTreeMap<ChainName, (Option<OffsetRange>, bool)>);

impl Chains {
    /// The chains that there are now and that are not ended.
    fn still_open(&mut self, place: &Place, begins: &Begins<'_>) -> Result<Vec<ChainStart>, CommandError> {
        for chain in place.chains().map_err(|error| CommandError::from_error(&error))? {
            if let Entry::Vacant(entry) = self.0.entry(chain) {
                let before = begins.after(entry.key())?;
                entry.insert((before, false));
            }
        }
        let open = self.0.iter().filter(|(_, (_, is_ended))| !is_ended);
        Ok(open.map(|(chain, (before, _))| ChainStart { chain: chain.clone(), before: *before }).collect())
    }

    /// Whether there was something.
    fn reached(&mut self, reached: Reached) -> bool {
        let is_news = !reached.segments.is_empty();
        for (chain, covered) in reached.segments {
            self.0.entry(chain).or_default().0 = Some(covered);
        }
        for chain in reached.ended {
            self.0.entry(chain).or_default().1 = true;
        }
        is_news
    }

    fn are_all_ended(&self) -> bool {
        self.0.values().all(|(_, is_ended)| *is_ended)
    }
}

/// One file alone: it need not lie in an archive.
fn print_file<W: Write>(
    args: &ReadArgs,
    path: &Path,
    start: Offset,
    chain: Option<&ChainName>,
    output: &mut Output<W>,
) -> Result<(), Stop> {
    let source = LooseFiles::only(path.parent().unwrap_or(Path::new("")), start);
    let starts = vec![ChainStart { chain: LooseFiles::chain(), before: None }];
    let never = AtomicBool::new(false);
    print_chains(args, &source, starts, &never, &Bar::hidden(), output, &Belongs::AsItSays(chain)).map(drop)
}

/// One segment in a bucket.
fn print_object<W: Write>(args: &ReadArgs, source: OnlySegment, output: &mut Output<W>) -> Result<(), Stop> {
    let starts = vec![ChainStart { chain: source.name.chain.clone(), before: None }];
    let never = AtomicBool::new(false);
    print_chains(args, &source, starts, &never, &Bar::hidden(), output, &Belongs::WhereItLies).map(drop)
}

/// Which chain a segment belongs to.
enum Belongs<'a> {
    /// The one that it was found in.
    WhereItLies,
    /// The one that it names, or else the one whose directory it is in.
    AsItSays(Option<&'a ChainName>),
}

impl Belongs<'_> {
    fn to<'s>(&'s self, segment: SegmentContext<'s>) -> Option<&'s ChainName> {
        match self {
            Belongs::WhereItLies => Some(&segment.name.chain),
            Belongs::AsItSays(directory) => {
                segment.header.ours().map(|header| &header.name.chain).or(directory.as_ref().copied())
            }
        }
    }
}

fn print_chains<W: Write>(
    args: &ReadArgs,
    source: &dyn SegmentSource,
    chains: Vec<ChainStart>,
    stop: &AtomicBool,
    bar: &Bar,
    output: &mut Output<W>,
    belongs: &Belongs<'_>,
) -> Result<Reached, Stop> {
    let window = args.window.window()?;
    let (threads, memory_limit) = (args.window.threads(), args.memory.memory_limit);
    let job = ReadJob { source, chains, window, threads, memory_limit, stop, watch: bar };
    let format = args.format;
    let each = |context: SegmentContext<'_>, record: &Record<'_>, lines: &mut Vec<u8>| {
        print_record(belongs.to(context), context.name.start, record, format, lines);
    };
    job.run_with(&each, &mut Printer { output, belongs, format })
}

/// Prints what was read.
struct Printer<'a, W: Write> {
    output: &'a mut Output<W>,
    belongs: &'a Belongs<'a>,
    format: Format,
}

impl<W: Write> TakeRecords<Vec<u8>, Stop> for Printer<'_, W> {
    fn take(&mut self, lines: &mut Vec<u8>) -> Result<(), Stop> {
        self.output.take_lines(lines)
    }

    fn take_record(&mut self, context: SegmentContext<'_>, record: &Record<'_>) -> Result<(), Stop> {
        print_record(self.belongs.to(context), context.name.start, record, self.format, self.output);
        self.output.line_done()
    }
}

/// A bar beside output that is not on the same terminal.
fn bar(args: &ReadArgs, place: &Place) -> Result<Bar, Stop> {
    if args.follow || !io::stderr().is_terminal() || io::stdout().is_terminal() {
        return Ok(Bar::hidden());
    }
    let bar = Bar::new("read");
    let mut bytes = 0;
    for chain in place.chains().map_err(ArchiveError::from)? {
        let objects: Result<_, StoreError> = place.store.objects_from(&chain, None);
        bytes += objects.map_err(ArchiveError::from)?.iter().map(|(_, stat)| stat.bytes).sum::<u64>();
    }
    bar.begin(Work::Bytes(bytes));
    Ok(bar)
}

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Stop {
        Stop::Failed(CommandError::from_error(&error))
    }
}
