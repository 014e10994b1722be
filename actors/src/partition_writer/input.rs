//! How a writer runs the chart of its input, and carries out its effects.

use super::{PartitionWriter, Pending};
use crate::messages::Report;
use actix::prelude::*;
use kafka_store_statecharts::chart::{self, Chart, Refusal};
use kafka_store_statecharts::input::{InputEffect, InputEnd, InputEvent, InputState, InputStateKind};
use kafka_store_statecharts::partition::{PartitionEvent, PartitionStateKind};
use slog::debug;

impl PartitionWriter {
    /// Gives an event to the chart of the input, and carries out everything that follows.
    pub(super) fn input_event(&mut self, event: InputEvent, ctx: &mut Context<Self>) {
        match chart::on(&self.input, self.now(), event) {
            Ok(transition) => {
                self.input = transition.chart;
                for effect in transition.effects {
                    self.carry_out_for_input(effect, ctx);
                }
            }
            Err(refused) => match refused.refusal {
                Refusal::Stale => debug!(self.log, "stale event"; "what" => %refused),
                Refusal::Impossible => panic!("{} input: {refused}", self.partition),
            },
        }
    }

    fn carry_out_for_input(&mut self, effect: InputEffect, ctx: &mut Context<Self>) {
        match effect {
            InputEffect::StopFetching => {
                self.queue.clear();
                self.held.clear();
                self.granted = None;
                self.context.ports.source.stop_fetching(&self.partition, self.epoch);
            }
            InputEffect::SealRest { reason } => {
                self.seal(reason, ctx);
                self.report_target(ctx);
            }
            InputEffect::ReportTarget => self.report(Report::TargetReached, ctx),
            InputEffect::EndInput => match &self.input.state {
                InputState::Ended { end: InputEnd::Failed { .. } } => self.freeze_if_failed(ctx),
                _ => {
                    self.granted = None;
                    self.pending.push_back(Pending::Partition(PartitionEvent::InputEnded));
                    self.run_pending(ctx);
                }
            },
        }
    }

    pub(super) fn report_target(&mut self, ctx: &mut Context<Self>) {
        let nothing_left = self.segments.is_empty() && self.chart.sealed.is_empty();
        let is_done = self.input.state() == InputStateKind::Finished
            && nothing_left
            && self.chart.state() == PartitionStateKind::Active
            && self.commit_seen_to(ctx);
        if is_done {
            self.input_event(InputEvent::TargetArchived, ctx);
        }
    }

    /// Freezes where something cannot be read, once what lies before it is archived.
    pub(super) fn freeze_if_failed(&mut self, ctx: &mut Context<Self>) {
        let InputState::Ended { end: InputEnd::Failed { reason } } = &self.input.state else { return };
        if self.segments.is_empty() && self.chart.state() == PartitionStateKind::Active {
            let reason = reason.clone();
            self.partition_event(PartitionEvent::Blocked { reason }, ctx);
        }
    }
}
