//! Problems that the comparison of a chain's records shows.

use super::ends::KafkaTail;
use super::merge::{OtherEpoch, RecordComparison};
use crate::archive::verify::problem::{Problem, ProblemKind};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;

/// The problems that a comparison shows.
pub(super) fn judge(chain: &ChainName, found: &RecordComparison, tail: &KafkaTail) -> Vec<Problem> {
    let messages = [other_history(found), records_differ(found), not_archived(found), beyond_log(found, tail)];
    messages.into_iter().flatten().map(|(kind, message)| Problem::of_chain(kind, chain, message)).collect()
}

const WAYS_OUT: &str = "kafka-store resolve shows the ways out";
const CUT: &str = "the log was cut and written again, as after a restored disk or an unclean leader election";

fn other_history(found: &RecordComparison) -> Option<(ProblemKind, String)> {
    if !found.is_other_history() {
        return None;
    }
    let message = match (found.first_different, found.other_epoch, found.lost_epoch) {
        (Some(first), ..) => format!(
            "Kafka's records differ from the archived ones from offset {first} on ({}): {CUT}; {WAYS_OUT}",
            before(found.last_equal)
        ),
        (None, Some(OtherEpoch { offset, archived, logged }), _) => format!(
            "the record at offset {offset} was appended by a leader of epoch {}, and Kafka's by one of epoch {}: {CUT}, \
             with the same record; {WAYS_OUT}",
            archived.get(),
            logged.get()
        ),
        (None, None, Some((offset, epoch))) => format!(
            "the last archived record, at offset {offset}, is not in Kafka, and Kafka's log does not reach it in the epoch {} \
             of the leader that appended it ({}): {CUT}; {WAYS_OUT}",
            epoch.get(),
            before(found.last_equal)
        ),
        (None, None, None) => return None,
    };
    Some((ProblemKind::OtherHistory, message))
}

fn before(last_equal: Option<Offset>) -> String {
    match last_equal {
        Some(offset) => format!("{offset} is the last that is the same"),
        None => "of those that Kafka still has none is the same".to_owned(),
    }
}

fn records_differ(found: &RecordComparison) -> Option<(ProblemKind, String)> {
    let (Some(first), Some(last)) = (found.first_different, found.last_different) else { return None };
    if found.is_other_history() {
        return None;
    }
    let message = format!(
        "{} of Kafka's records between the offsets {first} and {last} differ from the archived ones, and later ones are \
         the same: the archived ones are those that their writer hashed; check the brokers' disks and replicas",
        found.different
    );
    Some((ProblemKind::RecordsDiffer, message))
}

fn not_archived(found: &RecordComparison) -> Option<(ProblemKind, String)> {
    let (Some(first), Some(last)) = (found.first_not_archived, found.last_not_archived) else { return None };
    let message = format!(
        "{} of Kafka's records between the offsets {first} and {last} are in no segment, and the archive goes on after \
         them",
        found.not_archived
    );
    Some((ProblemKind::NotArchived, message))
}

/// A high watermark before the archive's end is a problem of its own.
fn beyond_log(found: &RecordComparison, tail: &KafkaTail) -> Option<(ProblemKind, String)> {
    let is_known = tail.next_offset.is_some_and(|next| next > tail.high_watermark);
    if found.beyond_log == 0 || is_known {
        return None;
    }
    let message = format!(
        "{} archived records lie beyond the end of what Kafka shows now, {}: {CUT}; {WAYS_OUT}",
        found.beyond_log, tail.last_stable
    );
    Some((ProblemKind::LogChanged, message))
}
