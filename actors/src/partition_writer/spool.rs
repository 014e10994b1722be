//! What a writer does where the spool has no room.

use super::{PartitionWriter, Pending};
use crate::open_segment::OpenSegment;
use crate::ports::SpoolError;
use actix::prelude::*;
use kafka_store_statecharts::chart::Chart;
use kafka_store_statecharts::failure::Failure;
use kafka_store_statecharts::input::InputStateKind;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::{PartitionEvent, PartitionStateKind};
use slog::{debug, info};

impl PartitionWriter {
    /// Whether there is room for the next segment; if not, the partition stands in line.
    pub(super) fn has_spool(&mut self, ctx: &mut Context<Self>) -> bool {
        if self.granted.is_none() {
            self.granted = self.context.spool.open();
        }
        if self.granted.is_none() && self.chart.state() == PartitionStateKind::Departing {
            info!(self.log, "spool limit exceeded for records that are in no log any more");
            self.granted = Some(self.context.spool.open_beyond());
        } else if self.granted.is_none() {
            debug!(self.log, "the spool has no room for another segment");
            self.partition_event(PartitionEvent::SpoolShort, ctx);
        }
        self.granted.is_some()
    }

    pub(super) fn open_spool(&mut self, start: Offset, ctx: &mut Context<Self>) {
        let mut share = self.granted.take().expect("room is asked for before the first record");
        let file = match self.context.ports.spool.open(&self.chain, self.topic_id, start) {
            Ok(file) => file,
            Err(error) => return self.spool_refused(error),
        };
        if let Some(told) = share.told() {
            ctx.spawn(told.into_actor(self).map(move |told, writer, ctx| {
                // Sealed or dropped meanwhile: there is nothing to give up.
                let is_open = writer.open.as_ref().is_some_and(|open| open.start == start);
                let is_active = writer.chart.state() == PartitionStateKind::Active;
                if told.is_ok() && is_open && is_active && writer.may_be_fetched_again() {
                    writer.give_up_open(ctx);
                }
            }));
        }
        // Another writer's segment may end within it.
        let gap = self.located.as_ref().and_then(|located| located.gap?.at_front_of(start));
        let (boundary, blocks) = (self.context.settings.boundary, self.context.blocks.clone());
        let open = OpenSegment::new(start, (file, share), boundary, blocks, self.now());
        self.open = Some(open.with_gap(gap));
    }

    /// True unless Kafka has deleted records that are held: these stay, whatever the spool lacks.
    pub(super) fn may_be_fetched_again(&self) -> bool {
        let has_ended = matches!(self.input.state(), InputStateKind::Ending | InputStateKind::Ended);
        !has_ended && self.chart.state() != PartitionStateKind::Departing
    }

    /// Gives the open segment up, for the sake of older ones of other partitions.
    pub(super) fn give_up_open(&mut self, ctx: &mut Context<Self>) {
        info!(self.log, "open segment given up, the spool is full: its records are fetched again later";
            "given_up_so_far" => self.context.spool.given_up(), "start" => self.open.as_ref().map(|open| open.start.get()));
        self.partition_event(PartitionEvent::SpoolShort, ctx);
    }

    /// As [`PartitionWriter::spool_refused`], at once.
    pub(super) fn spool_failed(&mut self, error: SpoolError, ctx: &mut Context<Self>) {
        self.spool_refused(error);
        self.run_pending(ctx);
    }

    /// Discards the open segment, if its file does not hold what was written to it, or its disk is full: its records are
    /// fetched again into another, after a wait. What keeps any file from being written, until somebody acts, freezes the
    /// partition.
    fn spool_refused(&mut self, error: SpoolError) {
        let failure = Failure::from(error);
        if failure.passes() && self.may_be_fetched_again() {
            self.spool_failures = self.spool_failures.saturating_add(1);
            let delay = self.delay(self.spool_failures);
            self.tell(&failure, self.spool_failures, delay);
            self.pending.push_back(Pending::Partition(PartitionEvent::SpoolShort));
        } else {
            let reason = self.permanent(&failure);
            self.block(reason);
        }
    }

    /// Stands in line for room for a whole segment, after a wait if the disk refused one.
    pub(super) fn await_spool(&mut self, ctx: &mut Context<Self>) {
        if self.spool_failures == 0 {
            return self.stand_in_line(ctx);
        }
        let epoch = self.chart.seek_epoch;
        ctx.run_later(self.delay(self.spool_failures), move |writer, ctx| {
            if writer.chart.state() == PartitionStateKind::WaitingForSpool && writer.chart.seek_epoch == epoch {
                writer.stand_in_line(ctx);
            }
        });
    }

    fn stand_in_line(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(self.context.spool.wait().into_actor(self).map(|share, writer, ctx| {
            if let (Ok(share), PartitionStateKind::WaitingForSpool) = (share, writer.chart.state()) {
                writer.granted = Some(share);
            }
            writer.partition_event(PartitionEvent::SpoolGranted, ctx);
        }));
    }

    /// All that there is has been taken: what is set aside for more is for others.
    pub(super) fn set_nothing_aside(&mut self) {
        match &self.open {
            Some(open) => open.spool().caught_up(),
            None => self.granted = None,
        }
    }
}
