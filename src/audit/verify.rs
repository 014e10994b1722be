//! Proves that audit logs are whole and tell of nothing but what the charts allow.

use super::chain::Chains;
use super::entry::Started;
use super::instance::{Findings, Instance};
use super::pieces::{AuditReadError, Pieces};
use super::report::{Problems, Report};
use super::tables::{Table, charts_hash};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Verifies the logs of one archive: of any number of daemons, in pieces and in any order.
///
/// # Errors
/// If a file cannot be read, or is no audit log. What is wrong with audit logs is in the [`Report`].
pub fn verify(paths: &[PathBuf]) -> Result<Report, AuditReadError> {
    let (mut report, mut problems, mut chains) = (Report::default(), Problems::default(), Chains::default());
    let pieces = Pieces::scan(paths, &mut problems)?;
    (report.files, report.lines, report.torn_lines) = (pieces.files, pieces.lines, pieces.torn_lines);
    let tables = Table::all();
    let mut starts = Vec::new();
    for (name, runs) in &pieces.instances {
        let mut findings = Findings { report: &mut report, problems: &mut problems, chains: &mut chains };
        let mut instance = Instance::new(name, &tables);
        for run in runs {
            run.read(|place, entry| instance.line(&place, entry, &mut findings))?;
        }
        starts.extend(instance.started.clone());
        instance.finish(&mut findings);
    }
    report.in_doubt_stored = chains.check(&mut problems);
    report.chains = chains.count();
    report.notes = notes(&starts);
    report.problems = problems.0;
    Ok(report)
}

fn notes(starts: &[Started]) -> Vec<String> {
    let mut notes = Vec::new();
    let hash = charts_hash();
    let others: BTreeSet<&str> =
        starts.iter().filter(|start| start.charts != hash).map(|start| start.version.as_str()).collect();
    if !others.is_empty() {
        let versions = others.into_iter().collect::<Vec<_>>().join(", ");
        notes.push(format!("lines of version {versions} were written with other charts than those they are judged by"));
    }
    let mut several = |what: &str, names: BTreeSet<&str>| {
        if names.len() > 1 {
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            notes.push(format!("the logs name several {what} ({names}): give the logs of one archive at a time"));
        }
    };
    several("stores", starts.iter().map(|start| start.store.as_str()).collect());
    several("clusters", starts.iter().filter_map(|start| start.cluster.as_deref()).collect());
    notes
}

#[cfg(test)]
mod tests;
