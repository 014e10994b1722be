//! One segment, from its first record until its offset is committed.

use super::chain::Chains;
use super::entry::{Content, Moved, PartitionKey};
use super::instance::Findings;
use super::report::{Place, ProblemKind};
use super::tables::name;

/// What its lines said so far.
#[derive(Debug)]
pub(super) struct SegmentTrail {
    /// Whether it was told from its first line on.
    is_known: bool,
    pub(super) partition: Option<PartitionKey>,
    /// The last offset and the number of records.
    sealed: Option<(u64, u64)>,
    completed: Option<Content>,
    stored: Option<Content>,
}

impl SegmentTrail {
    pub(super) fn new(is_known: bool) -> SegmentTrail {
        SegmentTrail { is_known, partition: None, sealed: None, completed: None, stored: None }
    }

    /// Takes a transition. The error is what a line lacks.
    pub(super) fn step(
        &mut self,
        partition: &PartitionKey,
        start: u64,
        indexed: Option<bool>,
        place: &Place,
        moved: &Moved,
        findings: &mut Findings<'_>,
    ) -> Result<(), String> {
        self.partition = Some(partition.clone());
        match moved.to.as_str() {
            name::SEALING => {
                let sealed = (moved.final_offset()?, moved.record_count()?);
                if sealed.0 < start || sealed.1 == 0 || sealed.1 > sealed.0 - start + 1 {
                    let message = format!("{} records from {start} to {}", sealed.1, sealed.0);
                    findings.problems.add(ProblemKind::Contradiction, place, message);
                }
                self.sealed = Some(sealed);
            }
            name::AWAITING_TURN => {
                let content = moved.content()?;
                let sealed = (content.final_offset, content.record_count);
                self.agree(self.sealed.is_none_or(|other| other == sealed), "what was sealed", place, findings);
                self.completed = Some(content);
            }
            name::MIRRORING => self.resolve(partition, start, place, moved, findings)?,
            name::AWAITING_PREDECESSOR if moved.from == name::MIRRORING => {
                let content = moved.content()?;
                let as_stored = self.stored.as_ref().is_none_or(|stored| *stored == content);
                self.agree(as_stored, "what the arbiter holds", place, findings);
            }
            name::AWAITING_PREDECESSOR => self.resolve(partition, start, place, moved, findings)?,
            name::AWAITING_INDEX_ROW => {
                let row = (moved.final_offset()?, moved.record_count()?);
                let stored = self.stored.as_ref().map(|stored| (stored.final_offset, stored.record_count));
                self.agree(stored.is_none_or(|other| other == row), "what is stored", place, findings);
                if indexed == Some(false) {
                    let message = "a row is written, but this instance has no index";
                    findings.problems.add(ProblemKind::Contradiction, place, message);
                }
            }
            name::AWAITING_OFFSET_COMMIT => {
                if indexed == Some(true) && moved.from == name::AWAITING_PREDECESSOR {
                    let message = format!("the offset of segment {start} is committed without a row");
                    findings.problems.add(ProblemKind::MissingRow, place, message);
                }
                self.check_commit(start, place, moved, findings)?;
            }
            name::IDLE if moved.event == name::OFFSET_COMMITTED => {
                self.check_commit(start, place, moved, findings)?;
                findings.report.committed += 1;
            }
            name::IDLE => self.leave_in_doubt(partition, start, &moved.from, findings.chains),
            _ => {}
        }
        Ok(())
    }

    /// The store has the segment, or has had another under its name.
    fn resolve(
        &mut self,
        partition: &PartitionKey,
        start: u64,
        place: &Place,
        moved: &Moved,
        findings: &mut Findings<'_>,
    ) -> Result<(), String> {
        let content = moved.content()?;
        if content.final_offset < start {
            let message = format!("{partition}/{start:020} ends at {}", content.final_offset);
            findings.problems.add(ProblemKind::Contradiction, place, message);
        }
        if moved.event == name::OBJECT_STORED {
            let as_completed = self.completed.as_ref().is_none_or(|completed| *completed == content);
            self.agree(as_completed, "what was completed", place, findings);
            findings.report.stored += 1;
        } else {
            findings.report.adopted += 1;
        }
        findings.chains.stored(partition, start, &content, place, findings.problems);
        self.stored = Some(content);
        Ok(())
    }

    fn check_commit(
        &self,
        start: u64,
        place: &Place,
        moved: &Moved,
        findings: &mut Findings<'_>,
    ) -> Result<(), String> {
        let committed = moved.next_offset()?;
        match &self.stored {
            Some(stored) if stored.next_offset() == committed => {}
            Some(stored) => {
                let message = format!("{committed} is committed, and segment {start} ends at {}", stored.final_offset);
                findings.problems.add(ProblemKind::WrongCommit, place, message);
            }
            None if self.is_known => {
                let message = format!("{committed} is committed, and segment {start} was not stored before");
                findings.problems.add(ProblemKind::CommitBeforeStore, place, message);
            }
            None => {}
        }
        Ok(())
    }

    fn agree(&self, agrees: bool, with: &str, place: &Place, findings: &mut Findings<'_>) {
        if !agrees {
            findings.problems.add(ProblemKind::Contradiction, place, format!("it is not {with}"));
        }
    }

    /// It goes no further. If its upload was under way, it may have come to its end all the same.
    pub(super) fn leave_in_doubt(&self, partition: &PartitionKey, start: u64, state: &str, chains: &mut Chains) {
        if let (name::UPLOADING, Some((final_offset, _))) = (state, self.sealed) {
            chains.in_doubt(partition, start, final_offset.saturating_add(1));
        }
    }
}
