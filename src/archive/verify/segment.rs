//! One segment: what can be known without its records, and all of it.

use super::boundary::Boundary;
use super::problem::ProblemKind;
use crate::archive::error::ArchiveError;
use crate::archive::survey::{SegmentFacts, header_of};
use crate::avro::{FileHeader, ReadError, SegmentHeader, Verified, verify_with};
use crate::store::{ArchiveStore, ObjectStat, attribute};
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::name::SegmentName;
use std::io::{self, Read};

/// Outcome of checking one segment.
#[derive(Debug)]
pub(super) struct Checked {
    /// Facts about it; an error here is also among the problems.
    pub(super) facts: Result<SegmentFacts, ArchiveError>,
    pub(super) problems: Vec<(ProblemKind, String)>,
    /// True if a later run cannot find out more.
    pub(super) is_settled: bool,
    /// CRC-32C of its bytes, if they were read.
    pub(super) crc32c: Option<u32>,
}

const FROM_A_COPY: &str = "bring it back from a copy of the archive";

/// Checks a segment's header, its end, and the metadata that the store keeps beside it.
pub(super) fn check_quickly(store: &dyn ArchiveStore, name: &SegmentName, stat: &ObjectStat) -> Checked {
    let header = header_of(store, name);
    let mut checked = Checked::new();
    match header {
        Ok(header) => {
            checked.problems.extend(metadata_problem(&header, stat));
            checked.problems.extend(chain_problem(&header, name));
            if let Err(problem) = check_length(&header, stat).and_then(|()| check_end(store, name, &header)) {
                checked.problems.push(problem);
            }
            checked.facts = Ok(SegmentFacts::of_file(&header));
        }
        Err(error) => checked.fail(error),
    }
    checked
}

/// Reads the whole segment. `advance` is told the bytes read.
pub(super) fn check_deeply(
    store: &dyn ArchiveStore,
    name: &SegmentName,
    stat: &ObjectStat,
    advance: &(dyn Fn(u64) + Sync),
) -> Checked {
    let mut checked = check_quickly(store, name, stat);
    if checked.facts.is_err() {
        return checked;
    }
    match read_whole(store, name, advance) {
        Ok((verified, boundary)) => {
            checked.problems.extend(checksum_problem(&verified, stat));
            if let Some(boundary) = boundary {
                checked.check_boundary(store, &boundary, &name.chain.segment(verified.range.next_offset()), stat);
            }
            checked.facts = Ok(SegmentFacts::of_verified(&verified));
            checked.crc32c = Some(verified.crc32c);
        }
        Err(error) => {
            // What length and end showed is part of the same.
            checked.problems.retain(|(kind, _)| !matches!(kind, ProblemKind::Truncated | ProblemKind::Damaged));
            checked.problems.push(kind_and_text(&error));
        }
    }
    checked
}

impl Checked {
    fn new() -> Checked {
        let unknown = ArchiveError::Gone { location: String::new() };
        Checked { facts: Err(unknown), problems: Vec::new(), is_settled: true, crc32c: None }
    }

    fn fail(&mut self, error: ArchiveError) {
        self.problems.push(kind_and_text(&error));
        self.facts = Err(error);
    }

    /// Checks the segment's end. An end by age shows only in the next segment's first record.
    fn check_boundary(&mut self, store: &dyn ArchiveStore, boundary: &Boundary, next: &SegmentName, stat: &ObjectStat) {
        let reason = stat.attributes.get(attribute::SEAL_REASON).and_then(|word| SealReason::parse(word));
        let mut next_timestamp = None;
        if reason == Some(SealReason::Age) {
            let header = header_of(store, next).ok();
            next_timestamp = header.as_ref().and_then(FileHeader::ours).map(|ours| ours.summary.timestamps.first);
            self.is_settled = next_timestamp.is_some();
        }
        let problem = boundary.problem(reason, next_timestamp);
        self.problems.extend(problem.map(|message| (ProblemKind::Boundary, message)));
    }
}

fn read_whole(
    store: &dyn ArchiveStore,
    name: &SegmentName,
    advance: &(dyn Fn(u64) + Sync),
) -> Result<(Verified, Option<Boundary>), ArchiveError> {
    let location = || store.location(name);
    let file = store.open(name)?.ok_or_else(|| ArchiveError::Gone { location: location() })?;
    let counted = Counted { reader: file, advance };
    let mut boundary: Option<Boundary> = None;
    let verified = verify_with(counted, name.start, |header, record| {
        if let Some(ours) = header.ours() {
            boundary.get_or_insert_with(|| Boundary::new(ours.summary.boundaries)).record(
                record.fields.offset,
                record.encoded_bytes as u64,
                record.fields.timestamp,
            );
        }
    });
    let verified = verified.map_err(|source| ArchiveError::Segment { location: location(), source })?;
    Ok((verified, boundary))
}

