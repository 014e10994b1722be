//! What the thread does while the budget of memory is short.

use super::super::fetching::Fetching;
use super::PollThread;
use crate::config::QUEUED_RECORD_BYTES;
use kafka_store_statecharts::topic::TopicPartition;
use slog::debug;
use std::time::{Duration, Instant};

/// How long partitions that hold half of the budget may give nothing back before they are paused: a writer that only
/// takes its turn gives back a batch in a fraction of it.
const STANDSTILL_BEFORE_PAUSE: Duration = Duration::from_millis(100);
/// How often the partitions are looked at, of which there may be thousands.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(20);

impl PollThread {
    /// Whether there is no room for what comes next. What paused partitions hold does not keep the others from half of
    /// the budget: their writers may wait for long, until a slow store has taken a segment.
    pub(super) fn is_short(&self) -> bool {
        let others_bytes = self.budget.used_bytes().saturating_sub(self.paused_bytes);
        self.held.is_some() || (self.budget.is_used_up() && others_bytes >= self.budget.limit_bytes() / 2)
    }

    /// What there must be room for before anything is taken.
    pub(super) fn needed_bytes(&self) -> u64 {
        // Not at each batch that is given back: waking up costs more than taking the next one.
        self.held.as_ref().map_or(self.budget.limit_bytes() / 8, |held| held.bytes)
    }

    /// How many records may be taken at once, which librdkafka then no longer counts.
    pub(super) fn most_at_once(&self) -> usize {
        let most = self.memory.at_once_bytes / (self.record_bytes as u64 + QUEUED_RECORD_BYTES);
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// From time to time, pauses partitions that hold much and stand still while others could go on, and resumes each when it
    /// has drained; and leads those again of which nothing has come yet.
    ///
    /// Pausing throws away what was fetched ahead, and it is fetched and unpacked again: a partition that is only
    /// slower than others goes on.
    pub(super) fn see_to_partitions(&mut self) {
        let (limit, used) = (self.budget.limit_bytes(), self.budget.used_bytes());
        let now = Instant::now();
        if now.saturating_duration_since(self.looked_at) >= LOOK_INTERVAL {
            self.looked_at = now;
            self.look_at_partitions(limit, used > limit / 2, now);
            self.look_for_silence(now);
        }
    }

    /// Resumes partitions that are about to be fetched no more. librdkafka keeps a pause beyond the end of an assignment:
    /// fetched again, they would stay paused.
    pub(super) fn end_pauses(&mut self, partitions: &[TopicPartition]) {
        let mut paused = partitions.to_vec();
        paused.retain(|partition| {
            self.partitions.find(partition).is_some_and(|fetching| std::mem::take(&mut fetching.paused))
        });
        if !paused.is_empty() {
            self.tell_errors("resume", self.client.resume(&paused));
        }
    }

    fn look_at_partitions(&mut self, limit: u64, is_watched: bool, now: Instant) {
        let (mut standing_bytes, mut others_go_on) = (0, false);
        let mut standing = Vec::new();
        for fetching in self.partitions.iter_mut() {
            if fetching.is_fetched() && !fetching.is_heard {
                // It may have been undone since.
                self.client.lead_records(&fetching.partition);
            }
            let stands = stands_still(fetching, is_watched, now);
            standing.push(stands);
            if stands {
                standing_bytes += fetching.in_use.bytes();
            } else {
                others_go_on |= fetching.started.is_some();
            }
        }
        let too_much_stands = others_go_on && standing_bytes > limit / 2;
        let (mut full, mut drained) = (Vec::new(), Vec::new());
        self.paused_bytes = 0;
        for (fetching, stands) in self.partitions.iter_mut().zip(standing) {
            // Nothing may overtake it.
            let has_moved = !stands && !fetching.is_parked && (!is_watched || fetching.in_use.bytes() < limit / 8);
            if stands && too_much_stands {
                fetching.is_stalled = true;
            } else if fetching.is_stalled && has_moved {
                fetching.is_stalled = false;
                if fetching.waits_for_turn() {
                    self.turns.await_one(fetching);
                }
            }
            if fetching.is_stalled {
                self.paused_bytes += fetching.in_use.bytes();
            }
            if fetching.is_fetched() && fetching.is_stalled && !fetching.paused {
                fetching.paused = true;
                full.push(fetching.partition.clone());
            } else if fetching.is_fetched() && fetching.paused && !fetching.is_stalled {
                fetching.paused = false;
                drained.push(fetching.partition.clone());
            }
        }
        if !full.is_empty() {
            debug!(self.log, "partitions paused"; "count" => full.len());
            self.tell_errors("pause", self.client.pause(&full));
        }
        if !drained.is_empty() {
            debug!(self.log, "partitions resumed"; "count" => drained.len());
            self.tell_errors("resume", self.client.resume(&drained));
        }
    }

    /// Whether a large record has room. What stalled partitions have does not count against it, as far as the others stay
    /// below half of the budget; one always passes.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        let others_bytes = self.budget.used_bytes().saturating_sub(self.paused_bytes);
        self.budget.has_room_for(bytes) || others_bytes == 0 || others_bytes + bytes <= self.budget.limit_bytes() / 2
    }
}

/// Whether a partition's writer has something, and has given nothing of it back for a while.
fn stands_still(fetching: &mut Fetching, is_watched: bool, now: Instant) -> bool {
    if !is_watched {
        fetching.moved = None;
        return false;
    }
    fetching.in_use.bytes() > 0 && fetching.stands_still_for(now) >= STANDSTILL_BEFORE_PAUSE
}
