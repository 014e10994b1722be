//! One line, as the pairs that slog writes.

use super::key;
use super::tables::charts_hash;
use crate::exit::ExitCode;
use crate::logging::write_moment;
use kafka_store_actors::transition::{Detail, Subject, TransitionRecord};
use kafka_store_statecharts::segment::SegmentContent;
use slog::{KV, Record, Serializer};
use time::OffsetDateTime;

/// A line, with what each has.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) sequence: u64,
    pub(super) wall_ms: i64,
    pub(super) instance: &'a str,
    pub(super) content: Content<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    Started(&'a InstanceStart),
    Transition(&'a TransitionRecord<'a>),
    Ended(ExitCode),
}

/// What an instance's first line says of it.
#[derive(Clone, Debug)]
pub struct InstanceStart {
    /// The id of the Kafka cluster, where it has one.
    pub cluster: Option<String>,
    /// Where segments are stored.
    pub store: String,
    /// Whether rows are written for segments.
    pub indexed: bool,
    /// The flags that decide what is archived and where files end, with what they were set to.
    pub flags: Vec<(&'static str, String)>,
}

impl KV for Line<'_> {
    fn serialize(&self, _: &Record<'_>, out: &mut dyn Serializer) -> slog::Result {
        out.emit_u64(key::SEQUENCE, self.sequence)?;
        let mut buffer = [0; TIME_BYTES];
        out.emit_str(key::TIME, moment(self.wall_ms, &mut buffer))?;
        out.emit_str(key::INSTANCE, self.instance)?;
        match self.content {
            Content::Started(start) => start.serialize(out),
            Content::Transition(transition) => emit_transition(transition, out),
            Content::Ended(code) => {
                out.emit_str(key::CHART, key::INSTANCE_CHART)?;
                out.emit_str(key::EVENT, key::ENDED)?;
                out.emit_u8(key::EXIT_CODE, code.number())
            }
        }
    }
}

const TIME_BYTES: usize = "2026-11-22T10:57:45.809Z".len();

/// RFC 3339 in UTC with milliseconds.
fn moment(wall_ms: i64, buffer: &mut [u8; TIME_BYTES]) -> &str {
    let nanoseconds = i128::from(wall_ms) * 1_000_000;
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let written = write_moment(&mut buffer.as_mut_slice(), moment);
    // Years of more than four digits do not fit: no clock says them.
    written.ok().and_then(|()| std::str::from_utf8(buffer).ok()).unwrap_or_default()
}

impl InstanceStart {
    fn serialize(&self, out: &mut dyn Serializer) -> slog::Result {
        out.emit_str(key::CHART, key::INSTANCE_CHART)?;
        out.emit_str(key::EVENT, key::STARTED)?;
        out.emit_str(key::VERSION, env!("CARGO_PKG_VERSION"))?;
        out.emit_str(key::CHARTS, &charts_hash())?;
        match &self.cluster {
            Some(cluster) => out.emit_str(key::CLUSTER, cluster)?,
            None => out.emit_none(key::CLUSTER)?,
        }
        out.emit_str(key::STORE, &self.store)?;
        out.emit_bool(key::INDEXED, self.indexed)?;
        self.flags.iter().try_for_each(|(flag, value)| out.emit_str(flag, value))
    }
}

fn emit_transition(transition: &TransitionRecord<'_>, out: &mut dyn Serializer) -> slog::Result {
    if let Some(Subject { chain, epoch, segment_start, upload }) = transition.subject {
        out.emit_str(key::TOPIC, chain.topic_partition.topic.as_str())?;
        out.emit_i32(key::PARTITION, chain.topic_partition.partition.get())?;
        if chain.lineage > 1 {
            out.emit_u32(key::LINEAGE, chain.lineage)?;
        }
        if let Some(epoch) = epoch {
            out.emit_u64(key::EPOCH, epoch.0)?;
        }
        if let Some(start) = segment_start {
            out.emit_i64(key::START_OFFSET, start.get())?;
        }
        if let Some(upload) = upload {
            out.emit_u64(key::UPLOAD, upload)?;
        }
    }
    out.emit_str(key::CHART, transition.chart)?;
    out.emit_str(key::FROM, transition.from)?;
    out.emit_str(key::EVENT, transition.event)?;
    out.emit_str(key::TO, transition.to)?;
    emit_detail(transition.detail, out)
}

fn emit_detail(detail: Detail<'_>, out: &mut dyn Serializer) -> slog::Result {
    match detail {
        Detail::None => Ok(()),
        Detail::Assigned { epoch, partition_count } => {
            out.emit_u64(key::EPOCH, epoch.0)?;
            out.emit_usize(key::PARTITION_COUNT, partition_count)
        }
        Detail::Position(position) => out.emit_i64(key::POSITION, position.get()),
        Detail::Blocked(reason) => out.emit_str(key::REASON, reason),
        Detail::Sealed { reason, final_offset, buffered } => {
            out.emit_str(key::REASON, reason.as_str())?;
            out.emit_i64(key::FINAL_OFFSET, final_offset.get())?;
            out.emit_u64(key::RECORD_COUNT, buffered.record_count)?;
            out.emit_u64(key::RECORD_BYTES, buffered.record_bytes)
        }
        Detail::Completed(content) | Detail::Stored(content) => emit_content(&content, out),
        Detail::Row(content) => {
            out.emit_i64(key::FINAL_OFFSET, content.range.final_offset().get())?;
            out.emit_u64(key::RECORD_COUNT, content.record_count)
        }
        Detail::Commit { next_offset } => out.emit_i64(key::NEXT_OFFSET, next_offset.get()),
    }
}

fn emit_content(content: &SegmentContent, out: &mut dyn Serializer) -> slog::Result {
    out.emit_i64(key::FINAL_OFFSET, content.range.final_offset().get())?;
    out.emit_u64(key::RECORD_COUNT, content.record_count)?;
    out.emit_u64(key::FILE_BYTES, content.file_bytes)?;
    match content.content_hash {
        Some(hash) => out.emit_str(key::CONTENT_HASH, &blake3::Hash::from_bytes(hash).to_hex()),
        None => out.emit_none(key::CONTENT_HASH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        let mut buffer = [0; TIME_BYTES];
        assert_eq!(moment(1_234_567_890_004, &mut buffer), "2009-02-13T23:31:30.004Z");
        assert_eq!(moment(i64::MAX, &mut buffer), "1970-01-01T00:00:00.000Z", "no clock says that");
    }
}
