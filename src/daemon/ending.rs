//! How the daemon ends.

use super::stop_signals::StopSignals;
use crate::config::UntilEnd;
use crate::exit::ExitCode;
use actix::Addr;
use kafka_store_actors::consumer::{Consumer, Finished};
use kafka_store_actors::messages::{Drain, LookAgain};
use slog::{Logger, error, info, warn};
use tokio::sync::oneshot;

/// How the wait ended.
pub(super) enum Ended {
    /// All is told; true if the time was up.
    Finished(Finished, bool),
    /// Somebody does not want to wait.
    SecondSignal,
}

/// Waits until all is archived, the time is up, or somebody asks the process to stop.
pub(super) async fn wait_for_the_end(
    consumer: &Addr<Consumer>,
    mut end: oneshot::Receiver<Finished>,
    until_end: Option<UntilEnd>,
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
    let timed_out = tokio::select! {
        finished = &mut end => return Ended::Finished(finished.expect("the Consumer tells its end"), false),
        signal = stop.next(look_again) => {
            info!(log, "stopping"; "signal" => signal);
            false
        }
        () = time_is_up => {
            warn!(log, "the time is up"; "seconds" => timeout.map(|timeout| timeout.as_secs()));
            true
        }
    };
    if consumer.send(Drain).await.is_err() {
        warn!(log, "the Consumer has ended already");
    }
    tokio::select! {
        finished = end => Ended::Finished(finished.expect("the Consumer tells its end"), timed_out),
        _ = stop.next(|| ()) => Ended::SecondSignal,
    }
}

/// What the process exits with.
pub(super) fn exit_code(finished: &Finished, timed_out: bool, log: &Logger) -> ExitCode {
    if !finished.frozen.is_empty() {
        let partitions: Vec<String> = finished.frozen.keys().map(ToString::to_string).collect();
        error!(log, "partitions are frozen, for the reasons above; kafka-store resolve shows the ways out";
            "partitions" => partitions.join(" "));
    }
    if let Some(reason) = &finished.client_failed {
        error!(log, "kafka's client has failed for good"; "reason" => reason);
        return ExitCode::Fenced;
    }
    if timed_out && !finished.unreached.is_empty() {
        error!(log, "targets not reached"; "partitions" => finished.unreached.len());
        return ExitCode::TimedOut;
    }
    if finished.unreached.iter().any(|partition| finished.frozen.contains_key(partition)) {
        return ExitCode::Frozen;
    }
    ExitCode::Done
}
