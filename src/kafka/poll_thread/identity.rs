//! Proving, before records are taken, that the log still is the one that was read before.
//!
//! Fetching begins at the last record that was taken. Where that is in the log no more, the leader is asked whether its
//! log reaches the position in the record's epoch. Both again at each turn, when another leader has written a record, and
//! after a connection was lost: librdkafka itself continues at an offset without a word.

use super::super::check::Check;
use super::super::ffi::PartitionOffset;
use super::PollThread;
use kafka_store_actors::messages::LogEvent;
use kafka_store_statecharts::anchor::Evidence;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicPartition;
use slog::{debug, warn};
use std::time::{Duration, Instant};

/// How long librdkafka may take to begin a seek. It asks the leader later, by itself.
const SEEK_BEGINS_WITHIN: Duration = Duration::from_millis(200);
/// How long a partition that is fetched may bring nothing, not even its end.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

impl PollThread {
    /// Where fetching of a partition begins, and what must come first.
    pub(super) fn begin_checked(&mut self, partition: &TopicPartition) -> Option<PartitionOffset> {
        let fetching = self.partitions.find(partition)?;
        let offset = fetching.begin_checked();
        if matches!(fetching.check, Check::Epoch(_)) {
            self.unproven.push(partition.clone());
        }
        Some(PartitionOffset { partition: partition.clone(), offset })
    }

    /// Has the leader asked about a partition whose last record is in the log no more.
    pub(super) fn prove_by_epoch(&mut self, index: usize) {
        if let Some(fetching) = self.partitions.get(index) {
            self.unproven.push(fetching.partition.clone());
        }
    }

    /// Asks leaders whether their logs reach the position. librdkafka drops what it fetched before, and fetches nothing until the
    /// leader has answered.
    pub(super) fn ask_leaders(&mut self) {
        for partition in std::mem::take(&mut self.unproven) {
            let Some(fetching) = self.partitions.find(&partition).filter(|fetching| fetching.is_fetched()) else {
                continue;
            };
            let (Check::Epoch(epoch), offset) = (fetching.check, fetching.next) else { continue };
            match self.client.seek_validated(&PartitionOffset { partition, offset }, epoch, SEEK_BEGINS_WITHIN) {
                Ok(()) => fetching.check = Check::Passed,
                Err(error) => {
                    debug!(self.log, "seek not begun yet"; "partition" => %fetching.partition, "reason" => %error);
                    self.unproven.push(fetching.partition.clone());
                }
            }
        }
    }

    /// Fetches a partition again from the last record taken.
    pub(super) fn fetch_again(&mut self, index: usize) {
        self.flush(index);
        let Some(partition) = self.partitions.get(index).map(|fetching| fetching.partition.clone()) else { return };
        self.fetch_partition_again(&partition);
    }

    pub(super) fn fetch_partition_again(&mut self, partition: &TopicPartition) {
        debug!(self.log, "partition fetched again from its last record"; "partition" => %partition);
        if self.is_eager {
            self.assign_is_due = true;
            if let Some(fetching) = self.partitions.find(partition) {
                fetching.await_restart();
            }
            return;
        }
        self.fetch_no_more(std::slice::from_ref(partition));
        self.fetch(partition);
    }

    /// Judges the end of a partition: false if it is not to be taken for one.
    pub(super) fn passes_end(&mut self, partition: &TopicPartition, offset: i64) -> bool {
        let Some(fetching) = self.partitions.find(partition) else { return false };
        if fetching.is_parked {
            fetching.is_overtaken = true;
            return false;
        }
        match fetching.check {
            Check::Passed => true,
            Check::Epoch(_) | Check::Restart => false,
            Check::Record(anchor) if offset <= anchor.offset.get() => {
                self.broken(partition, Evidence::EndsAt(Offset::new(offset).unwrap_or_default()));
                false
            }
            // Compaction has removed the record.
            Check::Record(_) => {
                fetching.check = fetching.check.without_record();
                let passes = fetching.check == Check::Passed;
                if !passes {
                    self.unproven.push(partition.clone());
                }
                passes
            }
        }
    }

    /// The log does not continue where it was read. What was fetched before is handed over.
    pub(super) fn broken(&mut self, partition: &TopicPartition, evidence: Evidence) {
        let started = self.partitions.find(partition).and_then(|fetching| fetching.started);
        if let (Some(epoch), Some((seek_epoch, _))) = (self.end_fetching(partition), started) {
            debug!(self.log, "log does not continue where it was read"; "partition" => %partition,
                "evidence" => ?evidence);
            self.out.push(LogEvent::Broken { partition: partition.clone(), epoch, seek_epoch, evidence });
        }
    }

    /// Reports partitions that are fetched and bring nothing, and fetches them again. librdkafka repeats a question that
    /// no leader answers without an event.
    pub(super) fn look_for_silence(&mut self, now: Instant) {
        let mut silent = Vec::new();
        for fetching in self.partitions.iter_mut() {
            if let Some(since) = fetching.silent_since(now)
                && now.saturating_duration_since(since) >= SILENCE
            {
                silent.push((fetching.partition.clone(), fetching.next));
            }
        }
        for (partition, next) in silent {
            if self.client.high_watermark(&partition).is_some_and(|watermark| watermark <= next) {
                continue;
            }
            warn!(self.log, "partition is silent: neither a record nor its end has come; fetching it again";
                "partition" => %partition, "offset" => next.get(), "seconds" => SILENCE.as_secs());
            if let Some(fetching) = self.partitions.find(&partition) {
                fetching.restart_turn(now);
            }
            if !self.is_eager {
                self.fetch_no_more(std::slice::from_ref(&partition));
            }
            self.fetch(&partition);
        }
    }
}
