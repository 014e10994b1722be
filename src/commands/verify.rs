//! `kafka-store verify`: is an archive whole?

use super::bar::Bar;
use super::error::CommandError;
use super::index;
use super::interrupt::Interrupt;
use super::location::Location;
use super::print::{Output, Stop, finish};
use super::table::{Table, grouped, size};
use crate::archive::{AgainstIndex, AgainstKafka, ChainReport, Depth, KafkaTail, VerifyJob, VerifyReport, VerifyState};
use crate::cli::{GcsArgs, IndexArgs, Redacted};
use crate::exit::ExitCode;
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;

mod kafka;

/// What to verify, and how.
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
    /// Keep in this file what has been read whole, and read it no second time as long as it stays as it is
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// A second location that must hold the same segments
    #[arg(long, value_name = "LOCATION")]
    pub mirror: Option<PathBuf>,
    /// Print one object of JSON
    #[arg(long)]
    pub json: bool,
    /// How many segments are read at a time [default: one for each core; --quick: 4, in a bucket 32]
    #[arg(long, value_name = "N", value_parser = super::parse_parallel)]
    pub parallel: Option<usize>,
    /// Compare the archive's ends with Kafka's log and with what the group has committed
    #[arg(long, requires_all = ["broker_list", "group"], help_heading = "Kafka")]
    pub against_kafka: bool,
    /// Compare the archive with the rows of the index (--mysql-metadata-url)
    #[arg(long, help_heading = "Index")]
    pub index: bool,
    /// Where the index is.
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
    /// How Google Cloud Storage is reached.
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
/// What keeps it from being verified: one line. What is wrong with the archive is printed, and is the exit code.
pub fn run(args: &VerifyArgs) -> Result<ExitCode, CommandError> {
    let interrupt = Interrupt::watch()?;
    verify(args, &interrupt, io::stdout().lock())
}

/// What a run was, for the report.
struct Run {
    location: String,
    depth: Depth,
    tails: Vec<KafkaTail>,
}

