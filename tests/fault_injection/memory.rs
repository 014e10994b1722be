//! Goal: a daemon stays within `--memory-limit` and 64 MiB while its store hangs. Method: a lease on an object, which
//! makes whoever opens it wait.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::memory::{ZSTD, compressible, limited, peak, tell};
use crate::support::seed::Chance;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The store hangs for a minute, in pieces that the kernel allows.
const HANGS: u32 = 2;
const HANG: Duration = Duration::from_secs(30);

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
