//! Daemons that archive to Google Cloud Storage: real Kafka, real processes, and the strict fake.

mod failing_sync;
mod layout;
mod mirror;
mod others;
mod removed;
mod starts;
