//! The flags of the daemon: the original's, and more.

use std::path::PathBuf;

use crate::config::OnDataLoss;
use clap::{ArgAction, Args};

use super::{GcsArgs, IndexArgs, Redacted};

/// The daemon's flags as they are written. Texts are kept as texts: [`crate::config::DaemonConfig`] reads
/// them and tells all that is wrong at once. So nothing is required here, and a command needs none of it.
#[derive(Args, Clone, Debug)]
pub struct DaemonArgs {
    /// Brokers to ask first, separated by commas
    #[arg(long, value_name = "HOST:PORT,…", help_heading = "Kafka")]
    pub broker_list: Option<String>,

    /// Topic to archive; repeat it, or separate by commas, for several; ^… is a pattern
    ///
    /// What begins with ^ is a regular expression of Rust's regex crate, such as '^evt-\d+$', which kafka-store itself
    /// resolves to names. Topics that come later are seen within 20 s; Kafka's own are never meant.
    // `alias`: a prefix that was unique in the original and no longer is.
    #[arg(long, value_name = "TOPIC", alias = "t", help_heading = "Kafka")]
    pub topic: Vec<String>,

    /// Consumer group; its members share the partitions
    #[arg(long, value_name = "GROUP", help_heading = "Kafka")]
    pub group: Option<String>,

    /// Where to begin at the group's first start: earliest, latest or error (smallest and largest work too)
    ///
    /// Only for partitions that have neither files nor a committed offset then. With error, the first start
    /// needs an offset to be committed. A partition that appears later is archived from its beginning.
    #[arg(long, value_name = "RESET", default_value = "error", alias = "o", help_heading = "Kafka")]
    pub offset_reset: String,

    /// What to do where Kafka deleted records before they were archived
    ///
    /// freeze: the partition stops, and says which offsets are missing. record: the next file says it, and the
    /// partition goes on.
    #[arg(long, value_name = "ACTION", value_enum, default_value_t = OnDataLoss::Freeze, help_heading = "Kafka")]
    pub on_data_loss: OnDataLoss,

    /// Property of librdkafka, such as security.protocol=SSL; may be repeated
    ///
    /// Properties that the archive depends on are refused, with the flag to use or the reason.
    #[arg(short = 'X', value_name = "KEY=VALUE", help_heading = "Kafka")]
    pub kafka_properties: Vec<Redacted>,

