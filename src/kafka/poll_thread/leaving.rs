//! Leaving the group. It is bounded: while the coordinator is away, librdkafka waits for the session's timeout.

use super::PollThread;
use slog::warn;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long the group may take to let the member go. Its session ends by itself if it does not.
const LEAVE_TIME: Duration = Duration::from_secs(5);

/// Somebody waits for the group to be left.
#[derive(Debug)]
pub(super) struct Leaving {
    answer: oneshot::Sender<()>,
    deadline: Instant,
}

impl Leaving {
    /// Reports that nothing more will be heard of the group. The one who waits may be gone.
    pub(super) fn done(self) {
        let _ = self.answer.send(());
    }
}

impl PollThread {
    pub(super) fn leave(&mut self, answer: oneshot::Sender<()>) {
        let closing = self.client.close();
        // What cannot be closed is not waited for.
        let time = if closing.is_ok() { LEAVE_TIME } else { Duration::ZERO };
        self.tell_errors("leave the group", closing);
        self.leaving = Some(Leaving { answer, deadline: Instant::now() + time });
    }

    /// Reports whether the group is left, or was not left in time.
    pub(super) fn has_left(&self) -> bool {
        let Some(leaving) = &self.leaving else { return false };
        if self.client.is_closed() {
            return true;
        }
        let is_late = leaving.deadline <= Instant::now();
        if is_late {
            warn!(self.log, "the group was not left in time: its coordinator does not answer; it notices by itself that \
                this member is gone"; "seconds" => LEAVE_TIME.as_secs());
            self.client.abandon();
        }
        is_late
    }
}
