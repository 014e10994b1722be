//! `kafka-store demo`: the whole way in one process. Brokers in memory, a sample of records, the very same
//! daemon, and a comparison of what was produced with what is read back.

mod brokers;
mod compare;
mod sample;
mod stage;

use super::CommandError;
use super::interrupt::Interrupt;
use super::table::grouped;
use crate::avro::Codec;
use crate::config::{
    DaemonConfig, KafkaProperties, MemoryPlan, OffsetReset, OnDataLoss, SpoolConfig, Subscription, UntilEnd,
};
use crate::daemon;
use crate::exit::ExitCode;
use crate::logging::{self, Verbosity};
use brokers::Brokers;
use compare::{Archived, Comparison};
use kafka_store_statecharts::boundary::BoundarySettings;
use sample::TOPICS;
use slog::Logger;
use stage::Stage;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Small, so that there is something to see: a quarter of a megabyte of records.
const SEGMENT_BYTES: NonZeroU64 = NonZeroU64::new(256 << 10).expect("not zero");
const SEGMENT_AGE: Duration = Duration::from_secs(3600);
const MEMORY_BYTES: u64 = 256_000_000;
/// The whole demo takes seconds; a machine that needs longer is told so instead of hanging.
const TIME: Duration = Duration::from_secs(120);

/// What to show.
#[derive(clap::Args, Clone, Debug)]
pub struct DemoArgs {
    /// Where to put the archive: a directory that is empty or does not exist [default: a new one in the
    /// directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// How many records to produce
    #[arg(long, value_name = "N", default_value_t = 120_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    pub records: u64,
}

/// Runs the demo.
///
/// # Errors
/// What kept it from its end, or the first record that is not in the archive as it was produced.
pub fn run(args: &DemoArgs) -> Result<(), CommandError> {
    let interrupt = Interrupt::watch()?;
    let directory = Directory::new(args.directory.as_deref())?;
    let shown = show(args, &directory, &interrupt);
    if interrupt.is_set() {
        drop(directory);
        return Err(CommandError::interrupted("interrupted; the archive of the demo is removed"));
    }
    if shown.is_ok() {
        directory.keep();
    }
    shown
}

fn show(args: &DemoArgs, directory: &Directory, interrupt: &Interrupt) -> Result<(), CommandError> {
    say("Three Kafka brokers in memory; no network but this machine's own, nothing to install.")?;
    let brokers = Brokers::start()?;

    let stage = Stage::start(1, "produce", args.records);
    brokers.produce(args.records, |done| stage.at(done), interrupt)?;
    stage.end(&format!("to {}", TOPICS.map(|topic| format!("{} ({})", topic.name, topic.partitions)).join(", ")));

    let stage = Stage::start(2, "archive", args.records);
    let (log, _flushed_at_the_end) = logging::start(Verbosity::Warning);
    let took = archive(&brokers, directory.path(), &stage, interrupt, &log)?;
    if interrupt.is_set() {
        return Ok(());
    }
    let per_second = args.records as f64 / took.as_secs_f64();
    stage.end(&format!("{} records a second", grouped(per_second as u64)));

    let stage = Stage::start(3, "compare", args.records);
    let comparison = compare::compare(directory.path(), args.records, |done| stage.at(done), interrupt)?;
    if interrupt.is_set() {
        return Ok(());
    }
    stage.end("everything that was produced is in the archive, record by record");
    summary(&comparison, directory.path())
}