    /// End a file after the record that brings its records to this size
    ///
    /// Counted before compression, so that files end at the same records whatever the codec: on disk they
    /// are smaller.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256M",
        allow_negative_numbers = true,
        help_heading = "Where a file ends"
    )]
    pub file_size: String,

    /// End a file after this many records [default: no limit]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, help_heading = "Where a file ends")]
    pub file_records: Option<String>,

    /// End a file before the record whose time is this much later than the file's first
    ///
    /// By the timestamps of the records, not by the clock: the same records give the same files in every run.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "3600",
        allow_negative_numbers = true,
        help_heading = "Where a file ends"
    )]
    pub file_age_seconds: String,

    /// End a file when all there is has been read, and nothing new came for this long [default: the age + 600]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, help_heading = "Where a file ends")]
    pub idle_seal_seconds: Option<String>,

    /// End a file whose first record came this long ago, whatever the timestamps say [default: 4 times the age]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, help_heading = "Where a file ends")]
    pub seal_after_seconds: Option<String>,

    /// Compression: deflate[:1 to 12], zstandard[:1 to 19], snappy, or null for none
    #[arg(long, value_name = "NAME[:LEVEL]", default_value = "deflate", help_heading = "Store")]
    pub codec: String,

    /// Bucket of Google Cloud Storage to archive to, and what its objects' names begin with
    ///
    /// With --local-store too, the bucket decides where files end, and the directory is a mirror of it.
    // The alias: a prefix that was unique in the original and no longer is.
    #[arg(long, value_name = "gs://BUCKET[/PREFIX]", alias = "gc", help_heading = "Store")]
    pub gcloud_store_url: Option<String>,

    /// Directory to archive to; it must exist and be writable
    #[arg(long, value_name = "DIR", help_heading = "Store")]
    pub local_store: Option<PathBuf>,

    /// Directory for files until they are complete and stored [default: inside the local store]
    ///
    /// On another file system than the local store, each file is copied once more. Without a local store, the default
    /// is a directory kafka-store-UID, which is made for this user alone, in $TMPDIR or /var/tmp.
    #[arg(long, value_name = "DIR", help_heading = "Store")]
    pub spool_dir: Option<PathBuf>,

    /// Files that are stored at a time
    #[arg(long, value_name = "COUNT", default_value = "4", allow_negative_numbers = true, help_heading = "Store")]
    pub upload_pool_size: String,

    /// Disk that those files may take, at least --upload-pool-size times --file-size [default: no limit]
    ///
    /// When it is short, the files begun last are given up, for Kafka has their records; their partitions wait, and
    /// the others go on. Records of a deleted topic, which Kafka no longer has, may exceed it.
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, help_heading = "Store")]
    pub spool_limit: Option<String>,

    /// How Google Cloud Storage is reached.
    #[command(flatten)]
    pub gcs: GcsArgs,

    /// Send this much in one request, a multiple of 256Ki [default: all that is left of a file]
    ///
    /// Whatever it is, an upload that breaks off goes on where it was.
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, help_heading = "Google Cloud Storage")]
    pub gcs_chunk_size: Option<String>,

    /// Storage class of new objects, such as NEARLINE [default: the bucket's]
    #[arg(long, value_name = "CLASS", help_heading = "Google Cloud Storage")]
    pub gcs_storage_class: Option<String>,

    /// Cloud KMS key that encrypts new objects: projects/P/locations/L/keyRings/R/cryptoKeys/K [default: the bucket's]
    #[arg(long, value_name = "KEY", help_heading = "Google Cloud Storage")]
    pub gcs_kms_key: Option<String>,

    /// Metadata of new objects, beside the program's own; may be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Google Cloud Storage")]
    pub gcs_metadata: Vec<String>,

    /// Go on with uploads of a process that was killed, where it has left their files
    #[arg(
        long,
        value_name = "true|false",
        default_value_t = true,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = "Google Cloud Storage"
    )]
    pub gcs_resume_sessions: bool,

    /// Memory that the process may take for what it archives; at least 64M
    ///
    /// The whole process stays below this and 64 MiB more, which are for the program itself and for a thousand
    /// partitions. A record larger than an eighth of it is handled alone, and may exceed it. Where a file of the
    /// archive must be read whole, a block that needs more than seven eighths of it is refused.
    #[arg(long, value_name = "SIZE", default_value = "256M", allow_negative_numbers = true, help_heading = "Running")]
    pub memory_limit: String,

    /// End when everything is archived that is there at the start
    #[arg(long, help_heading = "Running")]
    pub until_end: bool,

    /// Give --until-end up after this time: 30 or 30s, 5m, 1h
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, help_heading = "Running")]
    pub timeout: Option<String>,

    /// Look at frozen partitions this often, at the least, whether they can go on: 30 or 30s, 5m, 1h
    ///
    /// A partition freezes where somebody has to act: a right or a bucket is missing, or records are gone. It is looked at
    /// after half a minute, and later and later up to this time; at once on SIGHUP, and at each assignment.
    #[arg(long, value_name = "TIME", default_value = "10m", allow_negative_numbers = true, help_heading = "Running")]
    pub reexamine_after: String,

    /// End --until-end when other members of the group have not archived anything of a target for this long [default: 10m]
    ///
    /// For partitions that this process does not have: neither their files nor their commits have moved. The exit code is 6
    /// if nothing else is left to do.
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, help_heading = "Running")]
    pub stall_timeout: Option<String>,

    /// End within this time after SIGTERM or SIGINT, whatever is still being stored
    ///
    /// Files that are complete are stored meanwhile; the next start archives what was not. Keep it below the time after which
    /// the process is killed (Kubernetes: terminationGracePeriodSeconds, 30 s). A second signal ends the process at once.
    #[arg(long, value_name = "TIME", default_value = "25s", allow_negative_numbers = true, help_heading = "Running")]
    pub shutdown_timeout: String,

    /// Keep every change of a state in this file, one line of JSON each, before it has effects
    ///
    /// Each daemon needs a file of its own. A line that cannot be written ends the process. `kafka-store audit
    /// verify` proves that the log is whole.
    #[arg(long, value_name = "PATH", help_heading = "Audit log")]
    pub audit_log: Option<PathBuf>,

    /// Rename the audit log to PATH.TIME before it grows beyond this size [default: 100M]
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, help_heading = "Audit log")]
    pub audit_log_size: Option<String>,

    /// Delete all but this many of the renamed audit logs [default: keep all]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, help_heading = "Audit log")]
    pub audit_log_keep: Option<String>,

    /// Serve a status page, metrics for Prometheus (/metrics) and probes (/healthz, /readyz) there [default: nowhere]
    ///
    /// A port alone means this machine only (127.0.0.1). Whoever reaches it sees the names of topics, offsets and where
    /// the archive is, and can change nothing.
    #[arg(long, value_name = "[HOST:]PORT", help_heading = "Running")]
    pub status_listen: Option<String>,

    /// Log more to stderr than warnings: -v what happens, -vv every effect
    // The aliases are the prefixes that --version would make ambiguous.
    #[arg(short, long, action = ArgAction::Count, aliases = ["v", "ve", "ver"], help_heading = "Running")]
    pub verbose: u8,

    /// Where the index is, if there is to be one.
    #[command(flatten)]
    pub index: IndexArgs,
}
