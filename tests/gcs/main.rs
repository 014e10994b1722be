//! Google Cloud Storage: the strict fake, held against the protocol; the store's client, held against the fake and an
//! emulator by others; and the promises that every store keeps. The library alone: no daemon, no broker, no SQL.

mod access;
mod conformance;
mod emulator;
mod fake;
mod upload;

#[path = "../support"]
mod support {
    #[allow(dead_code, unused_imports, reason = "the fake does more than these tests need")]
    pub(crate) mod fake_gcs;
    pub(crate) mod gcs_emulator;
    pub(crate) mod processes;
    pub(crate) mod seed;
    pub(crate) mod tls;
}

use std::time::{Duration, Instant};

/// Waits until something can be observed.
#[track_caller]
fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !happened() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
