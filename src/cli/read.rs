//! `kafka-store read`.

use std::path::PathBuf;

use clap::Args;

/// What to print.
#[derive(Args, Clone, Debug)]
pub struct ReadArgs {
    /// A file, or the directory of a partition, a topic or an archive
    pub path: PathBuf,
}
