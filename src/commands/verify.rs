//! `kafka-store verify`: is an archive whole?

use super::bar::Bar;
use super::error::CommandError;
use super::index;
use super::interrupt::Interrupt;
use super::location::Location;
use super::memory::MemoryArgs;
use super::print::{Output, finish};
use crate::archive::{AgainstIndex, AgainstKafka, Depth, KafkaTail, VerifyJob, VerifyState};
use crate::cli::{GcsArgs, IndexArgs, Redacted};
use crate::exit::ExitCode;
use clap::{ArgGroup, Args};
use std::io::{self, Write};
use std::path::PathBuf;

mod kafka;
mod output;

/// Arguments of `kafka-store verify`.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("depth").args(["quick", "deep", "sample"])))]
pub struct VerifyArgs {
    /// The place of an archive, a topic or a partition: a directory, or gs://BUCKET/PREFIX
    #[arg(value_name = "LOCATION")]
    pub location: PathBuf,
    /// Look at names, headers, ends of files and stored checksums (this is the default)
    #[arg(long)]
    pub quick: bool,
    /// Read every byte: checksums, every record, and where each segment ends
    #[arg(long)]
    pub deep: bool,
    /// Read a part of the segments as --deep does, and look at the others as --quick does: 5%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub sample: Option<f64>,
    /// Draw the same sample again: the number that an earlier run printed [default: a new one]
    #[arg(long, value_name = "N", requires = "sample")]
    pub seed: Option<u64>,
    /// Keep in this file what has been read whole, and read it no second time as long as it stays as it is. Segments
    /// that it names and that are missing at a partition's end are a problem
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// A second location that must hold the same segments
    #[arg(long, value_name = "LOCATION")]
    pub mirror: Option<PathBuf>,
    /// Print one object of JSON
    #[arg(long)]
    pub json: bool,
    /// Segments read concurrently, and partitions whose records are compared with Kafka's (at most 4)
    /// [default: one for each core; --quick: 4, in a bucket 32]
    #[arg(long, value_name = "N", value_parser = super::parse_parallel)]
    pub parallel: Option<usize>,
    /// Compare with Kafka: ids of cluster and topics, each partition's last archived record, the log's ends and the
    /// group's commits. With --deep: every record that Kafka still has. Joins no group
    #[arg(long, requires_all = ["broker_list", "group"], help_heading = "Kafka")]
    pub against_kafka: bool,
    /// Compare the archive with the rows of the index (--mysql-metadata-url)
    #[arg(long, help_heading = "Index")]
    pub index: bool,
    /// Access to the index.
    #[command(flatten)]
    pub index_flags: IndexArgs,
    /// Brokers to ask first, separated by commas
    #[arg(long, value_name = "HOST:PORT,…", requires = "against_kafka", help_heading = "Kafka")]
    pub broker_list: Option<String>,
    /// The consumer group that archives
    #[arg(long, value_name = "GROUP", requires = "against_kafka", help_heading = "Kafka")]
    pub group: Option<String>,
    /// Property of librdkafka, such as security.protocol=SSL; may be repeated
    #[arg(short = 'X', value_name = "KEY=VALUE", requires = "against_kafka", help_heading = "Kafka")]
    pub kafka_properties: Vec<Redacted>,
    /// Memory for decoding.
    #[command(flatten)]
    pub memory: MemoryArgs,
    /// Access to Google Cloud Storage.
    #[command(flatten)]
    pub gcs: GcsArgs,
}

/// The share that a percentage is.
fn parse_percent(text: &str) -> Result<f64, String> {
    let percent: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    percent.map(|percent| percent / 100.0).ok_or_else(|| "a part is a percentage from 0 to 100, as in 5%".into())
}

/// Verifies what `args` ask for.
///
/// # Errors
/// One line, if the archive cannot be verified. Problems of the archive are printed, and set the exit code.
pub fn run(args: &VerifyArgs) -> Result<ExitCode, CommandError> {
    let interrupt = Interrupt::watch()?;
    args.memory.limit_process();
    verify(args, &interrupt, io::stdout().lock())
}

/// Parameters of the run that the report repeats.
struct Run {
    location: String,
    depth: Depth,
    tails: Vec<KafkaTail>,
}

fn verify(args: &VerifyArgs, interrupt: &Interrupt, target: impl Write) -> Result<ExitCode, CommandError> {
    let place = Location::find_remains(&args.location, &args.gcs)?;
    let mirror = args.mirror.as_ref().map(|mirror| Location::find_mirror(mirror, &place, &args.gcs)).transpose()?;
    let location = place.store.describe();
    let failed = |error: &dyn std::error::Error| CommandError::from_error(error);
    let state = args.state.as_ref().map(|path| VerifyState::open(path, &location)).transpose();
    let state = state.map_err(|error| failed(&error))?;
    let kafka = kafka::Group::connect(args)?;
    let index =
        if args.index { Some(index::open(&args.index_flags)?) } else { index::open_if_named(&args.index_flags)? };
    if let Some(index) = &index {
        index.check_schema().map_err(|error| failed(&error))?;
    }
    let depth = depth(args);
    let job = VerifyJob {
        store: place.store.as_ref(),
        chains: place.chains().map_err(|error| failed(&error))?,
        scope: place.scope.clone(),
        depth,
        threads: args.parallel.unwrap_or_else(|| if depth == Depth::Quick { place.lookers() } else { super::cores() }),
        mirror: mirror.as_ref().map(|mirror| mirror.store.as_ref()),
        state: state.as_ref(),
        stop: interrupt.flag(),
    };
    let mut report = job.run(&Bar::new("verified")).map_err(|error| failed(&error))?;
    let kept = if state.is_some() { "; the same command goes on where it was" } else { "" };
    let interrupted = || CommandError::interrupted(format!("interrupted{kept}"));
    if report.is_stopped {
        return Err(interrupted());
    }
    let tails = match &kafka {
        None => Vec::new(),
        Some(kafka) => {
            let against = AgainstKafka {
                client: kafka.client(),
                readers: kafka.readers(),
                group: kafka.name(),
                store: place.store.as_ref(),
                scope: &place.scope,
                is_deep: depth == Depth::Deep,
                threads: args.parallel.unwrap_or_else(super::cores),
                stop: interrupt.flag(),
            };
            against.compare(&mut report, &Bar::new("compared")).map_err(|error| failed(&error))?
        }
    };
    if report.is_stopped {
        return Err(interrupted());
    }
    if let Some(index) = &index {
        let against = AgainstIndex { store: place.store.as_ref(), index, scope: &place.scope, depth };
        against.compare(&mut report).map_err(|error| failed(&error))?;
    }
    let run = Run { location, depth, tails };
    let mut output = Output::new(target);
    let printed = if args.json {
        output::print_json(&run, &report, &mut output)
    } else {
        output::print_text(&run, &report, &mut output)
    };
    finish(output, printed)?;
    Ok(if report.problems.is_empty() { ExitCode::Done } else { ExitCode::Problems })
}

fn depth(args: &VerifyArgs) -> Depth {
    match args.sample {
        Some(share) => Depth::Sample { share, seed: args.seed.unwrap_or_else(new_seed) },
        None if args.deep => Depth::Deep,
        None => Depth::Quick,
    }
}

/// Short enough to be typed again.
fn new_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| u64::from(since.subsec_nanos()) ^ since.as_secs()) % 1_000_000
}