pub(super) struct Counted<'a, R> {
    pub(super) reader: R,
    pub(super) advance: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        (self.advance)(count as u64);
        Ok(count)
    }
}

/// Compares the object's metadata in the store with its header.
fn metadata_problem(header: &FileHeader, stat: &ObjectStat) -> Option<(ProblemKind, String)> {
    let ours = header.ours()?;
    if !stat.attributes.contains_key("format") {
        return None;
    }
    let said = ours.attributes();
    let other = said.iter().find(|(key, value)| stat.attributes.get(*key) != Some(value));
    let message = match other {
        Some((key, value)) => {
            let beside = stat.attributes.get(key).map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
            format!("{key} is {beside} beside the object, and {value:?} in its header")
        }
        None => match SegmentHeader::from_attributes(&stat.attributes) {
            Ok(Some(beside)) if beside == *ours => return None,
            _ => "beside the object there is more than in its header".to_owned(),
        },
    };
    Some((ProblemKind::Metadata, format!("{message}; the header is part of the checked bytes")))
}

fn chain_problem(header: &FileHeader, name: &SegmentName) -> Option<(ProblemKind, String)> {
    let said = &header.ours()?.name.chain;
    (*said != name.chain)
        .then(|| (ProblemKind::Misplaced, format!("it says that it belongs to {said}: it was moved or copied here")))
}

/// The header says how long the file is, since format version 2.
fn check_length(header: &FileHeader, stat: &ObjectStat) -> Result<(), (ProblemKind, String)> {
    let Some(said) = header.ours().and_then(|ours| ours.file_bytes).filter(|said| *said != stat.bytes) else {
        return Ok(());
    };
    let kind = if stat.bytes < said { ProblemKind::Truncated } else { ProblemKind::Damaged };
    Err((kind, format!("it has {} bytes, and its header says {said}; {FROM_A_COPY}", stat.bytes)))
}

/// Every file of both tools ends with its sync marker.
fn check_end(store: &dyn ArchiveStore, name: &SegmentName, header: &FileHeader) -> Result<(), (ProblemKind, String)> {
    let end = match store.read_end(name, header.sync.len() as u64) {
        Ok(end) => end,
        Err(error) => return Err((ProblemKind::Unreadable, text_of(&error))),
    };
    match end {
        Some(end) if *end != header.sync => Err((
            ProblemKind::Truncated,
            format!("it does not end with its sync marker: it was cut off; {FROM_A_COPY}"),
        )),
        _ => Ok(()),
    }
}

fn checksum_problem(verified: &Verified, stat: &ObjectStat) -> Option<(ProblemKind, String)> {
    let crc32c = stat.crc32c.filter(|stored| *stored != verified.crc32c);
    let message = match crc32c {
        Some(stored) => format!("its bytes have the CRC-32C {:08x}, and the store says {stored:08x}", verified.crc32c),
        None if stat.bytes != verified.file_bytes => {
            format!("it has {} bytes, and the store says {}", verified.file_bytes, stat.bytes)
        }
        None => return None,
    };
    Some((ProblemKind::Checksum, message))
}

/// The kind of problem that an error is, and its text.
pub(super) fn kind_and_text(error: &ArchiveError) -> (ProblemKind, String) {
    match error {
        ArchiveError::Segment { source, .. } => match source {
            // So a store says that what came is not what it has the checksum of.
            ReadError::Io { source: error, .. } if error.kind() == io::ErrorKind::InvalidData => {
                (ProblemKind::Checksum, format!("{}; {FROM_A_COPY}", text_of(source)))
            }
            ReadError::Io { .. } => (ProblemKind::Unreadable, text_of(source)),
            ReadError::Truncated { .. } => (ProblemKind::Truncated, format!("{source}; {FROM_A_COPY}")),
            ReadError::Corrupt { .. } | ReadError::NotSegment { .. } => {
                (ProblemKind::Damaged, format!("{source}; {FROM_A_COPY}"))
            }
            ReadError::TooLarge { .. } => (ProblemKind::Unreadable, source.to_string()),
            ReadError::Unsupported { .. } => (ProblemKind::Damaged, source.to_string()),
        },
        ArchiveError::Gone { .. } => (
            ProblemKind::Missing,
            "it was there a moment ago and is gone: segments are never deleted by kafka-store".to_owned(),
        ),
        other => (ProblemKind::Unreadable, text_of(other)),
    }
}

/// An error with all that led to it.
pub(super) fn text_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
