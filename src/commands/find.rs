//! `kafka-store find`: which file holds an offset or a moment.

use super::error::CommandError;
use super::index::{failed, open_if_named};
use super::location::bucket;
use super::memory::MemoryArgs;
use super::print::{Output, Stop, finish};
use super::window::{parse_offset, parse_time};
use crate::archive::{Search, Sought};
use crate::cli::{GcsArgs, IndexArgs};
use crate::exit::ExitCode;
use crate::index::{MysqlIndex, RowValues};
use crate::store::{ArchiveStore, LocalStore};
use clap::{ArgGroup, Args};
use kafka_store_actors::ports::Timestamps;
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::{PartitionId, TopicName};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What to find.
///
/// With --offset: the file that covers it. With --time: the first file with a record of that time or a later one, as
/// Kafka itself finds offsets for times; what is older lies before it. One line for each partition.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("sought").required(true).args(["offset", "time"])))]
pub struct FindArgs {
    /// The topic
    #[arg(value_parser = parse_topic)]
    pub topic: TopicName,
    /// The partition [default: all]
    #[arg(value_parser = parse_partition)]
    pub partition: Option<PartitionId>,
    /// The file that covers this offset
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset)]
    pub offset: Option<Offset>,
    /// The first file with a record of this time or later: 2026-11-22T10:57:45Z, or milliseconds since 1970
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = parse_time)]
    pub time: Option<i64>,
    /// Print one object of JSON a line
    #[arg(long)]
    pub json: bool,
    /// The archive's directory, to look there where no index is named, or the index does not know
    #[arg(long, value_name = "DIR", help_heading = "Store")]
    pub local_store: Option<PathBuf>,
    /// The archive's bucket, to look there instead
    #[arg(long, value_name = "gs://BUCKET[/PREFIX]", conflicts_with = "local_store", help_heading = "Store")]
    pub gcloud_store_url: Option<String>,
    /// Memory for decoding, where files do not say what they hold.
    #[command(flatten)]
    pub memory: MemoryArgs,
    /// The way to the bucket.
    #[command(flatten)]
    pub gcs: GcsArgs,
    /// The index to ask.
    #[command(flatten)]
    pub index: IndexArgs,
}

fn parse_topic(text: &str) -> Result<TopicName, String> {
    TopicName::new(text).map_err(|error| error.to_string())
}

fn parse_partition(text: &str) -> Result<PartitionId, String> {
    let partition = text.parse().ok().and_then(PartitionId::new);
    partition.ok_or_else(|| "a partition is a whole number from 0 on".into())
}

/// Prints what `args` ask for.
///
/// # Errors
/// If nothing is named to ask, it does not answer, or there is no such file in any partition.
pub fn run(args: &FindArgs) -> Result<ExitCode, CommandError> {
    args.memory.limit_process();
    let index = open_if_named(&args.index)?;
    if let Some(index) = &index {
        index.check_schema().map_err(|error| failed(&error))?;
    }
    let store = open_store(args)?;
    if index.is_none() && store.is_none() {
        let message = "name an index to ask (--mysql-metadata-url) or an archive (--local-store, --gcloud-store-url)";
        return Err(CommandError::with_code(message, ExitCode::WrongUsage));
    }
    let search = Search { index: index.as_ref(), store: store.as_deref() };
    let sought = match (args.offset, args.time) {
        (Some(offset), _) => Sought::Offset(offset),
        (None, Some(time)) => Sought::Time(time),
        (None, None) => unreachable!("one of the two is required"),
    };
    let found = search.find(&args.topic, args.partition, sought).map_err(|error| failed(&error))?;
    let is_found = found.iter().any(|(_, row)| row.is_some());
    let mut output = Output::new(io::stdout().lock());
    let printed = print(args, &found, &mut output);
    finish(output, printed)?;
    if is_found {
        return Ok(ExitCode::Done);
    }
    Err(CommandError::new(nothing(args, sought, found.is_empty(), index.as_ref())))
}

/// The archive that is named, if one is.
fn open_store(args: &FindArgs) -> Result<Option<Arc<dyn ArchiveStore>>, CommandError> {
    if let Some(url) = &args.gcloud_store_url {
        return bucket::archive(url, &args.gcs).map(Some);
    }
    let Some(directory) = &args.local_store else { return Ok(None) };
    let store = LocalStore::open_read_only(directory).map_err(|error| failed(&error))?;
    Ok(Some(Arc::new(store)))
}

/// A moment as people read it, where it has a date.
fn shown(milliseconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| milliseconds.to_string())
}

type Found = (ChainName, Option<RowValues>);

fn print<W: Write>(args: &FindArgs, found: &[Found], output: &mut Output<W>) -> Result<(), Stop> {
    for (chain, row) in found {
        let Some(row) = row else { continue };
        // A Vec takes everything.
        let _ = if args.json { write_json(output.line(), row) } else { write_text(output.line(), chain, row) };
        output.line_done()?;
    }
    Ok(())
}

/// `orders-3  184467 to 391021  /srv/archive/orders/000003/00000000000000184467`.
fn write_text(line: &mut Vec<u8>, chain: &ChainName, row: &RowValues) -> io::Result<()> {
    let lineage = if chain.lineage > 1 { format!("~{}", chain.lineage) } else { String::new() };
    let (start, end) = (row.name.start, row.final_offset);
    let object = row.object_url.clone().unwrap_or_else(|| row.name.to_string());
    let times = row.timestamps.map_or_else(String::new, |Timestamps { least, greatest, .. }| {
        format!("  {} to {}", shown(least), shown(greatest))
    });
    writeln!(line, "{}{lineage}  {start} to {end}{times}  {object}", chain.topic_partition)
}

fn write_json(line: &mut Vec<u8>, row: &RowValues) -> io::Result<()> {
    let partition = &row.name.chain.topic_partition;
    let times = row.timestamps;
    let object = json!({
        "topic": partition.topic.as_str(),
        "partition": partition.partition.get(),
        "lineage": row.name.chain.lineage,
        "start_offset": row.name.start.get(),
        "final_offset": row.final_offset.get(),
        "segment": row.name.to_string(),
        "object_url": row.object_url,
        "file_bytes": row.file_bytes,
        "record_count": row.record_count,
        "min_timestamp": times.map(|times| times.least),
        "max_timestamp": times.map(|times| times.greatest),
    });
    writeln!(line, "{object}")
}

fn nothing(args: &FindArgs, sought: Sought, is_unknown: bool, index: Option<&MysqlIndex>) -> String {
    let place = index.map_or_else(|| "the archive".to_owned(), MysqlIndex::describe);
    let partition = args.partition.map_or_else(String::new, |partition| format!("-{partition}"));
    let of = format!("{}{partition}", args.topic);
    if is_unknown {
        return format!("{place} knows nothing of {of}");
    }
    match sought {
        Sought::Offset(offset) => format!("no file of {of} holds the offset {offset}, by {place}"),
        Sought::Time(time) => format!("all records of {of} are older than {}, by {place}", shown(time)),
    }
}
