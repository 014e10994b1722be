//! What the daemon is told to do: the command line, turned into values that need no further checks.

mod audited;
mod duration;
mod gcs;
mod index;
mod listen;
mod memory;
mod properties;
mod size;
mod spool;
mod store;
mod subscription;

use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use kafka_store_statecharts::boundary::BoundarySettings;

pub use duration::{DurationError, parse_duration, parse_seconds};
pub use gcs::{GcsAccess, GcsConfig};
pub use index::index_config;
pub use memory::{MemoryLimitError, MemoryPlan, QUEUED_RECORD_BYTES};
pub use properties::{KafkaProperties, PropertyError};
pub use size::{SizeError, parse_size};
pub use spool::SpoolConfig;
pub use store::{DirectoryError, check_directory};
pub use subscription::{Subscription, SubscriptionError};

use crate::audit::AuditFileSettings;
use crate::avro::Codec;
use crate::cli::{DaemonArgs, Redacted};
use crate::exit::ExitCode;
use crate::index::IndexConfig;
use crate::logging::Verbosity;
use crate::page_cache::PageCache;

/// Everything that the daemon runs on. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct DaemonConfig {
    /// `--broker-list`, as librdkafka takes it.
    pub brokers: String,
    /// `--topic`: at least one.
    pub topics: Subscription,
    /// `--group`, not empty.
    pub group: String,
    /// `--offset-reset`.
    pub offset_reset: OffsetReset,
    /// `--on-data-loss`.
    pub on_data_loss: OnDataLoss,
    /// `--file-size`, `--file-records`, `--file-age-seconds`.
    pub boundary: BoundarySettings,
    /// `--idle-seal-seconds`.
    pub idle_seal: Duration,
    /// `--seal-after-seconds`.
    pub seal_after: Duration,
    /// `--codec`.
    pub codec: Codec,
    /// `--gcloud-store-url`. At least one of the stores is there.
    pub gcs: Option<GcsConfig>,
    /// `--local-store`: it was a directory, and writable, when this was made.
    pub local_store: Option<PathBuf>,
    /// `--upload-pool-size`
    pub upload_pool_size: NonZeroU64,
    /// `--mysql-metadata-url` and what goes with it; `None`: no index.
    pub index: Option<IndexConfig>,
    /// `--spool-dir` and `--spool-limit`.
    pub spool: SpoolConfig,
    /// `--memory-limit`, in its parts.
    pub memory: MemoryPlan,
    /// `-X`.
    pub kafka_properties: KafkaProperties,
    /// `--until-end`; `None`: until it is stopped.
    pub until_end: Option<UntilEnd>,
    /// `--shutdown-timeout`: how long the process may take to end once it is asked to.
    pub shutdown_timeout: Duration,
    /// `--audit-log`, `--audit-log-size`, `--audit-log-keep`.
    pub audit_log: Option<AuditFileSettings>,
    /// `--status-listen`, as it is bound.
    pub status_listen: Option<String>,
    /// `--reexamine-after`
    pub reexamine_after: Duration,
    /// `-v`.
    pub verbosity: Verbosity,
    /// Whether a run with `--until-end` shows how far it has come, where stderr is a terminal.
    pub shows_progress: bool,
}

/// Where a partition begins that has neither an archive nor a committed offset at the group's first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record that Kafka still has.
    Earliest,
    /// At the next record to come.
    Latest,
    /// Nowhere: it is an error.
    Error,
}

/// What happens where Kafka deleted records before they were archived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnDataLoss {
    /// The partition freezes.
    #[default]
    Freeze,
    /// The next file says that they are missing, and the partition goes on.
    Record,
}

/// Archive what is there now, and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UntilEnd {
    /// `--timeout`: give up after this time.
    pub timeout: Option<Duration>,
    /// `--stall-timeout`: how long a target that another member has may stand still.
    pub stall_timeout: Duration,
}

/// Everything that is wrong with a command line, one clear line for each.
#[derive(Debug)]
pub struct ConfigErrors(Vec<Problem>);

#[derive(Debug)]
enum Problem {
    /// The original's own line and exit code.
    NoStore,
    Usage(String),
    Store(DirectoryError),
}

impl ConfigErrors {
    /// What the process exits with.
    pub fn exit_code(&self) -> ExitCode {
        if self.has_wrong_usage() { ExitCode::WrongUsage } else { ExitCode::CannotRun }
    }

