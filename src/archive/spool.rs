//! Open segments in the spool directory of this process.

use super::identity::Identity;
use crate::avro::{Codec, Compressor, SealError, SegmentReader, SegmentSummary, SegmentWriter, TimestampRange};
use crate::page_cache::PageCache;
use crate::store::{InstanceDir, StoreError, TemporaryPath};
use crate::system_error;
use kafka_store_actors::ports::{self, CompletedSegment, OpenFile, SegmentSpool, SpoolBlocks, SpoolError, SpoolFile};
use kafka_store_statecharts::boundary::BoundarySettings;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::TopicId;
use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

thread_local! {
    /// A compressor is large, and writers that share a thread take turns.
    static COMPRESSOR: RefCell<Compressor> = RefCell::new(Compressor::new());
}

/// The spool.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: Arc<InstanceDir>,
    codec: Codec,
    boundaries: BoundarySettings,
    identity: Identity,
    cache: PageCache,
}

impl Spool {
    /// A spool in a directory, for files of this codec. `cache` says whether what is written stays in the page cache.
    pub fn new(
        directory: Arc<InstanceDir>,
        codec: Codec,
        boundaries: BoundarySettings,
        identity: Identity,
        cache: PageCache,
    ) -> Spool {
        Spool { shared: Arc::new(Shared { directory, codec, boundaries, identity, cache }) }
    }
}

impl Shared {
    /// What is known of a segment's summary before its first record: nearly always as long as in the end.
    fn expected_summary(&self, start: Offset, topic_id: Option<TopicId>) -> SegmentSummary {
        // Brokers since 0.11 report it.
        let leader_epoch = LeaderEpoch::new(0);
        SegmentSummary {
            final_offset: start,
            timestamps: TimestampRange::new(0),
            cluster_id: self.identity.cluster_id.clone(),
            topic_id,
            isolation: self.identity.isolation,
            boundaries: self.boundaries,
            gaps: Vec::new(),
            last_record: Some(LastRecord { hash: RecordHash::new([0; 32]), leader_epoch }),
        }
    }
}

impl SegmentSpool for Spool {
    fn open(
        &self,
        chain: &ChainName,
        topic_id: Option<TopicId>,
        start: Offset,
    ) -> Result<Box<dyn OpenFile>, SpoolError> {
        let name = chain.segment(start);
        let label = name.to_string().replace('/', ",");
        let (path, file) = self.shared.directory.create_file(&label).map_err(|error| cannot_create(&error))?;
        let expected = self.shared.expected_summary(start, topic_id);
        let writer = SegmentWriter::create(file, name.clone(), self.shared.codec, self.shared.cache, &expected)
            .map_err(|error| cannot_write(&path, &error))?;
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(OpenSpoolFile { path, writer, name, topic_id, set_aside_crc32c: 0, shared }))
    }

    fn read_back(&self, segment: &CompletedSegment) -> Result<Box<dyn SpoolBlocks>, SpoolError> {
        let path = segment.file.path();
        let damaged =
            |what: String| SpoolError::damaged(format!("the spool file {} {what}: check its disk", path.display()));
        let cannot_read = |error: std::io::Error| damaged(format!("cannot be read ({error})"));
        let mut file = File::open(path).map_err(cannot_read)?;
        // Before a record is taken: it becomes part of a segment, whose hash would make other bytes the truth.
        let crc32c = crc32c_of(&file).map_err(cannot_read)?;
        if crc32c != segment.content.crc32c {
            return Err(damaged(format!(
                "returns other bytes than were written (CRC-32C {crc32c:08x}, not {:08x})",
                segment.content.crc32c
            )));
        }
        file.rewind().map_err(cannot_read)?;
        let reader = SegmentReader::new(BufReader::new(file), segment.name.start)
            .map_err(|error| damaged(format!("cannot be read ({error})")))?;
        Ok(Box::new(Blocks { path: path.to_owned(), reader }))
    }
}

/// Reads a file to its end.
fn crc32c_of(mut file: &File) -> std::io::Result<u32> {
    let (mut buffer, mut crc32c) = (vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(crc32c),
            count => crc32c = crc32c::crc32c_append(crc32c, &buffer[..count]),
        }
    }
}

/// A complete file that is read back.
struct Blocks {
    path: PathBuf,
    reader: SegmentReader<BufReader<File>>,
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SpoolBlocks for Blocks {
    fn next_block(&mut self) -> Result<Option<Vec<u8>>, SpoolError> {
        match self.reader.next_block() {
            Ok(block) => Ok(block.map(|block| block.bytes().to_vec())),
            Err(error) => {
                let reason = format!("the spool file {} cannot be read ({error}): check its disk", self.path.display());
                Err(SpoolError::damaged(reason))
            }
        }
    }
}

struct OpenSpoolFile {
    path: TemporaryPath,
    writer: SegmentWriter,
    name: SegmentName,
    topic_id: Option<TopicId>,
    /// Of what is set aside in the file.
    set_aside_crc32c: u32,
    shared: Arc<Shared>,
}

impl fmt::Debug for OpenSpoolFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSpoolFile").field("path", &self.path).field("name", &self.name).finish_non_exhaustive()
    }
}

