//! `kafka-store plan`: what the daemon would do with the same flags.

use super::CommandError;
use crate::config::DaemonConfig;
use crate::daemon::{Purpose, Reached};
use crate::exit::ExitCode;
use slog::Logger;
use std::io::{self, Write};

/// Reaches the brokers, checks topics and rights, tries the store, and says for each partition where it would
/// start and why. Nothing is changed but for a temporary directory that is gone again at the end.
///
/// # Errors
/// What keeps the daemon from starting; or, after the table, that some partitions could not go on.
pub fn run(config: &DaemonConfig, log: &Logger) -> Result<(), CommandError> {
    let reached = Reached::new(config, Purpose::Plan, log).map_err(|error| CommandError::new(error.to_string()))?;
    let result = show(&reached);
    reached.stores.remove_directories();
    result
}

fn show(reached: &Reached) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    let failed = |error: io::Error| CommandError::new(format!("cannot write to stdout: {error}"));
    writeln!(out, "store    {}", reached.stores.describe()).map_err(failed)?;
    let cluster = reached.params.identity.cluster_id.as_deref().unwrap_or("(without an id)");
    writeln!(out, "cluster  {cluster}").map_err(failed)?;
    if let Some(index) = &reached.params.index {
        writeln!(out, "index    {}", index.describe()).map_err(failed)?;
    }
    writeln!(out, "group    {}", reached.params.group).map_err(failed)?;
    let name = |index: usize| reached.partitions[index].to_string();
    let width = (0..reached.partitions.len()).map(|index| name(index).len()).max().unwrap_or(0).max("partition".len());
    writeln!(out, "\n{:<width$} {:>15} {:>15}  why there", "partition", "starts at", "to archive").map_err(failed)?;
    let mut blocked = 0;
    for partition in &reached.partitions {
        let partition_name = partition.to_string();
        match reached.params.plan(partition) {
            Ok(plan) => {
                let to_archive = plan.position.distance_to(plan.end);
                writeln!(out, "{partition_name:<width$} {:>15} {to_archive:>15}  {}", plan.position.get(), plan.why)
            }
            Err(reason) => {
                blocked += 1;
                writeln!(out, "{partition_name:<width$} {:>15} {:>15}  {reason}", "cannot", "")
            }
        }
        .map_err(failed)?;
    }
    if blocked == 0 {
        return Ok(());
    }
    let all = reached.partitions.len();
    Err(CommandError::with_code(
        format!("{blocked} of {all} partitions could not go on; kafka-store resolve shows the ways out"),
        ExitCode::Frozen,
    ))
}
