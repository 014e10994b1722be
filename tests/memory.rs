//! Goal: the process stays within `--memory-limit` and 64 MiB, whatever is fetched. Method: a real broker, data that
//! compresses 20 to 1 and is several times the limit, and the most memory that the kernel has seen (`VmHWM`).

mod support;

use support::archive::Archive;
use support::broker::{Broker, unique};
use support::daemon::{Daemon, Running};
use support::records::{MORNING_MS, Record, record};
use support::seed::Chance;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: u64 = 64_000_000;
const BEYOND: u64 = 64 << 20;
/// The store hangs for a minute, in pieces that the kernel allows.
const HANGS: u32 = 2;
const HANG: Duration = Duration::from_secs(30);
/// The producers of this data.
const ZSTD: [(&str, &str); 3] = [("compression.type", "zstd"), ("batch.size", "1000000"), ("linger.ms", "50")];

/// Records that compress about 20 to 1: a twentieth of each is chance.
fn compressible(count: i64, size: usize, chance: &mut Chance) -> Vec<Record> {
    let one = |number: i64| {
        let mut value = chance.bytes(size / 20);
        value.resize(size, b'.');
        record(Some(&number.to_be_bytes()), Some(&value), MORNING_MS + number)
    };
    (0..count).map(one).collect()
}

/// The most memory that the process had at a time.
fn peak(running: &Running) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Runs it to its end and says how much memory it took.
#[track_caller]
fn run(what: &str, daemon: Daemon) -> u64 {
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
fn tell(what: &str, most: u64) {
    println!("{what}: VmHWM {} MB, the limit is {} MB + 67 MB", most / 1_000_000, LIMIT / 1_000_000);
    assert!(most > 10_000_000, "{what}: not measured");
    assert!(most <= LIMIT + BEYOND, "{what}: {most} bytes are more than the limit and 64 MiB");
}

fn limited(broker: &Broker, topic: &str, archive: &Archive) -> Daemon {
    Daemon::new(broker, &[topic], &unique("memory"), archive.path()).args(&[
        "--memory-limit",
        &LIMIT.to_string(),
        "--file-size",
        "16M",
    ])
}

#[test]
fn one_partition_of_usual_records() {
    let broker = Broker::get();
    let topic = broker.create_topic("memory-one", 1, &[]);
    let mut chance = Chance::fixed(1);
    for _ in 0..4 {
        broker.produce(&topic, 0, &compressible(60_000, 1_024, &mut chance), &ZSTD);
    }
    let archive = Archive::new();
    run("1 partition, 1 KiB", limited(&broker, &topic, &archive));
}

#[test]
fn one_partition_of_tiny_records() {
    let broker = Broker::get();
    let topic = broker.create_topic("memory-tiny", 1, &[]);
    let mut chance = Chance::fixed(2);
    for _ in 0..4 {
        broker.produce(&topic, 0, &compressible(250_000, 100, &mut chance), &ZSTD);
    }
    let archive = Archive::new();
    run("1 partition, 100 B", limited(&broker, &topic, &archive));
}

#[test]
fn a_thousand_partitions() {
    let broker = Broker::get();
    let topic = broker.create_topic("memory-many", 1_000, &[]);
    let records = compressible(300, 1_024, &mut Chance::fixed(3));
    let producer = broker.producer(&ZSTD);
    for partition in 0..1_000 {
        records.iter().for_each(|record| support::broker::send(&producer, &topic, partition, record));
    }
    support::broker::flush(&producer);
    let archive = Archive::new();
    run("1,000 partitions, 1 KiB", limited(&broker, &topic, &archive));
}

#[test]
fn records_of_an_eighth_of_the_limit() {
    let broker = Broker::get();
    let topic = broker.create_topic("memory-large", 2, &[("max.message.bytes", "12000000")]);
    let records = compressible(15, (LIMIT / 8) as usize - 100, &mut Chance::fixed(4));
    for partition in 0..2 {
        broker.produce(&topic, partition, &records, &ZSTD);
    }
    let archive = Archive::new();
    run("2 partitions, 8 MB", limited(&broker, &topic, &archive));
}

/// A file that whoever opens it waits for: a lease on it, which the kernel takes away after 45 seconds at the earliest.
struct Lease(Child);

impl Lease {
    fn take(path: &Path) -> Lease {
        let python = std::env::var_os("KAFKA_STORE_TEST_PYTHON").expect("tests/services start says where Python is");
        let program = "import fcntl, os, signal, sys
signal.signal(signal.SIGIO, lambda *_: print('waited for', flush=True))
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('taken', flush=True)
sys.stdin.readline()
";
        let mut child = Command::new(python)
            .args(["-c", program])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        assert_eq!(line_of(&mut child), "taken\n");
        Lease(child)
    }

    /// Lets go of the file some time after somebody began to wait for it.
    fn release_after(mut self, time: Duration) {
        assert_eq!(line_of(&mut self.0), "waited for\n");
        std::thread::sleep(time);
        self.0.stdin.take().expect("it reads").write_all(b"\n").expect("it reads");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn line_of(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("it writes");
    line
}

/// The store hangs in the middle of a call: the daemon opens an object that another member has just stored, and the
/// kernel does not let it.
#[test]
fn a_store_that_hangs() {
    let broker = Broker::get();
    let topic = broker.create_topic("memory-hang", 1, &[]);
    let mut chance = Chance::fixed(5);
    for _ in 0..4 {
        broker.produce(&topic, 0, &compressible(60_000, 1_024, &mut chance), &ZSTD);
    }
    let daemon = |archive: &Archive| limited(&broker, &topic, archive).never_seals_by_the_clock();
    let (first, archive) = (Archive::new(), Archive::new());
    daemon(&first).args(&["--until-end"]).run();
    let starts = first.starts(&topic, 0);
    std::fs::create_dir_all(archive.path().join(&topic).join("000000")).expect("created");
    let mut running = daemon(&archive).args(&["--until-end", "--timeout", "110"]).spawn();
    running.wait_for("chain located");
    let leases: Vec<Lease> = (0..HANGS)
        .map(|piece| {
            let start = starts[3 + 3 * piece as usize];
            let lease = Lease::take(&first.segment(&topic, 0, start));
            std::fs::hard_link(first.segment(&topic, 0, start), archive.segment(&topic, 0, start)).expect("linked");
            lease
        })
        .collect();
    let began = Instant::now();
    for lease in leases {
        lease.release_after(HANG);
        println!("the store hung until second {}: {:?} bytes", began.elapsed().as_secs(), peak(&running));
    }
    assert!(began.elapsed() >= HANGS * HANG, "it did not hang for a minute: {:?}", began.elapsed());
    let mut most = 0;
    while running.is_running() {
        most = most.max(peak(&running).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(running.wait().code(), Some(0), "{}", running.log());
    assert!(running.log().contains("the object is there already"), "{}", running.log());
    assert!(archive.contents() == first.contents(), "the archive is another");
    tell("1 partition, a store that hangs", most);
}