impl OpenSpoolFile {
    fn cannot_read(&self, error: &std::io::Error) -> SpoolError {
        SpoolError::damaged(format!("cannot read the spool file {}: {error}", self.path.display()))
    }
}

impl OpenFile for OpenSpoolFile {
    fn read_back(&mut self, each: ports::EachBlock<'_>) -> Result<(), SpoolError> {
        self.writer.read_back(each).map_err(|error| self.cannot_read(&error))
    }

    fn append_block(&mut self, records: &[u8], record_count: u64) -> Result<(), SpoolError> {
        COMPRESSOR
            .with_borrow_mut(|compressor| self.writer.append_block(compressor, records, record_count))
            .map(|_| ())
            .map_err(|error| cannot_write(&self.path, &error))
    }

    fn set_aside(&mut self, records: &[u8]) -> Result<(), SpoolError> {
        self.writer.set_aside(records).map_err(|error| cannot_write(&self.path, &error))?;
        self.set_aside_crc32c = crc32c::crc32c_append(self.set_aside_crc32c, records);
        Ok(())
    }

    fn take_back(&mut self, records: &mut Vec<u8>) -> Result<(), SpoolError> {
        let (from, written) = (records.len(), std::mem::take(&mut self.set_aside_crc32c));
        let damaged = |what: String| {
            SpoolError::damaged(format!("the spool file {} {what}: check its disk", self.path.display()))
        };
        self.writer.take_back(records).map_err(|error| damaged(format!("cannot be read ({error})")))?;
        // They become part of the segment, whose hash would make other bytes the truth.
        match crc32c::crc32c(&records[from..]) {
            read if read == written => Ok(()),
            read => {
                Err(damaged(format!("returns other bytes than were written (CRC-32C {read:08x}, not {written:08x})")))
            }
        }
    }

    fn read_last_block(&self) -> Result<Vec<u8>, SpoolError> {
        self.writer.read_last_block().map_err(|error| self.cannot_read(&error))
    }

    fn held_bytes(&self) -> u64 {
        self.writer.held_bytes() as u64
    }

    fn write_held(&mut self) -> Result<(), SpoolError> {
        self.writer.write_held().map_err(|error| cannot_write(&self.path, &error))
    }

    fn disk_bytes(&self) -> u64 {
        self.writer.disk_bytes()
    }

    fn complete(self: Box<Self>, summary: &ports::SegmentSummary) -> Result<CompletedSegment, SpoolError> {
        let OpenSpoolFile { path, writer, name, topic_id, shared, .. } = *self;
        let described = summary.clone();
        let final_offset = summary.range.final_offset();
        let summary = SegmentSummary {
            final_offset,
            timestamps: TimestampRange {
                first: summary.timestamps.first,
                min: summary.timestamps.least,
                max: summary.timestamps.greatest,
            },
            gaps: summary.gaps.clone(),
            last_record: Some(summary.last_record),
            ..shared.expected_summary(final_offset, topic_id)
        };
        let sealed = writer.seal(&summary).map_err(|error| match error {
            SealError::Io(error) => cannot_write(&path, &error),
            error => SpoolError { class: Class::Refused, reason: format!("segment {name}: {error}") },
        })?;
        Ok(CompletedSegment {
            topic_id,
            content: SegmentContent {
                range: sealed.header.range(),
                record_count: sealed.header.record_count,
                content_hash: Some(*sealed.header.content_hash.as_bytes()),
                file_bytes: sealed.file_bytes,
                crc32c: sealed.crc32c,
            },
            summary: described,
            is_confirmed: false,
            name,
            file: Arc::new(CompletedFile { path, completed_at: Instant::now(), _file: sealed.file }),
        })
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> SpoolError {
    let class = Class::of_signs(Port::Spool, [system_error::sign(error)]);
    SpoolError { class, reason: format!("cannot write the spool file {}: {error}", path.display()) }
}

fn cannot_create(error: &StoreError) -> SpoolError {
    let Failure { class, reason, .. } = error.failure(Port::Spool);
    // What is missing is the directory: it is made again.
    let class = if class == Class::Absent { Class::Lost } else { class };
    SpoolError { class, reason }
}

/// A complete file, which is removed when nobody needs it any more.
#[derive(Debug)]
struct CompletedFile {
    path: TemporaryPath,
    completed_at: Instant,
    /// Held until the store has synced it: the kernel may forget a failed write of a file that nobody has open.
    _file: File,
}

impl SpoolFile for CompletedFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn completed_at(&self) -> Option<Instant> {
        Some(self.completed_at)
    }
}
