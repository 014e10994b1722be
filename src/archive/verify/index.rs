//! An archive against the rows of its index.

use super::problem::{Problem, ProblemKind};
use super::{Depth, VerifyReport};
use crate::archive::compare::{CompareDepth, CompareError, Divergence, DivergenceKind, compare};
use crate::index::MysqlIndex;
use crate::store::{ArchiveStore, Scope};

/// An archive and the index to compare it with.
#[derive(Debug)]
pub struct AgainstIndex<'a> {
    /// The archive.
    pub store: &'a dyn ArchiveStore,
    /// The index.
    pub index: &'a MysqlIndex,
    /// The part of both.
    pub scope: &'a Scope,
    /// Quickly, checksums of whole files are compared only where the store knows them.
    pub depth: Depth,
}

impl AgainstIndex<'_> {
    /// Compares, and adds what is wrong to the report.
    ///
    /// # Errors
    /// If the store or the index does not answer.
    pub fn compare(&self, report: &mut VerifyReport) -> Result<(), CompareError> {
        let depth = if self.depth == Depth::Deep { CompareDepth::Files } else { CompareDepth::Headers };
        let found = compare(self.store, self.index, self.scope, depth, &mut || ())?;
        report.problems.extend(found.divergences.iter().filter_map(|divergence| self.problem(divergence)));
        if found.incomplete_rows > 0 {
            report.notes.push(format!(
                "{} rows of the original tool lack the columns that it did not know: kafka-store index rebuild fills them",
                found.incomplete_rows
            ));
        }
        Ok(())
    }

    /// The problem that a divergence is; `None` for damage in the archive itself, which is found without the index.
    fn problem(&self, Divergence { name, kind }: &Divergence) -> Option<Problem> {
        let (kind, message) = match kind {
            DivergenceKind::NoRow => (ProblemKind::NoRow, "kafka-store index rebuild makes the row".to_owned()),
            DivergenceKind::OtherRow(what) => {
                (ProblemKind::OtherRow, format!("{what}; kafka-store index rebuild makes it right"))
            }
            DivergenceKind::NoObject => {
                let what = "bring the file back; if it was never there, kafka-store index rebuild removes the row";
                (ProblemKind::RowWithoutSegment, what.to_owned())
            }
            DivergenceKind::Unreadable(_) | DivergenceKind::Unchained(_) => return None,
        };
        Some(Problem { kind, chain: Some(name.chain.clone()), location: self.store.location(name), message })
    }
}
