//! Memory of a daemon, held against its `--memory-limit`: the most that the kernel has seen (`VmHWM`).

use super::archive::Archive;
use super::broker::{Broker, unique};
use super::daemon::{Daemon, Running};
use super::records::{MORNING_MS, Record, record};
use super::seed::Chance;
use std::time::Duration;

pub(crate) const LIMIT: u64 = 64_000_000;
pub(crate) const BEYOND: u64 = 64 << 20;
/// The producers of this data.
pub(crate) const ZSTD: [(&str, &str); 3] =
    [("compression.type", "zstd"), ("batch.size", "1000000"), ("linger.ms", "50")];

/// Records that compress about 20 to 1: a twentieth of each is chance.
pub(crate) fn compressible(count: i64, size: usize, chance: &mut Chance) -> Vec<Record> {
    let one = |number: i64| {
        let mut value = chance.bytes(size / 20);
        value.resize(size, b'.');
        record(Some(&number.to_be_bytes()), Some(&value), MORNING_MS + number)
    };
    (0..count).map(one).collect()
}

/// The most memory that the process had at a time.
pub(crate) fn peak(running: &Running) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Runs it to its end and says how much memory it took.
#[track_caller]
pub(crate) fn run(what: &str, daemon: Daemon) -> u64 {
    let mut running = daemon.args(&["--until-end", "--timeout", "100"]).spawn();
    let mut most = 0;
    while running.is_running() {
        most = most.max(peak(&running).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(running.wait().code(), Some(0), "{}", running.log());
    tell(what, most);
    most
}

#[track_caller]
pub(crate) fn tell(what: &str, most: u64) {
    println!("{what}: VmHWM {} MB, the limit is {} MB + 67 MB", most / 1_000_000, LIMIT / 1_000_000);
    assert!(most > 10_000_000, "{what}: not measured");
    assert!(most <= LIMIT + BEYOND, "{what}: {most} bytes are more than the limit and 64 MiB");
}

pub(crate) fn limited(broker: &Broker, topic: &str, archive: &Archive) -> Daemon {
    Daemon::new(broker, &[topic], &unique("memory"), archive.path()).args(&[
        "--memory-limit",
        &LIMIT.to_string(),
        "--file-size",
        "16M",
    ])
}
