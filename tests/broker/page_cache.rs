//! What a daemon has stored does not stay in the system's page cache.

use crate::support::broker::{Broker, unique};
use crate::support::daemon::Daemon;
use crate::support::page_cache::{cached_bytes, on_disk};
use crate::support::records::numbered;

#[test]
fn nothing_that_a_daemon_stored_stays() {
    let broker = Broker::get();
    let topic = broker.create_topic("page-cache", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..30_000), &[]);
    let archive = on_disk();
    Daemon::new(&broker, &[&topic], &unique("page-cache"), archive.path()).args(&["--codec", "null"]).until_end();
    let segment = archive.path().join(format!("{topic}/000000/{:020}", 0));
    let bytes = segment.metadata().expect("it is there").len();
    let cached = cached_bytes(&segment);
    assert!(cached < bytes / 2, "{cached} of {bytes} bytes");
}
