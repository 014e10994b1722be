//! Where fetching begins, and how the log proves to be the one that a chain was made from.
//!
//! An offset names a place, not a history: a log that was cut, restored or re-created has other records at the same
//! offsets. So fetching begins at a record that is known, and the records after it count only if the log still has it.

use crate::last_record::LastRecord;
use crate::offset::{LeaderEpoch, Offset};

/// A record that was taken: the last one held, or the last one archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Its offset.
    pub offset: Offset,
    /// Its hash and leader epoch.
    pub record: LastRecord,
}

impl Anchor {
    /// Reports whether a record at the same offset may be this one. A leader epoch that one side lacks proves nothing.
    pub fn is(&self, found: &LastRecord) -> bool {
        let epochs_agree = match (self.record.leader_epoch, found.leader_epoch) {
            (Some(known), Some(found)) => known == found,
            _ => true,
        };
        self.record.hash == found.hash && epochs_agree
    }
}

/// How the log is to prove itself before records are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Fetching begins at this record, and it must be there.
    Record(Anchor),
    /// The record is in the log no more. The leader is asked whether its log reaches the position in this epoch (KIP-320).
    Epoch(LeaderEpoch),
    /// Nothing is known of the records before: the chain has none, or is of a format or broker without hashes and epochs.
    #[default]
    Nothing,
}

impl Proof {
    /// The proof that is left where the record itself is in the log no more.
    #[must_use]
    pub fn without_record(self) -> Proof {
        match self {
            Proof::Record(anchor) => anchor.record.leader_epoch.map_or(Proof::Nothing, Proof::Epoch),
            other => other,
        }
    }
}

/// Where fetching of a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchStart {
    /// The first offset wanted.
    pub position: Offset,
    /// What must hold before a record is taken.
    pub proof: Proof,
}

/// How a log was found not to continue where it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The broker has nothing at the offset, or the leader's log ends before it in the epoch asked for.
    OutOfRange,
    /// Another record lies at the anchor's offset.
    Differs(LastRecord),
    /// The log ends here, at or before the anchor.
    EndsAt(Offset),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::last_record::RecordHash;

    fn record(bytes: &[u8], epoch: Option<i32>) -> LastRecord {
        LastRecord { hash: RecordHash::of(bytes), leader_epoch: epoch.and_then(LeaderEpoch::new) }
    }

    #[test]
    fn an_epoch_that_one_side_lacks_proves_nothing() {
        let anchor = |epoch| Anchor { offset: Offset::default(), record: record(b"a", epoch) };
        assert!(anchor(Some(3)).is(&record(b"a", Some(3))));
        assert!(anchor(None).is(&record(b"a", Some(3))) && anchor(Some(3)).is(&record(b"a", None)));
        assert!(!anchor(Some(3)).is(&record(b"a", Some(4))) && !anchor(None).is(&record(b"b", None)));
        assert_eq!(Proof::Record(anchor(Some(3))).without_record(), Proof::Epoch(LeaderEpoch::new(3).expect("legal")));
        assert_eq!(Proof::Record(anchor(None)).without_record(), Proof::Nothing);
    }
}
