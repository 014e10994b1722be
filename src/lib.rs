//! kafka-store

pub mod cli;
pub mod config;
pub mod exit;
pub mod logging;
