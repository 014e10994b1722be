//! `kafka-store ls`: what an archive holds.

use super::error::CommandError;
use super::location::{Location, Place};
use super::memory::MemoryArgs;
use super::print::{Output, Stop, finish};
use super::table::{Table, grouped, moment, size};
use crate::archive::{ArchiveError, ChainSurvey, Joint, SegmentFacts, SurveyedSegment, facts_of, read_facts, survey};
use crate::avro::TimestampRange;
use crate::cli::GcsArgs;
use crate::store::ObjectStat;
use clap::Args;
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::offset::OffsetRange;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::PathBuf;

/// What to list.
#[derive(Args, Clone, Debug)]
pub struct LsArgs {
    /// The place of an archive, a topic or a partition: a directory, or gs://BUCKET/PREFIX
    #[arg(value_name = "LOCATION")]
    pub location: PathBuf,
    /// A line for each segment instead of each partition
    #[arg(long)]
    pub segments: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
    /// Read the files of the original tool, which do not say what they hold, to count their records
    #[arg(long)]
    pub deep: bool,
    /// How many segments are looked at at a time [default: 4 for each core, in a bucket 32]
    #[arg(long, value_name = "N", value_parser = super::parse_parallel)]
    pub parallel: Option<usize>,
    /// Memory for decoding, with --deep.
    #[command(flatten)]
    pub memory: MemoryArgs,
    /// How Google Cloud Storage is reached.
    #[command(flatten)]
    pub gcs: GcsArgs,
}

/// Lists what `args` ask for.
///
/// # Errors
/// A location that is no part of an archive, or a store that does not answer: one line.
pub fn run(args: &LsArgs) -> Result<(), CommandError> {
    args.memory.limit_process();
    list(args, io::stdout().lock())
}

/// [`run`], to any target instead of standard output.
///
/// # Errors
/// As [`run`].
pub fn list(args: &LsArgs, target: impl Write) -> Result<(), CommandError> {
    let place = Location::find_place(&args.location, &args.gcs)?;
    let mut output = Output::new(target);
    let listed = if args.json { list_json(args, &place, &mut output) } else { list_text(args, &place, &mut output) };
    finish(output, listed)
}

/// Each chain, one after the other.
fn each_chain(
    args: &LsArgs,
    place: &Place,
    mut each: impl FnMut(&ChainSurvey) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let chains = place.chains().map_err(ArchiveError::from)?;
    let threads = args.parallel.unwrap_or_else(|| place.lookers());
    for chain in chains {
        let facts = |name: &SegmentName, stat: &ObjectStat| {
            let facts = facts_of(place.store.as_ref(), name, stat)?;
            if args.deep && facts.header.is_none() { read_facts(place.store.as_ref(), name) } else { Ok(facts) }
        };
        each(&survey(place.store.as_ref(), &chain, threads, facts)?)?;
    }
    Ok(())
}

fn list_text<W: Write>(args: &LsArgs, place: &Place, output: &mut Output<W>) -> Result<(), Stop> {
    let mut table = Table::new(if args.segments { &SEGMENT_HEADINGS } else { &CHAIN_HEADINGS });
    let (mut chains, mut total) = (0_u64, Sum::default());
    each_chain(args, place, |survey| {
        let sum = Sum::of(survey);
        if args.segments {
            let remarks = Remarks::of(survey);
            for (segment, remark) in survey.segments.iter().zip(remarks.by_segment) {
                table.row(segment_row(survey, segment, remark));
            }
        } else {
            table.row(chain_row(survey, &sum));
        }
        chains += 1;
        total.add(&sum);
        Ok(())
    })?;
    table.write(output.line());
    let Sum { segments, bytes, .. } = total;
    // A Vec takes everything.
    let _ = writeln!(
        output.line(),
        "{} partitions, {} segments, {} records, {}",
        grouped(chains),
        grouped(segments),
        total.records(),
        size(bytes)
    );
    if total.unknown > 0 {
        let _ = writeln!(
            output.line(),
            "{} files of the original tool do not say what they hold: --deep reads them",
            grouped(total.unknown)
        );
    }
    output.line_done()
}

