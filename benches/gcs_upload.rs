//! How fast a segment goes into Google Cloud Storage, against curl, which sends the same file in one PUT.
//!
//! Both speak to the fake of the tests, over the loopback, in turns: what is compared is the way there, with a server
//! that reads, keeps and checks every byte. `KAFKA_STORE_BENCH_MIB` is the size of the file. As a test (without
//! `--bench`) it is run small.

#[allow(dead_code, unused_imports, reason = "the fake does more than is measured here")]
#[path = "../tests/support"]
mod support {
    pub(crate) mod fake_gcs;
    pub(crate) mod seed;
}

use kafka_store::store::{ArchiveStore, CreateOutcome, GcsCredentials, GcsSettings, GcsStore, SegmentFile};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::fake_gcs::FakeGcs;

fn main() {
    let is_test = !std::env::args().any(|arg| arg == "--bench");
    let (usual, rounds) = if is_test { (4, 1) } else { (512, 5) };
    let mib: usize = std::env::var("KAFKA_STORE_BENCH_MIB").map_or(usual, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("segment");
    let bytes: Vec<u8> =
        (0..mib << 17).flat_map(|number| (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    std::fs::write(&path, &bytes).expect("room for it");
    let crc32c = crc32c::crc32c(&bytes);
    drop(bytes);
    let (mut ours, mut curls) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // A server of its own for each, so that neither meets the other's gigabytes.
        ours.push(by_us(&path, mib, crc32c, round));
        curls.push(by_curl(&path));
    }
    let rate = |times: &mut Vec<Duration>| {
        times.sort();
        mib as f64 / times[times.len() / 2].as_secs_f64()
    };
    let (ours, curls) = (rate(&mut ours), rate(&mut curls));
    println!("kafka-store {ours:.0} MiB/s, curl {curls:.0} MiB/s, medians of {rounds}: {:.2} of curl's", ours / curls);
}

fn by_us(path: &Path, mib: usize, crc32c: u32, round: i64) -> Duration {
    let fake = FakeGcs::start(&["archive"]);
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let settings = GcsSettings {
        endpoint: Some(fake.base_url().to_owned()),
        credentials: GcsCredentials::Anonymous,
        ..GcsSettings::new("gs://archive/prefix".parse().expect("legal"), &log)
    };
    let store = GcsStore::open(&settings).expect("it answers");
    let chain = ChainName::parse("orders", "000000").expect("legal");
    let name = chain.segment(Offset::new(round).expect("legal"));
    let bytes = (mib << 20) as u64;
    let file = SegmentFile { name, path: path.to_owned(), bytes, crc32c, attributes: BTreeMap::new() };
    let started = Instant::now();
    let outcome = store.create_segment(&file).expect("stored");
    let elapsed = started.elapsed();
    assert!(matches!(outcome, CreateOutcome::Created(_)), "the name is free");
    elapsed
}

/// The session is opened before the clock starts: for us it counts.
fn by_curl(path: &Path) -> Duration {
    let fake = FakeGcs::start(&["archive"]);
    let url =
        format!("{}/upload/storage/v1/b/archive/o?uploadType=resumable&name=x&ifGenerationMatch=0", fake.base_url());
    let opened = Command::new("curl")
        .args([
            "-sS",
            "-D",
            "-",
            "-o",
            "/dev/null",
            "-X",
            "POST",
            "-H",
            "Content-Type: application/json",
            "-d",
            "{}",
            &url,
        ])
        .output()
        .expect("curl runs");
    let headers = String::from_utf8_lossy(&opened.stdout).into_owned();
    let session = headers
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("location")));
    let (_, session) = session.unwrap_or_else(|| panic!("no session: {headers}"));
    let started = Instant::now();
    let sent =
        Command::new("curl").args(["-sS", "-f", "-T"]).arg(path).arg(session.trim()).output().expect("curl runs");
    let elapsed = started.elapsed();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    elapsed
}
