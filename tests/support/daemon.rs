//! The built daemon, run as a user runs it.

use super::broker::Broker;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long any run in a test may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command line of the daemon.
pub(crate) struct Daemon {
    command: Command,
}

impl Daemon {
    /// For topics, a group and an archive; short session times, so that a killed member is soon forgotten.
    pub(crate) fn new(broker: &Broker, topics: &[&str], group: &str, archive: &Path) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
        command.args(["--broker-list", &broker.address, "--group", group, "--topic", &topics.join(",")]);
        command.arg("--local-store").arg(archive);
        command.args(["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500"]);
        command.args(["--offset-reset", "earliest", "-v"]);
        Daemon { command }
    }

    /// More arguments.
    pub(crate) fn args(mut self, args: &[&str]) -> Daemon {
        self.command.args(args);
        self
    }

    /// Runs to the end of the log, and must succeed.
    pub(crate) fn until_end(self) -> Output {
        let output = self.args(&["--until-end", "--timeout", "100"]).output();
        assert!(output.status.success(), "the daemon failed: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Runs to its end, whatever that is.
    pub(crate) fn output(mut self) -> Output {
        let child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the daemon starts");
        child.wait_with_output().expect("the daemon ends")
    }

    /// Starts it and goes on.
    pub(crate) fn spawn(mut self) -> Running {
        Running(self.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the daemon starts"))
    }
}

/// A daemon that runs. It is killed when the test is over.
pub(crate) struct Running(Child);

impl Running {
    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("it can be killed");
        self.0.wait().expect("it ends");
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be signalled");
        self.wait()
    }

    /// Waits for its end, and gives the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().expect("its state is known") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("its state is known").is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
