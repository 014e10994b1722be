//! Where a log is entered, and how it is to prove that it is the one that a chain was made from.

use super::locate::{LocatorParams, Unanswered};
use super::walk::{Commit, Tail};
use crate::config::OnDataLoss;
use kafka_store_actors::ports::Blocked;
use kafka_store_statecharts::anchor::{Anchor, Proof};
use kafka_store_statecharts::gap::{Gap, GapReason};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset, OffsetRange};
use kafka_store_statecharts::topic::TopicPartition;

/// Where a log is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) fetch_from: Offset,
    /// What may have been lost before that.
    pub(super) gap: Option<Gap>,
}

/// The record that a chain ends with, and what must hold before the next one is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogProof {
    pub(super) last_record: Option<Anchor>,
    pub(super) proof: Proof,
}

impl LogProof {
    /// The proof for a chain that ends so, in a log that starts at `log_start`.
    ///
    /// The record itself proves most. Where it is in the log no more, or the chain's end does not say it, the leader is asked
    /// about its epoch: that of the record, of a commit exactly at the chain's end, or of the origin.
    pub(super) fn of(tail: Tail, log_start: Offset, commit: Option<Commit>) -> LogProof {
        let last_record = tail.archived().last_record;
        let proof = match last_record {
            Some(anchor) if anchor.offset >= log_start => Proof::Record(anchor),
            Some(Anchor { record, .. }) => by_epoch(record.leader_epoch.or(committed_epoch(tail, commit))),
            None => match tail {
                Tail::Segments { .. } => by_epoch(committed_epoch(tail, commit)),
                Tail::Origin { leader_epoch, .. } => by_epoch(leader_epoch),
                Tail::Nothing => Proof::Nothing,
            },
        };
        LogProof { last_record, proof }
    }
}

fn by_epoch(epoch: Option<LeaderEpoch>) -> Proof {
    epoch.map_or(Proof::Nothing, Proof::Epoch)
}

fn committed_epoch(tail: Tail, commit: Option<Commit>) -> Option<LeaderEpoch> {
    commit.filter(|commit| tail.end() == Some(commit.next_offset))?.leader_epoch
}

impl LocatorParams {
    /// Where the log is entered: at the next offset, unless the log starts later.
    ///
    /// Nothing is concluded from where it ends: that is found out by fetching.
    pub(super) fn enter_log(
        &self,
        partition: &TopicPartition,
        position: Offset,
        log_start: Offset,
        commit: Option<Commit>,
    ) -> Result<Entry, Unanswered> {
        if log_start <= position {
            return Ok(Entry { fetch_from: position, gap: None });
        }
        let seen_to = commit.filter(|commit| commit.next_offset == position).and_then(|commit| commit.metadata.seen_to);
        // Nothing was lost if nothing was visible there, which a commit may say.
        let lost_from = seen_to.map_or(position, |seen_to| seen_to.max(position));
        let lost = log_start.previous().and_then(|last| OffsetRange::new(lost_from, last));
        match (lost, self.on_data_loss) {
            (None, _) => Ok(Entry { fetch_from: log_start, gap: None }),
            (Some(offsets), OnDataLoss::Record) => {
                Ok(Entry { fetch_from: log_start, gap: Some(Gap { offsets, reason: GapReason::Deleted }) })
            }
            (Some(offsets), OnDataLoss::Freeze) => Err(Unanswered::Blocked(Blocked {
                reason: format!(
                    "{partition}: the archive ends before {position}, and Kafka's log begins at {log_start}: the records \
                     between were deleted before they were archived ({} offsets). To go on without them, and to write \
                     down in the archive that they are missing, start with --on-data-loss=record",
                    offsets.offset_count()
                ),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_store_statecharts::commit_metadata::CommitMetadata;
    use kafka_store_statecharts::last_record::{LastRecord, RecordHash};

    fn offset(number: i64) -> Offset {
        Offset::new(number).expect("legal")
    }

    fn epoch(number: i32) -> Option<LeaderEpoch> {
        LeaderEpoch::new(number)
    }

    fn record(leader_epoch: Option<LeaderEpoch>) -> LastRecord {
        LastRecord { hash: RecordHash::of(b"the last one"), leader_epoch }
    }

    fn segments(last_record: Option<LastRecord>) -> Tail {
        Tail::Segments { next_offset: offset(10), last_start: offset(0), last_record, topic_id: None }
    }

    fn commit(next_offset: i64, leader_epoch: Option<LeaderEpoch>) -> Option<Commit> {
        Some(Commit { next_offset: offset(next_offset), leader_epoch, metadata: CommitMetadata::default() })
    }

    fn proof(tail: Tail, log_start: i64, commit: Option<Commit>) -> Proof {
        LogProof::of(tail, offset(log_start), commit).proof
    }

    #[test]
    fn the_last_record_proves_the_log_that_still_has_it() {
        let anchor = Anchor { offset: offset(9), record: record(epoch(3)) };
        for log_start in [0, 9] {
            let found = LogProof::of(segments(Some(record(epoch(3)))), offset(log_start), commit(10, epoch(4)));
            assert_eq!(found, LogProof { last_record: Some(anchor), proof: Proof::Record(anchor) });
        }
    }

    #[test]
    fn its_epoch_proves_the_log_that_has_it_no_more() {
        for log_start in [10, 50] {
            assert_eq!(
                proof(segments(Some(record(epoch(3)))), log_start, None),
                Proof::Epoch(epoch(3).expect("legal"))
            );
            assert_eq!(proof(segments(Some(record(None))), log_start, None), Proof::Nothing);
        }
    }

    #[test]
    fn a_commit_at_the_end_says_the_epoch_where_the_archive_does_not() {
        assert_eq!(proof(segments(None), 0, commit(10, epoch(4))), Proof::Epoch(epoch(4).expect("legal")));
        assert_eq!(proof(segments(None), 0, commit(9, epoch(4))), Proof::Nothing, "it is of another record");
        assert_eq!(proof(segments(None), 0, commit(10, None)), Proof::Nothing);
        assert_eq!(
            proof(segments(Some(record(None))), 50, commit(10, epoch(4))),
            Proof::Epoch(epoch(4).expect("legal"))
        );
    }

    #[test]
    fn an_origin_says_its_epoch() {
        let origin = |leader_epoch| Tail::Origin { offset: offset(10), leader_epoch, topic_id: None };
        assert_eq!(proof(origin(epoch(2)), 0, commit(10, epoch(7))), Proof::Epoch(epoch(2).expect("legal")));
        assert_eq!(proof(origin(None), 0, None), Proof::Nothing);
        assert_eq!(proof(Tail::Nothing, 0, None), Proof::Nothing);
    }
}
