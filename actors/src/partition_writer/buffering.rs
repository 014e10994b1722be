//! How a writer takes records from its queue, and when it seals.

use super::{Continue, OnItsWay, PartitionWriter, Pending};
use crate::open_segment::{Appended, OpenSegment};
use crate::spool_account::Growth;
use actix::prelude::*;
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::Chart;
use kafka_store_statecharts::failure::Port;
use kafka_store_statecharts::input::{InputEvent, InputStateKind};
use kafka_store_statecharts::offset::OffsetRange;
use kafka_store_statecharts::partition::{PartitionEvent, PartitionState};
use kafka_store_statecharts::segment::{Segment, SegmentEvent};
use kafka_store_statecharts::wall_clock::{Due, OpenSince};
use std::time::Duration;

impl PartitionWriter {
    pub(super) fn continue_later(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.continues, true) {
            ctx.notify(Continue);
        }
    }

    /// Takes records from the queue until one block is written, a segment ends, or the queue is empty.
    pub(super) fn buffer(&mut self, ctx: &mut Context<Self>) {
        while let Some(position) = self.chart.kept_position().filter(|_| self.chart.takes_records()) {
            let Some((batch, cursor)) = self.queue.front_mut() else {
                if self.queue_held() {
                    self.continue_later(ctx);
                }
                break;
            };
            let Some(mark) = batch.marks.get(cursor.record).filter(|_| batch.seek_epoch == self.chart.seek_epoch)
            else {
                self.queue.pop_front();
                continue;
            };
            assert!(mark.offset >= position, "{}: record {} lies before {position}", self.partition, mark.offset);
            if self.target.is_some_and(|target| mark.offset >= target) {
                self.input_event(InputEvent::TargetReached, ctx);
                break;
            }
            if self.open.is_none() {
                if !self.has_spool(ctx) {
                    break;
                }
                let (indexed, mirrored) = (self.context.indexer.is_some(), self.context.ports.mirrors.is_some());
                let chart = Segment::new(indexed, mirrored);
                self.segment_count += 1;
                let number = self.segment_count;
                let segment = OnItsWay {
                    number,
                    chart,
                    completed: None,
                    stored: None,
                    reason: None,
                    failure: None,
                    is_cut: false,
                    sealed: None,
                };
                self.segments.insert(position, segment);
                self.segment_event(position, SegmentEvent::FirstRecord { start: position }, ctx);
                continue; // The spool may have refused.
            }
            let now = self.context.ports.clock.now();
            let open = self.open.as_mut().expect("opened just now or before");
            let appended = open.append(batch, cursor, self.target, now);
            if let Some((last, ..)) = open.last_position() {
                self.figures.taken_to(last.next());
                self.figures.open(open.buffered());
            }
            let growth = if appended.is_ok() { open.account() } else { Growth::Kept };
            match appended {
                Ok(Appended::All | Appended::Block) if growth == Growth::GiveUp && self.may_be_fetched_again() => {
                    self.give_up_open(ctx);
                    break;
                }
                Ok(Appended::All) => {
                    self.queue.pop_front();
                }
                Ok(Appended::Block) => {
                    self.continue_later(ctx);
                    break;
                }
                Ok(Appended::Boundary(SealReason::UntilEnd)) => {
                    self.input_event(InputEvent::TargetReached, ctx);
                    break;
                }
                Ok(Appended::Boundary(reason)) => {
                    self.seal(reason, ctx);
                    self.continue_later(ctx);
                    break;
                }
                Err(error) => {
                    self.spool_failed(error, ctx);
                    break;
                }
            }
        }
        self.look_at_the_clock(ctx);
    }

    /// Seals the open segment where it stands.
    pub(super) fn seal(&mut self, reason: SealReason, ctx: &mut Context<Self>) {
        let Some((start, final_offset)) =
            self.open.as_ref().and_then(|open| Some((open.start, open.last_position()?.0)))
        else {
            return;
        };
        // Before the seal, which the partition cannot take back.
        if let Some(Err(error)) = self.open.as_mut().map(OpenSegment::take_back) {
            return self.spool_failed(error, ctx);
        }
        self.last_sealed = self.last_held().or(self.last_sealed);
        let range = OffsetRange::new(start, final_offset).expect("records lie at or after the segment's start");
        if let Some(segment) = self.segments.get_mut(&start) {
            segment.reason = Some(reason);
        }
        self.pending.push_back(Pending::Partition(PartitionEvent::SegmentSealed { range }));
        self.segment_event(start, SegmentEvent::BoundaryReached { final_offset, reason }, ctx);
    }

    /// Seals the open segment if the clock says so, or looks again when it may.
    pub(super) fn look_at_the_clock(&mut self, ctx: &mut Context<Self>) {
        if !self.chart.takes_records() || !self.queue.is_empty() || !self.held.is_empty() {
            return;
        }
        if self.input.state() == InputStateKind::Ending {
            self.input_event(InputEvent::QueueDrained, ctx);
            return;
        }
        let PartitionState::Active { .. } = self.chart.state else { return };
        if let (Some(end), Some(target)) = (self.input.end(), self.target)
            && end.position >= target
        {
            self.input_event(InputEvent::TargetReached, ctx);
            return;
        }
        if self.input.end().is_some() {
            self.set_nothing_aside();
            if self.spool_failures > 0 {
                // All records are taken again. The segment may stay open for hours, and nothing is retried meanwhile.
                self.recovered(Port::Spool);
            }
        }
        self.commit_seen_to(ctx);
        let Some(open) = &self.open else { return };
        let Some((last_offset, last_timestamp)) = open.last_position() else { return };
        let caught_up = self.input.end().is_some_and(|end| {
            end.position > last_offset && end.high_watermark.is_none_or(|watermark| watermark <= end.position)
        });
        let since = OpenSince {
            opened_at: open.opened_at,
            last_arrival: open.last_arrival,
            last_timestamp,
            caught_up,
            first_catch_up: !self.input.caught_up_before,
        };
        match self.wall_clock.due(&since, self.now()) {
            Due::Now(reason) => self.seal(reason, ctx),
            Due::InMs(wait_ms) => {
                if let Some(timer) = self.seal_timer.take() {
                    ctx.cancel_future(timer);
                }
                self.seal_timer = Some(ctx.run_later(Duration::from_millis(wait_ms), |writer, ctx| {
                    writer.seal_timer = None;
                    writer.look_at_the_clock(ctx);
                }));
            }
        }
    }
}
