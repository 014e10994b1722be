//! The archive's side of the comparison: the records of one segment.

use crate::archive::error::ArchiveError;
use crate::archive::verify::segment::Counted;
use crate::avro::{ReadError, SegmentReader};
use crate::store::ArchiveStore;
use kafka_store_statecharts::last_record::RecordHash;
use kafka_store_statecharts::name::SegmentName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::record::{Decoder, RecordFields, TimestampType, encode_record};
use std::ops::ControlFlow;

/// A record as an archive has it.
#[derive(Clone, Copy, Debug)]
pub(in crate::archive) enum ArchivedRecord<'a> {
    /// One of ours: its canonical bytes.
    Whole(&'a [u8]),
    /// One of the original tool's, which kept neither headers nor the timestamp's type.
    Partial(RecordFields<'a>),
}

impl ArchivedRecord<'_> {
    /// True if the record of these canonical bytes is the same, as far as the archive kept it.
    pub(in crate::archive) fn is_same(&self, canonical_bytes: &[u8]) -> bool {
        match self {
            ArchivedRecord::Whole(bytes) => *bytes == canonical_bytes,
            ArchivedRecord::Partial(fields) => {
                let logged = Decoder::new(canonical_bytes).record();
                logged.is_ok_and(|(logged, _)| without_type(logged) == without_type(*fields))
            }
        }
    }

    pub(in crate::archive) fn digest(&self) -> Digest {
        match self {
            ArchivedRecord::Whole(bytes) => Digest::Whole(RecordHash::of(bytes)),
            ArchivedRecord::Partial(fields) => Digest::Partial(partial_hash(*fields)),
        }
    }
}

/// Hash of a record, to be compared with records of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::archive) enum Digest {
    /// Of its canonical bytes.
    Whole(RecordHash),
    /// Of what the original tool kept.
    Partial(RecordHash),
}

impl Digest {
    /// True if the record of these canonical bytes is the same, as far as the archive kept it.
    pub(in crate::archive) fn is_of(self, canonical_bytes: &[u8]) -> bool {
        match self {
            Digest::Whole(hash) => hash == RecordHash::of(canonical_bytes),
            Digest::Partial(hash) => {
                let logged = Decoder::new(canonical_bytes).record();
                logged.is_ok_and(|(logged, _)| hash == partial_hash(logged))
            }
        }
    }
}

fn without_type(fields: RecordFields<'_>) -> RecordFields<'_> {
    RecordFields { timestamp_type: TimestampType::NotAvailable, ..fields }
}

fn partial_hash(fields: RecordFields<'_>) -> RecordHash {
    let mut bytes = Vec::new();
    encode_record(&without_type(fields), std::iter::empty(), &mut bytes);
    RecordHash::of(&bytes)
}

/// Why the records of a segment were not all visited.
#[derive(Debug)]
pub(in crate::archive) enum Unvisited<E> {
    /// The segment cannot be read.
    Archive(ArchiveError),
    /// The visitor failed.
    Visitor(E),
}

/// Takes records until it breaks off.
pub(in crate::archive) type Visit<'a, E> = &'a mut dyn FnMut(Offset, ArchivedRecord<'_>) -> Result<ControlFlow<()>, E>;

/// Gives the records of a segment to `visit`, in order, until it breaks off. `advance` is told the bytes read.
pub(in crate::archive) fn visit_segment<E>(
    store: &dyn ArchiveStore,
    name: &SegmentName,
    advance: &(dyn Fn(u64) + Sync),
    visit: Visit<'_, E>,
) -> Result<(), Unvisited<E>> {
    let wrong =
        |source: ReadError| Unvisited::Archive(ArchiveError::Segment { location: store.location(name), source });
    let object = store.open(name).map_err(|error| Unvisited::Archive(error.into()))?;
    let gone = || Unvisited::Archive(ArchiveError::Gone { location: store.location(name) });
    let reader = Counted { reader: object.ok_or_else(gone)?, advance };
    let mut reader = SegmentReader::new(reader, name.start).map_err(wrong)?;
    let is_ours = reader.header().ours().is_some();
    while let Some(block) = reader.next_block().map_err(wrong)? {
        let bytes = block.bytes();
        let (mut records, mut start) = (block.records(), 0);
        while let Some(record) = records.next_record().map_err(wrong)? {
            let end = start + record.encoded_bytes;
            let archived = match is_ours {
                true => ArchivedRecord::Whole(&bytes[start..end]),
                false => ArchivedRecord::Partial(record.fields),
            };
            start = end;
            if visit(record.fields.offset, archived).map_err(Unvisited::Visitor)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}
