//! How the daemon ends.

use super::stop_signals::StopSignals;
use crate::config::UntilEnd;
use crate::exit::ExitCode;
use actix::Addr;
use kafka_store_actors::consumer::{Consumer, Finished};
use kafka_store_actors::messages::{Drain, LookAgain};
use slog::{Logger, error, info, warn};
use std::time::Duration;
use tokio::sync::oneshot;

/// How the wait ended.
pub(super) enum Ended {
    /// All is told.
    Finished(Finished, Why),
    /// It was not, within the time that the process has for its end.
    Late(Why),
    /// Somebody does not want to wait.
    SecondSignal,
}

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// All is archived, or can't be.
    AllDone,
    /// Somebody asks it to.
    Signal,
    /// `--timeout` is over.
    TimeIsUp,
}

/// Waits until all is archived, the time is up, or somebody asks the process to stop.
pub(super) async fn wait_for_the_end(
    consumer: &Addr<Consumer>,
    mut end: oneshot::Receiver<Finished>,
    (until_end, shutdown_timeout): (Option<UntilEnd>, Duration),
    stop: &mut StopSignals,
    log: &Logger,
) -> Ended {
    let timeout = until_end.and_then(|until_end| until_end.timeout);
    let time_is_up = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let look_again = || {
        info!(log, "looking at frozen partitions again"; "signal" => "SIGHUP");
        // It has ended, or its mailbox is full: whoever asks can ask again.
        if let Err(error) = consumer.try_send(LookAgain) {
            warn!(log, "not looked"; "reason" => %error);
        }
    };
    let why = tokio::select! {
        finished = &mut end => return Ended::Finished(finished.expect("the Consumer tells its end"), Why::AllDone),
        signal = stop.next(look_again) => {
            info!(log, "stopping"; "signal" => signal);
            Why::Signal
        }
        () = time_is_up => {
            warn!(log, "the time is up"; "seconds" => timeout.map(|timeout| timeout.as_secs()));
            Why::TimeIsUp
        }
    };
    let drained = async {
        if consumer.send(Drain).await.is_err() {
            warn!(log, "the Consumer has ended already");
        }
        end.await.expect("the Consumer tells its end")
    };
    tokio::select! {
        finished = drained => Ended::Finished(finished, why),
        () = tokio::time::sleep(shutdown_timeout) => {
            warn!(log, "not everything ended within --shutdown-timeout; the next start goes on from the archive";
                "seconds" => shutdown_timeout.as_secs_f64());
            Ended::Late(why)
        }
        _ = stop.next(|| ()) => Ended::SecondSignal,
    }
}

/// What the process exits with.
pub(super) fn exit_code(finished: &Finished, why: Why, log: &Logger) -> ExitCode {
    if !finished.frozen.is_empty() {
        let partitions: Vec<String> = finished.frozen.keys().map(ToString::to_string).collect();
        error!(log, "partitions are frozen, for the reasons above; kafka-store resolve shows the ways out";
            "partitions" => partitions.join(" "));
    }
    if let Some(reason) = &finished.client_failed {
        error!(log, "another process has taken this member's identity; give each a group.instance.id of its own";
            "reason" => reason);
        return ExitCode::Fenced;
    }
    if why == Why::TimeIsUp && !finished.unreached.is_empty() {
        error!(log, "targets not reached"; "partitions" => finished.unreached.len());
        return ExitCode::TimedOut;
    }
    if finished.unreached.iter().any(|partition| finished.frozen.contains_key(partition)) {
        return ExitCode::Frozen;
    }
    if why == Why::AllDone && !finished.stalled.is_empty() {
        let partitions: Vec<String> = finished.stalled.iter().map(ToString::to_string).collect();
        error!(log, "other members of the group did not archive their partitions; look at their logs, or stop them and \
            start again"; "partitions" => partitions.join(" "));
        return ExitCode::Stalled;
    }
    ExitCode::Done
}
