//! `kafka-store resolve`: the way out for partitions that are frozen.

mod describe;

use super::CommandError;
use crate::archive::{Begin, Compare, Stuck};
use crate::cli::ResolveArgs;
use crate::config::DaemonConfig;
use crate::daemon::{Purpose, Reached};
use crate::exit::ExitCode;
use crate::kafka::LogReaders;
use describe::describe;
use kafka_store_statecharts::topic::TopicPartition;
use slog::Logger;
use std::io::{self, Write};

/// Says what stands in the way of partitions, and what can be done about it; with an action and `--yes`, does it.
///
/// # Errors
/// What keeps it from looking or acting; or, after what it found, that partitions cannot go on.
pub fn run(args: &ResolveArgs, config: &DaemonConfig, log: &Logger) -> Result<(), CommandError> {
    let reached = Reached::new(config, Purpose::Plan, log).map_err(|error| CommandError::new(error.to_string()))?;
    let readers = LogReaders::new(&config.brokers, &config.group, &config.kafka_properties);
    let resolve = Resolve { reached: &reached, readers };
    let result = match &args.partition {
        Some(name) => resolve.one(name, args),
        None => resolve.overview(),
    };
    reached.stores.remove_directories();
    result
}

struct Resolve<'a> {
    reached: &'a Reached,
    readers: LogReaders,
}

impl Resolve<'_> {
    fn overview(&self) -> Result<(), CommandError> {
        let mut stuck_count = 0;
        for partition in &self.reached.partitions {
            let stuck = self.look_at(partition, Compare::IfLogEndsEarly)?;
            if stuck.found.is_err() {
                stuck_count += 1;
                say(&describe(&stuck, &self.reached.params.group))?;
            }
        }
        let all = self.reached.partitions.len();
        if stuck_count == 0 {
            return say(&format!("all {all} partitions can go on\n"));
        }
        say(
            "Nothing was changed. To compare a partition with Kafka's log: --partition. To choose: one of the ways out, and \
             --yes.\n",
        )?;
        Err(CommandError::with_code(format!("{stuck_count} of {all} partitions cannot go on"), ExitCode::Frozen))
    }

    fn one(&self, name: &str, args: &ResolveArgs) -> Result<(), CommandError> {
        let params = &self.reached.params;
        let known = self.reached.partitions.iter().find(|partition| partition.to_string() == name);
        let partition = known.ok_or_else(|| {
            CommandError::new(format!(
                "--partition {name}: the topics have no such partition; write TOPIC-NUMBER, as logs do"
            ))
        })?;
        let stuck = self.look_at(partition, Compare::Always)?;
        say(&describe(&stuck, &params.group))?;
        if args.reset_commit {
            let (offset, metadata) = stuck.commit_to_set().map_err(CommandError::new)?;
            if !args.yes {
                return say(&format!("Would commit {offset}. Nothing was changed: add --yes to do it.\n"));
            }
            params.set_commit(partition, offset, metadata).map_err(CommandError::new)?;
            say(&format!("Committed {offset}. The daemon goes on there at its next start.\n"))
        } else if args.begin_anew {
            let new = stuck.new_lineage(args.at.map_or(Begin::Earliest, Begin::At)).map_err(CommandError::new)?;
            if !args.yes {
                return say(&format!(
                    "Would begin {} at {}. Nothing was changed: add --yes to do it.\n",
                    new.chain, new.origin
                ));
            }
            params.begin(&new).map_err(CommandError::new)?;
            say(&format!("Began {} at {}. The daemon archives to it from its next start on.\n", new.chain, new.origin))
        } else if args.same_history {
            let finding = stuck.same_history().map_err(CommandError::new)?;
            if !args.yes {
                return say(&format!(
                    "Would continue {} at {}. Nothing was changed: add --yes to do it.\n",
                    finding.chain, finding.end
                ));
            }
            params.declare_same(&finding).map_err(CommandError::new)?;
            say(&format!(
                "Decided: {} is continued at {}. The daemon goes on there at its next start.\n",
                finding.chain, finding.end
            ))
        } else if stuck.found.is_err() {
            say("Nothing was changed. To choose: one of the ways out, and --yes.\n")?;
            Err(CommandError::with_code(format!("{partition} cannot go on"), ExitCode::Frozen))
        } else {
            Ok(())
        }
    }

    fn look_at(&self, partition: &TopicPartition, compare: Compare) -> Result<Stuck, CommandError> {
        self.reached.params.look_at(partition, &self.readers, compare).map_err(CommandError::new)
    }
}

fn say(text: &str) -> Result<(), CommandError> {
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| CommandError::new(format!("cannot write to stdout: {error}")))
}