fn verify(args: &VerifyArgs, interrupt: &Interrupt, target: impl Write) -> Result<ExitCode, CommandError> {
    let place = Location::find_place(&args.location, &args.gcs)?;
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
    if report.is_stopped {
        let kept = if state.is_some() { "; the same command goes on where it was" } else { "" };
        return Err(CommandError::interrupted(format!("interrupted{kept}")));
    }
    let tails = match &kafka {
        None => Vec::new(),
        Some(kafka) => {
            let against = AgainstKafka { client: kafka.client(), group: kafka.name() };
            against.compare(&mut report).map_err(|error| failed(&error))?
        }
    };
    if let Some(index) = &index {
        let against = AgainstIndex { store: place.store.as_ref(), index, scope: &place.scope, depth };
        against.compare(&mut report).map_err(|error| failed(&error))?;
    }
    let run = Run { location, depth, tails };
    let mut output = Output::new(target);
    let printed =
        if args.json { print_json(&run, &report, &mut output) } else { print_text(&run, &report, &mut output) };
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

fn print_text<W: Write>(run: &Run, report: &VerifyReport, output: &mut Output<W>) -> Result<(), Stop> {
    let mut table =
        Table::new(&["PARTITION", ">SEGMENTS", ">FIRST", ">NEXT", ">RECORDS", ">INVISIBLE", ">SIZE", ">READ"]);
    let known = |number: Option<String>| number.unwrap_or_else(|| "?".to_owned());
    for chain in &report.chains {
        let records = grouped(chain.records);
        table.row(vec![
            chain.chain.to_string(),
            grouped(chain.segments),
            chain.first_offset.map_or_else(String::new, |offset| offset.to_string()),
            known(chain.next_offset.map(|offset| offset.to_string())),
            if chain.unknown > 0 { format!("{records}+?") } else { records },
            grouped(chain.invisible),
            size(chain.bytes),
            grouped(chain.read_whole),
        ]);
    }
    table.write(output.line());
    if !run.tails.is_empty() {
        output.line().push(b'\n');
        tails_table(&run.tails).write(output.line());
    }
    output.line().push(b'\n');
    let mut line = |text: &dyn Display| {
        // A Vec takes everything.
        let _ = writeln!(output.line(), "{text}");
        output.line_done()
    };
    for note in &report.notes {
        line(&format_args!("note: {note}"))?;
    }
    for problem in &report.problems {
        line(problem)?;
    }
    line(&totals(run, report))?;
    match report.problems.len() {
        0 => line(&"no problems"),
        1 => line(&"1 problem"),
        count => line(&format_args!("{count} problems")),
    }
}

fn tails_table(tails: &[KafkaTail]) -> Table {
    let mut table =
        Table::new(&["PARTITION", ">ARCHIVED TO", ">COMMITTED", ">LOG START", ">LAST STABLE", ">LOG END", ">LAG"]);
    for tail in tails {
        let known = |offset: Option<String>| offset.unwrap_or_else(|| "-".to_owned());
        table.row(vec![
            tail.partition.to_string(),
            known(tail.next_offset.map(|offset| offset.to_string())),
            known(tail.committed.map(|offset| offset.to_string())),
            tail.log_start.to_string(),
            tail.last_stable.to_string(),
            tail.high_watermark.to_string(),
            known(tail.lag.map(grouped)),
        ]);
    }
    table
}

/// `3 partitions, 7 segments, 12.3 MB; read whole: 7`.
fn totals(run: &Run, report: &VerifyReport) -> String {
    let sum = |of: fn(&ChainReport) -> u64| report.chains.iter().map(of).sum::<u64>();
    let depth = match run.depth {
        Depth::Quick => "their headers and ends".to_owned(),
        Depth::Deep => "every byte".to_owned(),
        Depth::Sample { share, seed } => format!("every byte of {} % of them (--seed {seed})", share * 100.0),
    };
    format!(
        "{}: {} partitions, {} segments, {} records, {}; verified: {depth}",
        run.location,
        grouped(report.chains.len() as u64),
        grouped(sum(|chain| chain.segments)),
        grouped(sum(|chain| chain.records)),
        size(sum(|chain| chain.bytes)),
    )
}

fn print_json<W: Write>(run: &Run, report: &VerifyReport, output: &mut Output<W>) -> Result<(), Stop> {
    let (depth, share, seed) = match run.depth {
        Depth::Quick => ("quick", None, None),
        Depth::Deep => ("deep", None, None),
        Depth::Sample { share, seed } => ("sample", Some(share), Some(seed)),
    };
    let problems = report.problems.iter().map(|problem| {
        json!({
            "kind": problem.kind.as_str(),
            "chain": problem.chain.to_string(),
            "location": problem.location,
            "message": problem.message,
        })
    });
    let object = json!({
        "location": run.location,
        "depth": depth,
        "share": share,
        "seed": seed,
        "chains": report.chains.iter().map(chain_json).collect::<Value>(),
        "kafka": run.tails.iter().map(tail_json).collect::<Value>(),
        "notes": report.notes,
        "problems": problems.collect::<Value>(),
    });
    let _ = writeln!(output.line(), "{object}");
    output.line_done()
}

fn chain_json(chain: &ChainReport) -> Value {
    json!({
        "topic": chain.chain.topic_partition.topic.as_str(),
        "partition": chain.chain.topic_partition.partition.get(),
        "lineage": chain.chain.lineage,
        "origin": chain.origin.map(|origin| origin.offset.get()),
        "pruned": chain.pruned.map(|range| json!([range.start().get(), range.final_offset().get()])),
        "first_offset": chain.first_offset.map(|offset| offset.get()),
        "next_offset": chain.next_offset.map(|offset| offset.get()),
        "segments": chain.segments,
        "read_whole": chain.read_whole,
        "unknown_segments": chain.unknown,
        "record_count": chain.records,
        "invisible_count": chain.invisible,
        "deleted_count": chain.deleted,
        "bytes": chain.bytes,
    })
}

fn tail_json(tail: &KafkaTail) -> Value {
    json!({
        "topic": tail.partition.topic.as_str(),
        "partition": tail.partition.partition.get(),
        "next_offset": tail.next_offset.map(|offset| offset.get()),
        "committed": tail.committed.map(|offset| offset.get()),
        "log_start": tail.log_start.get(),
        "last_stable": tail.last_stable.get(),
        "high_watermark": tail.high_watermark.get(),
        "lag": tail.lag,
    })
}
