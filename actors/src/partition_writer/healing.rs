//! What a writer does about failures: what passes is tried again for as long as it takes, what does not freezes the
//! partition, and a frozen partition is looked at again.

use super::{PartitionWriter, Pending};
use crate::messages::Report;
use actix::prelude::*;
use kafka_store_statecharts::backoff;
use kafka_store_statecharts::chart::{Chart, Kind};
use kafka_store_statecharts::failure::{Failure, Port};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::partition::{PartitionEvent, PartitionStateKind};
use slog::{debug, error, warn};
use std::time::Duration;

/// How long after the first look a log counts as another one if the second look finds the same.
pub(super) const SECOND_LOOK: Duration = Duration::from_secs(60);
/// How soon a partition that was frozen just now is looked at again; later looks come later and later.
const FIRST_LOOK: Duration = Duration::from_secs(30);

impl PartitionWriter {
    /// The wait after so many failures in a row. Partitions that failed together do not come back together.
    pub(super) fn delay(&self, failures: u32) -> Duration {
        let partition = self.partition.partition.get().to_le_bytes();
        let name = self.partition.topic.as_str().bytes().chain(partition);
        backoff::delay(failures, backoff::salt(name))
    }

    /// Keeps why a call for a segment failed, until the chart says when it is made again.
    pub(super) fn failed(&mut self, start: Offset, failure: Failure) {
        if let Some(segment) = self.segments.get_mut(&start) {
            segment.failure = Some(failure);
        }
    }

    /// Tells that a call for a segment is made again, and says after which wait.
    pub(super) fn tell_retry(&mut self, start: Offset, failures: u32) -> Duration {
        let delay = self.delay(failures);
        let failure = self.segments.get_mut(&start).and_then(|segment| segment.failure.take());
        if let Some(failure) = failure {
            self.tell(&failure, failures, delay);
        }
        delay
    }

    /// Counts and shows a failure that passes.
    pub(super) fn tell(&self, failure: &Failure, failures: u32, delay: Duration) {
        let what = match failure.port {
            Port::Store => "segment not stored, trying again",
            Port::Mirrors => "segment not mirrored, trying again",
            Port::Index => "row not written, trying again",
            Port::Commit => "offset not committed, trying again",
            Port::Spool => "records not kept on disk, fetching them again",
            Port::Kafka => "no answer from Kafka, trying again",
        };
        warn!(self.log, "{}", what; "class" => failure.class.as_str(), "reason" => failure.advice(),
            "attempt" => failures, "next_in_seconds" => delay.as_secs_f64());
        self.figures.troubled(failure, failures, self.now().wall_ms);
    }

    /// Ends the trouble at a port, where a call has succeeded.
    pub(super) fn recovered(&self, port: Port) {
        self.figures.recovered(port);
    }

    /// The store has a segment: whatever the partition was interrupted for before is over.
    pub(super) fn store_answered(&mut self) {
        self.disturbances = 0;
        self.recovered(Port::Store);
        self.recovered(Port::Spool);
        if self.fetch_failures == 0 {
            self.recovered(Port::Kafka);
        }
    }

    /// Counts a failure that does not pass, and returns what to tell the operator. Records that no log has any more are
    /// tried again even so.
    pub(super) fn permanent(&self, failure: &Failure) -> String {
        self.context.figures.failed(failure);
        format!("{}: {}", self.partition, failure.advice())
    }

    /// Gives up what is held, since it cannot be kept: Kafka has it, unless the topic is gone.
    pub(super) fn give_up_held(&mut self, failure: Failure) {
        let is_in_kafka = self.chart.state() != PartitionStateKind::Departing;
        if failure.passes() && is_in_kafka {
            self.disturbances += 1;
            let delay = self.delay(self.disturbances);
            self.tell(&failure, self.disturbances, delay);
            self.pending.push_back(Pending::Partition(PartitionEvent::Interrupted));
        } else {
            let reason = self.permanent(&failure);
            self.block(reason);
        }
    }

    /// A broker did not give records; the client asks again by itself.
    pub(super) fn interrupted(&mut self, failure: &Failure) {
        self.fetch_failures = self.fetch_failures.saturating_add(1);
        warn!(self.log, "records not fetched, trying again"; "class" => failure.class.as_str(),
            "reason" => failure.advice(), "attempt" => self.fetch_failures);
        self.figures.troubled(failure, self.fetch_failures, self.now().wall_ms);
    }

    /// The broker gives what it has.
    pub(super) fn hears_of_kafka(&mut self) {
        self.doubted_at_ms = None;
        self.frozen_looks = 0;
        if std::mem::take(&mut self.fetch_failures) > 0 {
            self.recovered(Port::Kafka);
        }
    }

    pub(super) fn report_frozen(&mut self, reason: String, ctx: &mut Context<Self>) {
        self.figures.tries_nothing();
        let ways_out = format!("kafka-store resolve --partition {}", self.partition);
        if std::mem::replace(&mut self.is_reported_frozen, true) && self.frozen_for.as_ref() == Some(&reason) {
            debug!(self.log, "partition still frozen"; "looks" => self.frozen_looks, "reason" => &reason);
        } else {
            error!(self.log, "partition frozen"; "reason" => &reason, "ways_out" => ways_out);
        }
        self.frozen_for = Some(reason.clone());
        self.report(Report::Frozen { reason }, ctx);
    }

    /// Looks again: at a log that was doubted after a minute, at what is tried again or frozen later and later.
    pub(super) fn look_later(&mut self, ctx: &mut Context<Self>) {
        let state = self.chart.state();
        let wait = match state {
            PartitionStateKind::Retrying => self.delay(self.disturbances),
            PartitionStateKind::Frozen => {
                let longest = self.context.settings.reexamine_after;
                FIRST_LOOK.saturating_mul(1 << self.frozen_looks.min(16)).min(longest)
            }
            _ => SECOND_LOOK,
        };
        self.looks += 1;
        let look = self.looks;
        ctx.run_later(wait, move |writer, ctx| {
            if writer.looks == look && writer.chart.state() == state {
                writer.look(ctx);
            }
        });
    }

    /// Somebody asks for a look.
    pub(super) fn look_again(&mut self, ctx: &mut Context<Self>) {
        if self.chart.state() == PartitionStateKind::Frozen {
            self.look(ctx);
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.chart.state() == PartitionStateKind::Frozen {
            self.frozen_looks = self.frozen_looks.saturating_add(1);
        }
        debug!(self.log, "looking again"; "state" => self.chart.state().as_str());
        self.partition_event(PartitionEvent::LookDue, ctx);
    }
}
