//! The flags of `resolve`.

use super::DaemonArgs;
use clap::Args;
use kafka_store_statecharts::offset::Offset;

/// What is to be done about which partition.
///
/// With the daemon's flags alone it shows all partitions that cannot go on, and what can be done. With --partition it also
/// compares the partition's archive with Kafka's log, and says from which offset on they differ. Nothing is changed without
/// --yes.
#[derive(Args, Clone, Debug)]
pub struct ResolveArgs {
    /// The partition, as logs name it: TOPIC-NUMBER
    #[arg(long, value_name = "PARTITION", help_heading = "Ways out")]
    pub partition: Option<String>,

    /// Commit the offset where the archive ends, so that the group goes on there
    ///
    /// For a commit that is beyond the archive, or names a segment that is not there. The group's daemons must be
    /// stopped.
    #[arg(long, requires = "partition", conflicts_with = "begin_anew", help_heading = "Ways out")]
    pub reset_commit: bool,

    /// Begin a new chain, TOPIC/PARTITION~2, with what Kafka still has
    ///
    /// For a chain that is broken, or of another history than Kafka's log: a topic that was re-created, a log that was cut
    /// and written again. What is archived stays as it is; its records that Kafka still has are in both chains then.
    #[arg(long, requires = "partition", help_heading = "Ways out")]
    pub begin_anew: bool,

    /// Continue the chain although its last record is not in Kafka's log, or the topic was re-created
    ///
    /// For a topic that was restored with the same records, or a log whose lost and rewritten part is not wanted: what Kafka
    /// has before the archive's end, and the archive has not, is never archived. The choice is kept in the store.
    #[arg(long, requires = "partition", conflicts_with_all = ["begin_anew", "reset_commit"], help_heading = "Ways out")]
    pub same_history: bool,

    /// Where the new chain begins [default: the first offset that Kafka still has]
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset, requires = "begin_anew", help_heading = "Ways out")]
    pub at: Option<Offset>,

    /// Do it
    #[arg(long, requires = "partition", help_heading = "Ways out")]
    pub yes: bool,

    /// As the daemon's.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

fn parse_offset(text: &str) -> Result<Offset, String> {
    let offset = text.parse().ok().and_then(Offset::new);
    offset.ok_or_else(|| "an offset is a whole number from 0 on".into())
}
