//! `kafka-store demo`.

use clap::Args;

/// The demo needs nothing.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {}
