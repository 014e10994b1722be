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

#[cfg(test)]
mod tests {
    use super::super::turns::tests::poll_thread;
    use super::*;
    use kafka_store_actors::messages::LogEvent;
    use kafka_store_actors::ports::{OffsetCommit, RecordSource};
    use kafka_store_statecharts::commit_metadata::CommitMetadata;
    use kafka_store_statecharts::offset::Offset;

    /// librdkafka waits for the coordinator as long as a session lasts, which is 45 s.
    #[test]
    fn neither_a_commit_nor_the_end_waits_for_a_coordinator_that_is_away() {
        let (mock, source, mut thread) = poll_thread(1, &["log_level=0"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        let (epoch, partition) = loop {
            assert!(Instant::now() < deadline, "{thread:#?}");
            thread.step();
            if let Some(LogEvent::Assigned { epoch, partitions }) = thread.out.pop() {
                break (epoch, partitions[0].clone());
            }
        };
        drop(mock);
        let metadata = CommitMetadata { lineage: 1, segment_start: None, seen_to: None };
        let next_offset = Offset::new(1).expect("not negative");
        let committed = source.commit(OffsetCommit { partition, epoch, next_offset, leader_epoch: None, metadata });
        thread.step();
        let left = source.leave_group();
        let asked = Instant::now();
        let ended = std::thread::spawn(move || thread.run());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert!(runtime.block_on(committed).is_err());
        runtime.block_on(left);
        ended.join().expect("no panic");
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
}
