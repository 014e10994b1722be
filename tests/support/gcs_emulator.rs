//! gcp-storage-emulator, a server by others, from tests/requirements.txt.
//!
//! It is a second opinion on uploads, resuming and checksums. It ignores `ifGenerationMatch`, answers a status query
//! of an empty session by `bytes=0-0`, forgets a session at its end, begins with metageneration 2 where there is a
//! resource, ignores `startOffset` of a listing, and closes the connection after each answer.

use super::processes;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often another port is tried when somebody took the chosen one first.
const ATTEMPTS: usize = 5;

/// A running emulator with one bucket. It keeps everything in memory, and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct GcsEmulator {
    child: Child,
    address: String,
    output: tempfile::NamedTempFile,
}

impl GcsEmulator {
    /// Starts one and waits until it answers.
    #[track_caller]
    pub(crate) fn start(bucket: &str) -> GcsEmulator {
        for _ in 0..ATTEMPTS {
            let mut emulator = GcsEmulator::launch(bucket);
            match emulator.wait_until_it_listens() {
                Ok(()) => return emulator,
                Err(output) if output.contains("Address already in use") => {}
                Err(output) => panic!("gcp-storage-emulator does not start:\n{output}"),
            }
        }
        panic!("{ATTEMPTS} ports were all taken")
    }

    fn launch(bucket: &str) -> GcsEmulator {
        // It does not tell a port that the system has chosen, so the port is chosen before.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on the loopback");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let output = tempfile::NamedTempFile::new().expect("a temporary file");
        let file = || File::options().append(true).open(output.path()).expect("it is there");
        let mut command = Command::new(program());
        command
            .args(["start", "-H", "127.0.0.1", "-M", "--default-bucket", bucket, "--port", &port.to_string()])
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(file())
            .stderr(file());
        let child = processes::start(&mut command).expect("gcp-storage-emulator runs");
        GcsEmulator { child, address: format!("127.0.0.1:{port}"), output }
    }

    /// The error is what it has said.
    fn wait_until_it_listens(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let has_ended = self.child.try_wait().expect("its state is known").is_some();
            if has_ended || Instant::now() > deadline {
                return Err(std::fs::read_to_string(self.output.path()).expect("readable"));
            }
            // It says so when it has its port: somebody else may listen there.
            let said = std::fs::read_to_string(self.output.path()).expect("readable");
            if said.contains("All services started") && TcpStream::connect(&self.address).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for GcsEmulator {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("gcp-storage-emulator said:\n{}", std::fs::read_to_string(self.output.path()).unwrap_or_default());
        }
    }
}

/// Beside the Python that has it.
fn program() -> PathBuf {
    let python = std::env::var_os("KAFKA_STORE_TEST_PYTHON").expect(
        "KAFKA_STORE_TEST_PYTHON is not set: run tests/run, or eval \"$(tests/services start)\" before cargo test",
    );
    let program = Path::new(&python).with_file_name("gcp-storage-emulator");
    assert!(program.exists(), "{} is not there: tests/services python installs it", program.display());
    program
}