/// Runs the daemon as `--until-end` would.
fn archive(
    brokers: &Brokers,
    directory: &Path,
    stage: &Stage,
    interrupt: &Interrupt,
    log: &Logger,
) -> Result<Duration, CommandError> {
    let config = DaemonConfig {
        index: None,
        brokers: brokers.bootstrap_servers(),
        topics: Subscription::of(sample::topic_names()),
        group: "kafka-store-demo".to_owned(),
        offset_reset: OffsetReset::Earliest,
        on_data_loss: OnDataLoss::Freeze,
        boundary: BoundarySettings {
            segment_bytes: SEGMENT_BYTES,
            segment_records: None,
            segment_age_ms: NonZeroU64::new(SEGMENT_AGE.as_secs() * 1000).expect("not zero"),
        },
        idle_seal: SEGMENT_AGE,
        seal_after: SEGMENT_AGE,
        reexamine_after: Duration::from_secs(600),
        codec: Codec::default(),
        gcs: None,
        local_store: Some(directory.to_owned()),
        upload_pool_size: NonZeroU64::new(4).expect("not zero"),
        spool: SpoolConfig::default(),
        memory: MemoryPlan::new(MEMORY_BYTES),
        kafka_properties: KafkaProperties::default(),
        audit_log: None,
        status_listen: None,
        until_end: Some(UntilEnd { timeout: Some(TIME), stall_timeout: TIME }),
        shutdown_timeout: TIME,
        verbosity: Verbosity::Warning,
        // The demo has its own.
        shows_progress: false,
    };
    let started = Instant::now();
    let ended = std::thread::scope(|scope| {
        let daemon = scope.spawn(|| daemon::run(&config, log));
        while !daemon.is_finished() {
            stage.at(Archived::count(directory));
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon.join()
    });
    match ended {
        Ok(ExitCode::Done) => Ok(started.elapsed()),
        _ if interrupt.is_set() => Ok(started.elapsed()),
        Ok(code) => Err(CommandError::new(format!("the daemon ended with exit code {}", code.number()))),
        Err(_) => Err(CommandError::new("the daemon panicked")),
    }
}

fn summary(comparison: &Comparison, directory: &Path) -> Result<(), CommandError> {
    say("")?;
    say(&format!(
        "{:<12}{:>10}{:>10}{:>10}{:>15}{:>13}",
        "topic", "partitions", "records", "segments", "record bytes", "file bytes"
    ))?;
    for (topic, archived) in &comparison.topics {
        say(&format!(
            "{topic:<12}{:>10}{:>10}{:>10}{:>15}{:>13}",
            archived.partitions,
            grouped(archived.records),
            grouped(archived.segments),
            grouped(archived.record_bytes),
            grouped(archived.file_bytes)
        ))?;
    }
    let root = shell_word(directory);
    let (program, reader) = programs();
    say("")?;
    say(&format!("The files are in {}; each is named by its first offset:", directory.display()))?;
    for path in &comparison.examples {
        say(&format!("  {}", path.display()))?;
    }
    say("")?;
    say("Look into them:")?;
    say(&format!("  {program} read {root}/payments/000001 --from-offset 1000 --to-offset 1002"))?;
    say(&format!("  {reader} local {root}/orders/000000/00000000000000000000 | head -n 3"))?;
    say(&format!("  ls {root}/clicks/000000"))?;
    Ok(())
}

/// How the two programs are called from here, whether installed or just built.
fn programs() -> (String, String) {
    let this = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("kafka-store"));
    let reader = this.with_file_name("kafka-store-reader");
    (shell_word(&this), shell_word(&reader))
}

/// A path as a shell takes it.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if text.bytes().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn say(line: &str) -> Result<(), CommandError> {
    writeln!(io::stdout(), "{line}").map_err(|error| CommandError::new(format!("cannot write to stdout: {error}")))
}

/// The archive's directory: removed at the end unless it is to be kept.
struct Directory {
    path: PathBuf,
    /// Whether it was there, empty, before.
    was_there: bool,
    keep: bool,
}

impl Directory {
    fn new(given: Option<&Path>) -> Result<Directory, CommandError> {
        let failed = |error: io::Error| CommandError::new(format!("cannot make a directory for the archive: {error}"));
        let Some(path) = given else {
            let directory = tempfile::Builder::new().prefix("kafka-store-demo-").tempdir().map_err(failed)?;
            return Ok(Directory { path: directory.keep(), was_there: false, keep: false });
        };
        let was_there = path.exists();
        std::fs::create_dir_all(path).map_err(failed)?;
        if std::fs::read_dir(path).map_err(failed)?.next().is_some() {
            let path = path.display();
            return Err(CommandError::new(format!("{path} is not empty: give a directory of its own to the demo")));
        }
        Ok(Directory { path: std::path::absolute(path).map_err(failed)?, was_there, keep: false })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // What cannot be removed is left to whoever looks after the directory.
        let _ = std::fs::remove_dir_all(&self.path);
        if self.was_there {
            let _ = std::fs::create_dir(&self.path);
        }
    }
}
