//! The built daemon, run as a user runs it.

use super::broker::Broker;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long any run in a test may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command line of the daemon.
pub(crate) struct Daemon {
    command: Command,
    /// `None` leaves it to the broker.
    session_timeout_ms: Option<u32>,
    offset_reset: &'static str,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

impl Daemon {
    /// For topics, a group and an archive, everything from the logs' starts on.
    ///
    /// The clock seals nothing unless a test says so: boundaries follow from the records alone.
    pub(crate) fn new(broker: &Broker, topics: &[&str], group: &str, archive: &Path) -> Daemon {
        let mut daemon = Daemon::without_store(broker, topics, group);
        daemon.command.arg("--local-store").arg(archive);
        daemon
    }

    /// The same, and the arguments have to name a store.
    pub(crate) fn without_store(broker: &Broker, topics: &[&str], group: &str) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
        command.args(["--broker-list", &broker.address, "--group", group, "--topic", &topics.join(","), "-v"]);
        Daemon { command, session_timeout_ms: Some(6_000), offset_reset: "earliest" }
    }

    /// More arguments.
    pub(crate) fn args(mut self, args: &[&str]) -> Daemon {
        self.command.args(args);
        self
    }

    /// A variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Daemon {
        self.command.env(name, value);
        self
    }

    /// No segment ends by the clock.
    pub(crate) fn never_seals_by_the_clock(self) -> Daemon {
        self.args(&["--idle-seal-seconds", "4000000000", "--seal-after-seconds", "4000000000"])
    }

    /// After how long a killed member is given up by the group.
    pub(crate) fn session_timeout_ms(mut self, milliseconds: u32) -> Daemon {
        self.session_timeout_ms = Some(milliseconds);
        self
    }

    /// A group of the newer protocol (KIP-848), in which the broker assigns, and says when a member is given up.
    pub(crate) fn consumer_protocol(mut self) -> Daemon {
        self.session_timeout_ms = None;
        self.args(&["-X", "group.protocol=consumer"])
    }

    /// `--offset-reset`.
    pub(crate) fn offset_reset(mut self, reset: &'static str) -> Daemon {
        self.offset_reset = reset;
        self
    }

    /// No file that it writes grows beyond this, as if the disk were full.
    pub(crate) fn files_limited_to_kib(mut self, kib: u32) -> Daemon {
        let mut command = Command::new("bash");
        let script = "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"";
        command.args(["-c", script, "bash", &kib.to_string()]);
        command.arg(self.command.get_program()).args(self.command.get_args());
        self.command = command;
        self
    }

    /// Runs to the end of the log, and must succeed.
    #[track_caller]
    pub(crate) fn until_end(self) -> Ended {
        self.until_end_with_code(0)
    }

    /// Runs to the end of the log, and must end with this exit code.
    #[track_caller]
    pub(crate) fn until_end_with_code(self, code: i32) -> Ended {
        let ended = self.args(&["--until-end", "--timeout", "100"]).run();
        assert_eq!(ended.code, Some(code), "the exit code is another. The log:\n{}", ended.log);
        ended
    }

    /// Runs to its end, whatever that is.
    pub(crate) fn run(self) -> Ended {
        let mut running = self.spawn();
        let code = running.wait().code();
        Ended { code, log: running.log() }
    }

    /// Starts it and goes on.
    pub(crate) fn spawn(mut self) -> Running {
        let log = tempfile::tempfile().expect("a temporary file");
        if let Some(timeout) = self.session_timeout_ms {
            self.command.arg("-X").arg(format!("session.timeout.ms={timeout}"));
            self.command.arg("-X").arg(format!("heartbeat.interval.ms={}", timeout / 4));
        }
        self.command.args(["--offset-reset", self.offset_reset]);
        self.command.stdin(Stdio::null()).stdout(Stdio::null());
        self.command.stderr(log.try_clone().expect("one more handle"));
        Running { child: self.command.spawn().expect("the daemon starts"), log }
    }
}

/// A daemon that runs. It is killed when the test is over.
pub(crate) struct Running {
    child: Child,
    log: std::fs::File,
}

impl Running {
    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait().code()
    }

    /// SIGTERM.
    pub(crate) fn request_end(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGSTOP: it does nothing any more, and knows nothing of it.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn go_on(&mut self) {
        self.signal(Signal::CONT);
    }

    /// SIGHUP: look at frozen partitions again.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it can be signalled");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state is known") {
                return status;
            }
            assert!(Instant::now() < deadline, "the daemon does not end. Its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its state is known").is_none()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        // Not by the file's position, which the process shares: it writes there.
        let length = self.log.metadata().expect("an open file").len();
        let mut text = vec![0; usize::try_from(length).expect("it fits into memory")];
        self.log.read_exact_at(&mut text, 0).expect("its log is readable");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until it has said this.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if log.contains(words) {
                return;
            }
            assert!(self.is_running(), "the daemon ended without {words:?}. Its log:\n{log}");
            assert!(Instant::now() < deadline, "the daemon does not say {words:?}. Its log:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("The log of the daemon that ran:\n{}", self.log());
        }
    }
}