    fn has_wrong_usage(&self) -> bool {
        self.0.iter().any(|problem| matches!(problem, Problem::Usage(_)))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            match problem {
                Problem::NoStore => writeln!(f, "Error: At least one output store is required.")?,
                Problem::Usage(line) => writeln!(f, "error: {line}")?,
                Problem::Store(error) => writeln!(f, "error: {error}")?,
            }
        }
        if self.has_wrong_usage() {
            write!(
                f,
                "\nFor more information, try 'kafka-store --help'. To see it work without Kafka: kafka-store demo\n"
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl DaemonConfig {
    /// Reads the command line. Outside of it, the directories and the small files that flags name are looked at.
    pub fn parse(args: &DaemonArgs) -> Result<DaemonConfig, ConfigErrors> {
        let mut check = Checks::default();
        let brokers =
            check.required("--broker-list", "the brokers to ask first, host:port,…", args.broker_list.as_deref());
        let topics = check.topics(&args.topic);
        let group = check.required("--group", "the consumer group that keeps the position", args.group.as_deref());
        let offset_reset = check.offset_reset(&args.offset_reset);
        let segment_bytes = check.value("--file-size", &args.file_size, parse_size);
        let segment_records = check.optional("--file-records", args.file_records.as_deref(), parse_count);
        let age = check.value("--file-age-seconds", &args.file_age_seconds, parse_seconds);
        let idle_seal = check.optional("--idle-seal-seconds", args.idle_seal_seconds.as_deref(), parse_seconds);
        let seal_after = check.optional("--seal-after-seconds", args.seal_after_seconds.as_deref(), parse_seconds);
        let codec = check.value("--codec", &args.codec, Codec::parse);
        let upload_pool_size = check.value("--upload-pool-size", &args.upload_pool_size, parse_pool_size);
        let spool = check.spool(args, segment_bytes, upload_pool_size);
        let memory = check.value("--memory-limit", &args.memory_limit, MemoryPlan::parse);
        let until_end = check.until_end(args);
        let shutdown_timeout = check.value("--shutdown-timeout", &args.shutdown_timeout, parse_duration);
        let audit_log = check.audit_log(args);
        let status_listen = check.optional("--status-listen", args.status_listen.as_deref(), listen::parse_listen);
        let kafka_properties = check.properties(&args.kafka_properties);
        let reexamine_after = check.value("--reexamine-after", &args.reexamine_after, parse_duration);
        let stores = check.stores(args);
        let index = check.index(&args.index);

        // Each is `None` only where a problem was noted.
        let config = (|| {
            let age: Duration = age?;
            let (gcs, local_store) = stores?;
            Some(DaemonConfig {
                brokers: brokers?,
                topics: topics?,
                group: group?,
                offset_reset: offset_reset?,
                on_data_loss: args.on_data_loss,
                boundary: BoundarySettings {
                    segment_bytes: segment_bytes?,
                    segment_records: segment_records?,
                    segment_age_ms: NonZeroU64::new(age.as_secs() * 1000)?,
                },
                idle_seal: idle_seal?.unwrap_or(age + IDLE_SEAL_BEYOND_AGE),
                seal_after: seal_after?.unwrap_or(age * SEAL_AFTER_AGES),
                codec: codec?,
                gcs,
                local_store,
                upload_pool_size: upload_pool_size?,
                index: index?,
                spool: spool?,
                memory: memory?,
                kafka_properties: kafka_properties?,
                until_end: until_end?,
                shutdown_timeout: shutdown_timeout?,
                audit_log: audit_log?,
                status_listen: status_listen?,
                reexamine_after: reexamine_after?,
                verbosity: Verbosity::from_count(args.verbose),
                shows_progress: true,
            })
        })();
        config.filter(|_| check.problems.is_empty()).ok_or(ConfigErrors(check.problems))
    }

    /// Whether what is written for the store stays in the page cache: not if storing it is giving it a name, so that it is
    /// neither sent anywhere nor copied from another directory, and no index wants its MD5.
    pub fn page_cache(&self) -> PageCache {
        if self.gcs.is_none() && self.spool.directory.is_none() && self.index.is_none() {
            PageCache::Released
        } else {
            PageCache::Kept
        }
    }
}

/// The default of `--idle-seal-seconds` is the age and this: records that come late by some minutes
/// still find their file open.
const IDLE_SEAL_BEYOND_AGE: Duration = Duration::from_secs(600);

/// The default of `--seal-after-seconds` is this many times the age.
const SEAL_AFTER_AGES: u32 = 4;

/// The default of `--stall-timeout`.
const STALL_TIMEOUT: Duration = Duration::from_secs(600);

/// The default of `--audit-log-size`.
const AUDIT_LOG_SIZE: NonZeroU64 = NonZeroU64::new(100_000_000).expect("not zero");

/// What has been found wrong so far.
#[derive(Default)]
struct Checks {
    problems: Vec<Problem>,
}

impl Checks {
    fn usage(&mut self, line: impl Into<String>) {
        self.problems.push(Problem::Usage(line.into()));
    }

    fn required(&mut self, flag: &str, what: &str, text: Option<&str>) -> Option<String> {
        match text {
            Some(text) if !text.trim().is_empty() => return Some(text.to_owned()),
            Some(_) => self.usage(format!("{flag} is empty: name {what}")),
            None => self.usage(format!("{flag} is required: {what}")),
        }
        None
    }

    fn value<T, E: fmt::Display>(
        &mut self,
        flag: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(text).map_err(|error| self.usage(format!("{flag} {text:?} {error}"))).ok()
    }

    /// The outer `None` is a problem, the inner one a flag that was not given.
    fn optional<T, E: fmt::Display>(
        &mut self,
        flag: &str,
        text: Option<&str>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        match text {
            Some(text) => self.value(flag, text, parse).map(Some),
            None => Some(None),
        }
    }

    fn topics(&mut self, texts: &[String]) -> Option<Subscription> {
        if texts.is_empty() {
            self.usage("--topic is required: the topic to archive; repeat it, or write a,b, for several");
            return None;
        }
        Subscription::parse(texts.iter().map(String::as_str))
            .map_err(|errors| errors.iter().for_each(|error| self.usage(format!("--topic: {error}"))))
            .ok()
    }

    fn offset_reset(&mut self, text: &str) -> Option<OffsetReset> {
        match text {
            "earliest" | "smallest" => return Some(OffsetReset::Earliest),
            "latest" | "largest" => return Some(OffsetReset::Latest),
            "error" => return Some(OffsetReset::Error),
            _ => {
                self.usage(format!("--offset-reset {text:?} is none of earliest, latest, error (or smallest, largest)"))
            }
        }
        None
    }

    fn until_end(&mut self, args: &DaemonArgs) -> Option<Option<UntilEnd>> {
        let timeout = self.optional("--timeout", args.timeout.as_deref(), parse_duration);
        let stall_timeout = self.optional("--stall-timeout", args.stall_timeout.as_deref(), parse_duration);
        if args.until_end {
            let stall_timeout = stall_timeout?.unwrap_or(STALL_TIMEOUT);
            return Some(Some(UntilEnd { timeout: timeout?, stall_timeout }));
        }
        for (flag, value) in [("--timeout", &args.timeout), ("--stall-timeout", &args.stall_timeout)] {
            if value.is_some() {
                self.usage(format!("{flag} is only for --until-end: give both, or neither"));
            }
        }
        Some(None)
    }

    fn audit_log(&mut self, args: &DaemonArgs) -> Option<Option<AuditFileSettings>> {
        let size = self.optional("--audit-log-size", args.audit_log_size.as_deref(), parse_size);
        let keep = self.optional("--audit-log-keep", args.audit_log_keep.as_deref(), parse_count);
        let Some(path) = &args.audit_log else {
            for (flag, value) in [("size", &args.audit_log_size), ("keep", &args.audit_log_keep)] {
                if value.is_some() {
                    self.usage(format!("--audit-log-{flag} is only for --audit-log: give both, or neither"));
                }
            }
            return Some(None);
        };
        if path.as_os_str().is_empty() {
            self.usage("--audit-log is empty: name the file to write to");
        }
        let (path, size) = (path.clone(), size?.unwrap_or(AUDIT_LOG_SIZE));
        Some(Some(AuditFileSettings { path, size, keep: keep? }))
    }

    fn properties(&mut self, arguments: &[Redacted]) -> Option<KafkaProperties> {
        KafkaProperties::parse(arguments.iter().map(Redacted::expose))
            .map_err(|errors| errors.iter().for_each(|error| self.usage(error.to_string())))
            .ok()
    }

    fn spool(
        &mut self,
        args: &DaemonArgs,
        segment_bytes: Option<NonZeroU64>,
        uploads: Option<NonZeroU64>,
    ) -> Option<SpoolConfig> {
        let parse = |text: &str| spool::parse_spool_limit(text, segment_bytes.zip(uploads));
        let limit_bytes = self.optional("--spool-limit", args.spool_limit.as_deref(), parse);
        let directory = match args.spool_dir.as_deref().map(spool::check_spool_dir).transpose() {
            Ok(directory) => Some(directory),
            Err(error) => {
                self.problems.push(Problem::Store(error));
                None
            }
        };
        Some(SpoolConfig { directory: directory?, limit_bytes: limit_bytes? })
    }

    /// At least one of them, where no problem was noted.
    fn stores(&mut self, args: &DaemonArgs) -> Option<(Option<GcsConfig>, Option<PathBuf>)> {
        if args.local_store.is_none() && args.gcloud_store_url.is_none() {
            self.problems.push(Problem::NoStore);
        }
        let gcs =
            GcsConfig::parse(args).map_err(|problems| problems.into_iter().for_each(|problem| self.usage(problem)));
        let local = args.local_store.as_deref().map(|path| check_directory("--local-store", path)).transpose();
        let local = local.map_err(|error| self.problems.push(Problem::Store(error)));
        Some((gcs.ok()?, local.ok()?))
    }
}

fn parse_pool_size(text: &str) -> Result<NonZeroU64, &'static str> {
    let count: Option<NonZeroU64> = text.trim().parse().ok();
    count.filter(|count| count.get() <= 256).ok_or("must be a whole number from 1 to 256")
}

fn parse_count(text: &str) -> Result<NonZeroU64, &'static str> {
    text.trim().parse().map_err(|_| "must be a whole number, at least 1")
}

#[cfg(test)]
mod tests;
