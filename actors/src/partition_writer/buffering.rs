//! How a writer takes records from its queue, and when it seals.

use super::{Continue, OnItsWay, PartitionWriter, Pending};
use crate::messages::Report;
use crate::open_segment::{Appended, OpenSegment};
use crate::spool_account::Growth;
use actix::prelude::*;
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::Chart;
use kafka_store_statecharts::offset::OffsetRange;
use kafka_store_statecharts::partition::{PartitionEvent, PartitionState, PartitionStateKind};
use kafka_store_statecharts::segment::{Segment, SegmentEvent};
use kafka_store_statecharts::wall_clock::{Due, OpenSince};
use std::time::Duration;

impl PartitionWriter {
    pub(super) fn continue_later(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.input.continues, true) {
            ctx.notify(Continue);
        }
    }

    /// Takes records from the queue until one block is written, a segment ends, or the queue is empty.
    pub(super) fn buffer(&mut self, ctx: &mut Context<Self>) {
        while let PartitionState::Active { position } = self.chart.state {
            let Some((batch, cursor)) = self.input.queue.front_mut() else { break };
            let Some(mark) = batch.marks.get(cursor.record).filter(|_| batch.seek_epoch == self.chart.seek_epoch)
            else {
                self.input.queue.pop_front();
                continue;
            };
            assert!(mark.offset >= position, "{}: record {} lies before {position}", self.partition, mark.offset);
            if self.target.is_some_and(|target| mark.offset >= target) {
                self.finish_input(ctx);
                break;
            }
            if self.open.is_none() {
                if !self.has_spool(ctx) {
                    break;
                }
                let (indexed, mirrored) = (self.context.indexer.is_some(), self.context.ports.mirrors.is_some());
                let chart = Segment::new(indexed, mirrored);
                let segment = OnItsWay { chart, completed: None, stored: None, reason: None, leader_epoch: None };
                self.segments.insert(position, segment);
                self.segment_event(position, SegmentEvent::FirstRecord { start: position }, ctx);
                continue; // The spool may have refused.
            }
            let now = self.context.ports.clock.now();
            let open = self.open.as_mut().expect("opened just now or before");
            let appended = open.append(batch, cursor, self.target, now);
            if let Some((last, ..)) = open.last_record() {
                self.figures.taken_to(last.next());
                self.figures.open(open.buffered());
            }
            let growth = if appended.is_ok() { open.account() } else { Growth::Kept };
            match appended {
                Ok(Appended::All | Appended::Block) if growth == Growth::GiveUp => {
                    self.give_up_open(ctx);
                    break;
                }
                Ok(Appended::All) => {
                    self.input.queue.pop_front();
                }
                Ok(Appended::Block) => {
                    self.continue_later(ctx);
                    break;
                }
                Ok(Appended::Boundary(SealReason::UntilEnd)) => {
                    self.finish_input(ctx);
                    break;
                }
                Ok(Appended::Boundary(reason)) => {
                    self.seal(reason, ctx);
                    self.continue_later(ctx);
                    break;
                }
                Err(error) => {
                    self.partition_event(PartitionEvent::Blocked { reason: error.reason }, ctx);
                    break;
                }
            }
        }
        self.look_at_the_clock(ctx);
    }

    /// Seals the open segment where it stands.
    fn seal(&mut self, reason: SealReason, ctx: &mut Context<Self>) {
        let Some((start, final_offset)) = self.open.as_ref().and_then(|open| Some((open.start, open.last_record()?.0)))
        else {
            return;
        };
        let range = OffsetRange::new(start, final_offset).expect("records lie at or after the segment's start");
        let leader_epoch = self.open.as_ref().and_then(OpenSegment::leader_epoch);
        if let Some(segment) = self.segments.get_mut(&start) {
            segment.reason = Some(reason);
            segment.leader_epoch = leader_epoch;
        }
        self.pending.push_back(Pending::Partition(PartitionEvent::SegmentSealed { range }));
        self.segment_event(start, SegmentEvent::BoundaryReached { final_offset, reason }, ctx);
    }

    /// The target of `--until-end` is reached: what is open is sealed, what comes is not wanted.
    fn finish_input(&mut self, ctx: &mut Context<Self>) {
        self.input.finished = true;
        self.input.queue.clear();
        self.granted = None;
        self.context.ports.source.stop_fetching(&self.partition, self.epoch);
        self.seal(SealReason::UntilEnd, ctx);
        self.report_target(ctx);
    }

    pub(super) fn report_target(&mut self, ctx: &mut Context<Self>) {
        let nothing_left = self.segments.is_empty() && self.chart.sealed.is_empty();
        let done = self.input.finished
            && nothing_left
            && self.chart.state() == PartitionStateKind::Active
            && self.commit_seen_to(ctx);
        if done && !std::mem::replace(&mut self.input.target_reported, true) {
            self.report(Report::TargetReached, ctx);
        }
    }

    /// Freezes where something stands in the way, once what lies before it is archived.
    pub(super) fn freeze_if_failed(&mut self, ctx: &mut Context<Self>) {
        let is_done =
            self.segments.is_empty() && self.input.queue.is_empty() && self.chart.state() == PartitionStateKind::Active;
        if let Some(reason) = self.input.failed.take_if(|_| is_done) {
            self.partition_event(PartitionEvent::Blocked { reason }, ctx);
        }
    }

    /// Seals the open segment if the clock says so, or looks again when it may.
    pub(super) fn look_at_the_clock(&mut self, ctx: &mut Context<Self>) {
        if !matches!(self.chart.state, PartitionState::Active { .. }) || !self.input.queue.is_empty() {
            return;
        }
        if let (Some(end), Some(target)) = (self.input.end, self.target)
            && end.position >= target
            && !self.input.finished
        {
            self.finish_input(ctx);
            return;
        }
        if self.input.out_of_range {
            // Kafka no longer has what is held here: it is kept, and then the chain is walked on.
            self.seal(SealReason::Overdue, ctx);
            self.partition_event(PartitionEvent::OutOfRange, ctx);
            return;
        }
        if self.input.failed.is_some() {
            // What is held may not be there any more when the partition is looked at again.
            self.seal(SealReason::Overdue, ctx);
            self.freeze_if_failed(ctx);
            return;
        }
        if self.input.end.is_some() {
            self.set_nothing_aside();
        }
        self.commit_seen_to(ctx);
        let Some(open) = &self.open else { return };
        let Some((last_offset, last_timestamp)) = open.last_record() else { return };
        let caught_up = self.input.end.is_some_and(|end| {
            end.position > last_offset && end.high_watermark.is_none_or(|watermark| watermark <= end.position)
        });
        let since = OpenSince {
            opened_at: open.opened_at,
            last_arrival: open.last_arrival,
            last_timestamp,
            caught_up,
            first_catch_up: !self.input.end_seen_before,
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
