//! Open segments in the spool directory of this process.

use super::identity::Identity;
use crate::avro::{Codec, Compressor, SealError, SegmentSummary, SegmentWriter, TimestampRange};
use crate::page_cache::PageCache;
use crate::store::InstanceDir;
use kafka_store_actors::ports::{self, CompletedSegment, OpenFile, SegmentSpool, SpoolError, SpoolFile};
use kafka_store_statecharts::boundary::BoundarySettings;
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::segment::SegmentContent;
use kafka_store_statecharts::topic::TopicId;
use std::cell::RefCell;
use std::fmt;
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

impl SegmentSpool for Spool {
    fn open(
        &self,
        chain: &ChainName,
        topic_id: Option<TopicId>,
        start: Offset,
    ) -> Result<Box<dyn OpenFile>, SpoolError> {
        let name = chain.segment(start);
        let label = name.to_string().replace('/', ",");
        let (path, file) =
            self.shared.directory.create_file(&label).map_err(|error| SpoolError { reason: error.to_string() })?;
        let path = RemovedPath { path, completed_at: None };
        let writer = SegmentWriter::create(file, name.clone(), self.shared.codec, self.shared.cache)
            .map_err(|error| cannot_write(&path.path, &error))?;
        Ok(Box::new(OpenSpoolFile { path, writer, name, topic_id, shared: Arc::clone(&self.shared) }))
    }
}

struct OpenSpoolFile {
    path: RemovedPath,
    writer: SegmentWriter,
    name: SegmentName,
    topic_id: Option<TopicId>,
    shared: Arc<Shared>,
}

impl fmt::Debug for OpenSpoolFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSpoolFile").field("path", &self.path.path).field("name", &self.name).finish_non_exhaustive()
    }
}

impl OpenFile for OpenSpoolFile {
    fn append_block(&mut self, records: &[u8], record_count: u64) -> Result<(), SpoolError> {
        COMPRESSOR
            .with_borrow_mut(|compressor| self.writer.append_block(compressor, records, record_count))
            .map(|_| ())
            .map_err(|error| cannot_write(&self.path.path, &error))
    }

    fn set_aside(&mut self, records: &[u8]) -> Result<(), SpoolError> {
        self.writer.set_aside(records).map_err(|error| cannot_write(&self.path.path, &error))
    }

    fn take_back(&mut self, records: &mut Vec<u8>) -> Result<(), SpoolError> {
        self.writer.take_back(records).map_err(|error| SpoolError {
            reason: format!("cannot read the spool file {}: {error}", self.path.path.display()),
        })
    }

    fn held_bytes(&self) -> u64 {
        self.writer.held_bytes() as u64
    }

    fn write_held(&mut self) -> Result<(), SpoolError> {
        self.writer.write_held().map_err(|error| cannot_write(&self.path.path, &error))
    }

    fn disk_bytes(&self) -> u64 {
        self.writer.disk_bytes()
    }

    fn complete(self: Box<Self>, summary: &ports::SegmentSummary) -> Result<CompletedSegment, SpoolError> {
        let OpenSpoolFile { mut path, writer, name, topic_id, shared } = *self;
        let described = summary.clone();
        let summary = SegmentSummary {
            final_offset: summary.range.final_offset(),
            timestamps: TimestampRange {
                first: summary.timestamps.first,
                min: summary.timestamps.least,
                max: summary.timestamps.greatest,
            },
            cluster_id: shared.identity.cluster_id.clone(),
            topic_id,
            isolation: shared.identity.isolation,
            boundaries: shared.boundaries,
            gaps: summary.gaps.clone(),
        };
        let sealed = writer.seal(&summary).map_err(|error| match error {
            SealError::Io(error) => cannot_write(&path.path, &error),
            error => SpoolError { reason: format!("segment {name}: {error}") },
        })?;
        path.completed_at = Some(Instant::now());
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
            name,
            file: Arc::new(path),
        })
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> SpoolError {
    let advice = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => "; make room and restart",
        _ => "",
    };
    SpoolError { reason: format!("cannot write the spool file {}: {error}{advice}", path.display()) }
}

/// A file that is removed when nobody needs it any more. A store may have taken it by then.
#[derive(Debug)]
struct RemovedPath {
    path: PathBuf,
    completed_at: Option<Instant>,
}

impl SpoolFile for RemovedPath {
    fn path(&self) -> &Path {
        &self.path
    }

    fn completed_at(&self) -> Option<Instant> {
        self.completed_at
    }
}

impl Drop for RemovedPath {
    fn drop(&mut self) {
        // If it stays it is removed with the directory, at the latest by the next process.
        let _ = std::fs::remove_file(&self.path);
    }
}