const CHAIN_HEADINGS: [&str; 9] =
    ["PARTITION", ">SEGMENTS", ">FIRST", ">LAST", ">RECORDS", "FROM", "TO", ">SIZE", "REMARKS"];
const SEGMENT_HEADINGS: [&str; 8] = ["SEGMENT", ">LAST", ">RECORDS", "FROM", "TO", ">SIZE", "CODEC", "REMARKS"];

/// What several segments hold together.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    segments: u64,
    records: u64,
    /// Segments of which it is not known how many records they have.
    unknown: u64,
    invisible: u64,
    deleted: u64,
    bytes: u64,
    times: Option<TimestampRange>,
}

impl Sum {
    fn of(survey: &ChainSurvey) -> Sum {
        let mut sum = Sum { segments: survey.segments.len() as u64, ..Sum::default() };
        for segment in &survey.segments {
            sum.bytes += segment.stat.bytes;
            let Ok(facts) = &segment.facts else { continue };
            sum.records += facts.record_count.unwrap_or(0);
            sum.unknown += u64::from(facts.record_count.is_none());
            sum.invisible += facts.invisible_count();
            sum.deleted += facts.deleted_count();
            if let Some(times) = facts.timestamps {
                let all = sum.times.get_or_insert(times);
                all.include(times.min);
                all.include(times.max);
            }
        }
        sum
    }

    fn add(&mut self, other: &Sum) {
        self.segments += other.segments;
        self.records += other.records;
        self.unknown += other.unknown;
        self.bytes += other.bytes;
    }

    fn records(&self) -> String {
        match (self.records, self.unknown) {
            (records, 0) => grouped(records),
            (0, _) => "?".to_owned(),
            (records, _) => format!("{}+?", grouped(records)),
        }
    }
}

/// What is remarkable, segment by segment.
struct Remarks {
    by_segment: Vec<String>,
}

impl Remarks {
    fn of(survey: &ChainSurvey) -> Remarks {
        let mut by_segment = vec![Vec::new(); survey.segments.len()];
        for (index, joint) in survey.joints() {
            by_segment[index].extend(joint_remark(joint));
        }
        for (remarks, segment) in by_segment.iter_mut().zip(&survey.segments) {
            match &segment.facts {
                Err(error) => remarks.push(format!("unreadable: {}", CommandError::from_error(error))),
                Ok(facts) => {
                    let gaps = facts.header.iter().flat_map(|header| &header.summary.gaps);
                    remarks.extend(gaps.map(|gap| format!("{} {}", gap.reason, range(gap.offsets))));
                    let invisible = facts.invisible_count();
                    remarks.extend((invisible > 0).then(|| format!("{} invisible", grouped(invisible))));
                    remarks.extend(facts.header.is_none().then(|| "of the original tool".to_owned()));
                }
            }
        }
        Remarks { by_segment: by_segment.into_iter().map(|remarks| remarks.join(", ")).collect() }
    }
}

fn joint_remark(joint: Joint) -> Option<String> {
    match joint {
        Joint::Pruned(offsets) => Some(format!("pruned {}", range(offsets))),
        Joint::Missing(offsets) => Some(format!("MISSING {}", range(offsets))),
        Joint::Overlap(offsets) => Some(format!("OVERLAP {}", range(offsets))),
        Joint::BeforeOrigin(origin) => Some(format!("BEFORE THE ORIGIN {origin}")),
        Joint::Unknown => None,
    }
}

/// `5-9`, both ends included.
fn range(offsets: OffsetRange) -> String {
    format!("{}-{}", offsets.start(), offsets.final_offset())
}

