//! How far a caught-up partition was seen to hold nothing more.
//!
//! Transaction markers and aborted records lie behind the last record, and retention removes them like any
//! other offset. What the commit says of them tells that from a loss.

use super::PartitionWriter;
use actix::prelude::*;
use kafka_store_statecharts::chart::Chart;
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::PartitionStateKind;
use slog::debug;
use std::time::Duration;

/// How long the same partition waits before it commits again that it saw nothing.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The commit of a writer that says up to where nothing more was visible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SeenTo {
    /// None is under way.
    #[default]
    Free,
    /// One is under way.
    InFlight,
    /// One was made a moment ago.
    Resting,
}

impl PartitionWriter {
    /// The end of the log, if nothing but invisible offsets lies between it and `next_offset`. A loss is not
    /// invisible: until a segment says it, every start must find it anew.
    pub(super) fn seen_beyond(&self, next_offset: Offset) -> Option<Offset> {
        let located = self.located.as_ref().filter(|located| located.position == next_offset);
        if located.is_some_and(|located| located.gap.is_some()) {
            return None;
        }
        let nothing_held = self.open.is_none() && self.chart.position() == Some(next_offset);
        let end = self.input.end().filter(|_| nothing_held && self.queue.is_empty())?;
        (end.position > next_offset).then_some(end.position)
    }

    /// Commits up to where nothing more was visible, where that is news. False as long as the news is under way.
    pub(super) fn commit_seen_to(&mut self, ctx: &mut Context<Self>) -> bool {
        let is_idle = self.segments.is_empty() && self.chart.state() == PartitionStateKind::Active;
        let Some(position) = self.chart.position().filter(|_| is_idle) else { return true };
        let Some(seen_to) = self.seen_beyond(position) else { return true };
        self.figures.taken_to(seen_to);
        self.figures.archived_to(seen_to);
        if self.committed_seen_to == Some(seen_to) {
            return true;
        }
        match self.seen_to {
            SeenTo::InFlight => return false,
            SeenTo::Resting if !self.input.is_finished() => return true,
            SeenTo::Resting | SeenTo::Free => self.seen_to = SeenTo::InFlight,
        }
        let lineage = self.chain.lineage;
        let metadata = CommitMetadata { lineage, segment_start: self.last_start, seen_to: Some(seen_to) };
        let commit = self.offset_commit(position, metadata);
        ctx.spawn(self.context.ports.source.commit(commit).into_actor(self).map(move |answer, writer, ctx| {
            match answer {
                Ok(()) => writer.committed_seen_to = Some(seen_to),
                // It harms nothing; the next time it is tried again.
                Err(error) => debug!(writer.log, "end of the log not committed"; "reason" => &error.reason),
            }
            writer.seen_to = SeenTo::Resting;
            ctx.run_later(AGAIN_AFTER, |writer, ctx| {
                if writer.seen_to == SeenTo::Resting {
                    writer.seen_to = SeenTo::Free;
                }
                writer.look_at_the_clock(ctx);
            });
            if writer.input.is_finished() {
                // A run that ends does not try again.
                writer.committed_seen_to = Some(seen_to);
            }
            writer.report_target(ctx);
        }));
        false
    }
}
