//! The names in a line.

pub(super) const SEQUENCE: &str = "sequence";
pub(super) const TIME: &str = "time";
pub(super) const INSTANCE: &str = "instance";
pub(super) const TOPIC: &str = "topic";
pub(super) const PARTITION: &str = "partition";
pub(super) const LINEAGE: &str = "lineage";
pub(super) const EPOCH: &str = "epoch";
pub(super) const START_OFFSET: &str = "start_offset";
pub(super) const UPLOAD: &str = "upload";
pub(super) const CHART: &str = "chart";
pub(super) const FROM: &str = "from";
pub(super) const EVENT: &str = "event";
pub(super) const TO: &str = "to";

pub(super) const PARTITION_COUNT: &str = "partition_count";
pub(super) const POSITION: &str = "position";
pub(super) const REASON: &str = "reason";
pub(super) const FINAL_OFFSET: &str = "final_offset";
pub(super) const NEXT_OFFSET: &str = "next_offset";
pub(super) const RECORD_COUNT: &str = "record_count";
pub(super) const RECORD_BYTES: &str = "record_bytes";
pub(super) const FILE_BYTES: &str = "file_bytes";
pub(super) const CONTENT_HASH: &str = "content_hash";

/// The chart of the first and the last line of an instance.
pub(super) const INSTANCE_CHART: &str = "instance";
pub(super) const STARTED: &str = "Started";
pub(super) const ENDED: &str = "Ended";
pub(super) const VERSION: &str = "version";
pub(super) const CHARTS: &str = "charts";
pub(super) const CLUSTER: &str = "cluster";
pub(super) const STORE: &str = "store";
pub(super) const INDEXED: &str = "indexed";
pub(super) const EXIT_CODE: &str = "exit_code";
