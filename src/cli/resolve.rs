//! The flags of `resolve`.

use super::DaemonArgs;
use clap::Args;
use kafka_store_statecharts::offset::Offset;

/// What is to be done about which partition.
///
/// With the daemon's flags alone it shows all partitions that cannot go on, and what can be done. Nothing is
/// changed without --yes.
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
    /// For a chain that is broken, or of another topic of the same name. What is archived stays as it is; its
    /// records that Kafka still has are in both chains then.
    #[arg(long, requires = "partition", help_heading = "Ways out")]
    pub begin_anew: bool,

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