fn segment_row(survey: &ChainSurvey, segment: &SurveyedSegment, remark: String) -> Vec<String> {
    let facts = segment.facts.as_ref().ok();
    let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), grouped);
    let times = facts.and_then(|facts| facts.timestamps);
    vec![
        survey.chain.segment(segment.start).to_string(),
        facts.and_then(|facts| facts.final_offset).map_or_else(|| "?".to_owned(), |offset| offset.to_string()),
        number(facts.and_then(|facts| facts.record_count)),
        times.map_or_else(|| "?".to_owned(), |times| moment(times.min)),
        times.map_or_else(|| "?".to_owned(), |times| moment(times.max)),
        size(segment.stat.bytes),
        facts.map_or_else(|| "?".to_owned(), |facts| facts.codec.to_string()),
        remark,
    ]
}

fn chain_row(survey: &ChainSurvey, sum: &Sum) -> Vec<String> {
    let mut remarks: Vec<String> = survey.joints().into_iter().filter_map(|(_, joint)| joint_remark(joint)).collect();
    remarks.extend((sum.invisible > 0).then(|| format!("{} invisible", grouped(sum.invisible))));
    remarks.extend((sum.deleted > 0).then(|| format!("{} deleted", grouped(sum.deleted))));
    let unreadable = survey.segments.iter().filter(|segment| segment.facts.is_err()).count() as u64;
    remarks.extend((unreadable > 0).then(|| format!("{} UNREADABLE", grouped(unreadable))));
    let first = survey.segments.first().map_or_else(String::new, |segment| segment.start.to_string());
    let last = survey.segments.last().map_or_else(String::new, |segment| {
        let known = segment.facts.as_ref().ok().and_then(|facts| facts.final_offset);
        known.map_or_else(|| "?".to_owned(), |offset| offset.to_string())
    });
    let time = |of: fn(&TimestampRange) -> i64| match (&sum.times, sum.segments) {
        (Some(times), _) => moment(of(times)),
        (None, 0) => String::new(),
        (None, _) => "?".to_owned(),
    };
    vec![
        survey.chain.to_string(),
        grouped(sum.segments),
        first,
        last,
        sum.records(),
        time(|times| times.min),
        time(|times| times.max),
        size(sum.bytes),
        remarks.join(", "),
    ]
}

fn list_json<W: Write>(args: &LsArgs, place: &Place, output: &mut Output<W>) -> Result<(), Stop> {
    each_chain(args, place, |survey| {
        if !args.segments {
            let _ = writeln!(output.line(), "{}", chain_json(survey));
            return output.line_done();
        }
        for (index, segment) in survey.segments.iter().enumerate() {
            let joints = survey.joints().into_iter().filter(|(at, _)| *at == index);
            let _ = writeln!(output.line(), "{}", segment_json(survey, segment, joints.map(|(_, joint)| joint)));
            output.line_done()?;
        }
        Ok(())
    })
}

fn begin_json(survey: &ChainSurvey) -> Map<String, Value> {
    let chain = &survey.chain;
    let mut object = Map::new();
    object.insert("topic".to_owned(), chain.topic_partition.topic.as_str().into());
    object.insert("partition".to_owned(), chain.topic_partition.partition.get().into());
    object.insert("lineage".to_owned(), chain.lineage.into());
    object
}

