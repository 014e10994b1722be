//! kafka-store

pub mod exit;
pub mod logging;
