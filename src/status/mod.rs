//! What a daemon shows of itself: a page for people, the same as JSON, metrics for Prometheus, and probes.
//!
//! It looks and asks, and changes nothing. The charts' states come from their transitions, as those of the audit log; what
//! is counted between two transitions, from the actors' figures.

mod board;
mod json;
mod metrics;
mod page;
mod server;
mod view;

pub use board::Board;
pub use server::StatusServer;
pub use view::{About, Budgets, Outside, Sources};

#[cfg(test)]
mod tests;