fn chain_json(survey: &ChainSurvey) -> Value {
    let sum = Sum::of(survey);
    let mut object = begin_json(survey);
    let origin = survey.origin();
    let mut add = |key: &str, value: Value| object.insert(key.to_owned(), value);
    add("origin", json!(origin.map(|origin| origin.offset.get())));
    add("origin_reason", json!(origin.map(|origin| origin.reason.as_str())));
    add("segments", sum.segments.into());
    add("first_offset", json!(survey.segments.first().map(|segment| segment.start.get())));
    let last = survey.segments.last().and_then(|segment| segment.facts.as_ref().ok()?.final_offset);
    add("final_offset", json!(last.map(|offset| offset.get())));
    add("record_count", sum.records.into());
    add("invisible_count", sum.invisible.into());
    add("unknown_segments", sum.unknown.into());
    add("min_timestamp_ms", json!(sum.times.map(|times| times.min)));
    add("max_timestamp_ms", json!(sum.times.map(|times| times.max)));
    add("bytes", sum.bytes.into());
    let facts = survey.segments.iter().filter_map(|segment| segment.facts.as_ref().ok());
    let deleted = facts.flat_map(|facts| facts.header.iter().flat_map(|header| &header.summary.gaps));
    let deleted = deleted.map(|gap| gap_json(gap.offsets, gap.reason.as_str()));
    let joints = survey.joints().into_iter().filter_map(|(_, joint)| joint_json(joint));
    add("gaps", deleted.chain(joints).collect());
    let unreadable = survey.segments.iter().filter(|segment| segment.facts.is_err()).count();
    add("unreadable_segments", unreadable.into());
    Value::Object(object)
}

fn segment_json(survey: &ChainSurvey, segment: &SurveyedSegment, joints: impl Iterator<Item = Joint>) -> Value {
    let ObjectStat { bytes, crc32c, md5, generation, attributes, .. } = &segment.stat;
    let facts = segment.facts.as_ref().ok();
    let header = facts.and_then(|facts| facts.header.as_ref());
    let mut object = begin_json(survey);
    let mut add = |key: &str, value: Value| object.insert(key.to_owned(), value);
    add("name", survey.chain.segment(segment.start).to_string().into());
    add("start_offset", segment.start.get().into());
    add("final_offset", json!(facts.and_then(|facts| facts.final_offset).map(|offset| offset.get())));
    add("record_count", json!(facts.and_then(|facts| facts.record_count)));
    add("invisible_count", json!(header.map(|header| header.invisible_count())));
    add("min_timestamp_ms", json!(facts.and_then(|facts| facts.timestamps).map(|times| times.min)));
    add("max_timestamp_ms", json!(facts.and_then(|facts| facts.timestamps).map(|times| times.max)));
    add("bytes", (*bytes).into());
    add("codec", json!(facts.map(|facts| facts.codec.avro_name())));
    add("content_blake3", json!(header.map(|header| header.content_hash.to_string())));
    add("crc32c", json!(crc32c.map(|crc32c| format!("{crc32c:08x}"))));
    add("md5", json!(md5.map(|md5| md5.iter().map(|byte| format!("{byte:02x}")).collect::<String>())));
    add("generation", json!(generation));
    add("seal_reason", json!(attributes.get(crate::store::attribute::SEAL_REASON)));
    add("writer", json!(attributes.get(crate::store::attribute::WRITER)));
    add("is_original", json!(facts.map(|facts: &SegmentFacts| facts.header.is_none())));
    let deleted = header.into_iter().flat_map(|header| &header.summary.gaps);
    let deleted = deleted.map(|gap| gap_json(gap.offsets, gap.reason.as_str()));
    add("gaps", deleted.chain(joints.filter_map(joint_json)).collect());
    if let Err(error) = &segment.facts {
        add("error", CommandError::from_error(error).to_string().into());
    }
    Value::Object(object)
}

fn joint_json(joint: Joint) -> Option<Value> {
    match joint {
        Joint::Pruned(offsets) => Some(gap_json(offsets, "pruned")),
        Joint::Missing(offsets) => Some(gap_json(offsets, "missing")),
        Joint::Overlap(offsets) => Some(gap_json(offsets, "overlap")),
        Joint::BeforeOrigin(_) | Joint::Unknown => None,
    }
}

fn gap_json(offsets: OffsetRange, reason: &str) -> Value {
    json!({"first": offsets.start().get(), "last": offsets.final_offset().get(), "reason": reason})
}
