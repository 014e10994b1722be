//! `kafka-store resolve`: the way out for partitions that are frozen.

use super::CommandError;
use crate::archive::{Begin, Stuck};
use crate::cli::ResolveArgs;
use crate::config::DaemonConfig;
use crate::daemon::{Purpose, Reached};
use crate::exit::ExitCode;
use kafka_store_statecharts::topic::TopicPartition;
use slog::Logger;
use std::io::{self, Write};

/// Says what stands in the way of partitions, and what can be done about it; with an action and `--yes`, does it.
///
/// # Errors
/// What keeps it from looking or acting; or, after what it found, that partitions cannot go on.
pub fn run(args: &ResolveArgs, config: &DaemonConfig, log: &Logger) -> Result<(), CommandError> {
    let reached = Reached::new(config, Purpose::Plan, log).map_err(CommandError::new)?;
    let result = match &args.partition {
        Some(name) => one(&reached, name, args),
        None => overview(&reached),
    };
    reached.stores.remove_directories();
    result
}

fn overview(reached: &Reached) -> Result<(), CommandError> {
    let mut stuck_count = 0;
    for partition in &reached.partitions {
        let stuck = look_at(reached, partition)?;
        if stuck.found.is_err() {
            stuck_count += 1;
            say(&describe(&stuck, &reached.params.group))?;
        }
    }
    let all = reached.partitions.len();
    if stuck_count == 0 {
        return say(&format!("all {all} partitions can go on\n"));
    }
    say("Nothing was changed. To choose: --partition, one of the ways out, and --yes.\n")?;
    Err(CommandError::with_code(format!("{stuck_count} of {all} partitions cannot go on"), ExitCode::Frozen))
}

fn one(reached: &Reached, name: &str, args: &ResolveArgs) -> Result<(), CommandError> {
    let known = reached.partitions.iter().find(|partition| partition.to_string() == name);
    let partition = known.ok_or_else(|| {
        CommandError::new(format!(
            "--partition {name}: the topics have no such partition; write TOPIC-NUMBER, as logs do"
        ))
    })?;
    let stuck = look_at(reached, partition)?;
    say(&describe(&stuck, &reached.params.group))?;
    if args.reset_commit {
        let (offset, metadata) = stuck.commit_to_set().map_err(CommandError::new)?;
        if !args.yes {
            return say(&format!("Would commit {offset}. Nothing was changed: add --yes to do it.\n"));
        }
        reached.params.set_commit(partition, offset, metadata).map_err(CommandError::new)?;
        say(&format!("Committed {offset}. The daemon goes on there at its next start.\n"))
    } else if args.begin_anew {
        let new = stuck.new_lineage(args.at.map_or(Begin::Earliest, Begin::At)).map_err(CommandError::new)?;
        if !args.yes {
            return say(&format!(
                "Would begin {} at {}. Nothing was changed: add --yes to do it.\n",
                new.chain, new.origin
            ));
        }
        reached.params.begin(&new).map_err(CommandError::new)?;
        say(&format!("Began {} at {}. The daemon archives to it from its next start on.\n", new.chain, new.origin))
    } else if stuck.found.is_err() {
        say("Nothing was changed. To choose: one of the ways out, and --yes.\n")?;
        Err(CommandError::with_code(format!("{partition} cannot go on"), ExitCode::Frozen))
    } else {
        Ok(())
    }
}

fn look_at(reached: &Reached, partition: &TopicPartition) -> Result<Stuck, CommandError> {
    reached.params.look_at(partition).map_err(CommandError::new)
}

fn describe(stuck: &Stuck, group: &str) -> String {
    let partition = &stuck.chain.topic_partition;
    let mut text = format!("{partition}\n");
    let mut line = |name: &str, what: &str| text.push_str(&format!("  {name:<11}{what}\n"));
    match &stuck.found {
        Ok(position) => line("can go on", &format!("at {position}")),
        Err(reason) => line("frozen", reason),
    }
    match stuck.archive_end {
        Some((end, _)) => line("archive", &format!("{} ends before {end}", stuck.chain)),
        None => line("archive", &format!("{} is empty, or says nowhere to go on", stuck.chain)),
    }
    match stuck.committed {
        Some(offset) => line("committed", &format!("{offset}, by the group {group}")),
        None => line("committed", &format!("nothing, by the group {group}")),
    }
    line("Kafka", &format!("has what begins at {} and ends before {}", stuck.log.0, stuck.log.1));
    if let Ok((offset, _)) = stuck.commit_to_set() {
        line("way out", &format!("--reset-commit: commit {offset}, where the archive ends; it goes on there"));
    }
    if let Ok(new) = stuck.new_lineage(Begin::Earliest) {
        let what = format!(
            "--begin-anew: begin {} at {}, or where --at says; what is archived stays as it is",
            new.chain, new.origin
        );
        line("way out", &what);
    }
    text
}

fn say(text: &str) -> Result<(), CommandError> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| CommandError::new(format!("cannot write to stdout: {error}")))
}
