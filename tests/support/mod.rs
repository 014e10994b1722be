//! What the tests against real servers share.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod archive;
pub(crate) mod broker;
pub(crate) mod cutting_proxy;
pub(crate) mod daemon;
pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod mysql;
pub(crate) mod raw_produce;
pub(crate) mod records;
pub(crate) mod rows;
pub(crate) mod seed;
pub(crate) mod seen;
pub(crate) mod traffic;

use std::time::{Duration, Instant};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something can be observed.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "waited {} s in vain: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}
