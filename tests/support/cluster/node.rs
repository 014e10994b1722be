//! One process of a cluster.

use super::launch::Kafka;
use super::snapshot::Snapshot;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a start or an orderly stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Kafka's words at the end of a start; for a broker, this is after its registration with the controller.
const STARTED: &str = "Kafka Server started";

/// A broker, or a controller, or both in one: its ports and its data directory stay while its processes come and go.
#[derive(Debug)]
pub(crate) struct Node {
    id: i32,
    port: Option<u16>,
    directory: PathBuf,
    kafka: Kafka,
    process: Option<Child>,
    starts: usize,
}

impl Node {
    pub(super) fn new(id: i32, directory: &Path, kafka: &Kafka, settings: String) -> Node {
        let directory = directory.join(format!("node-{id}"));
        fs::create_dir(&directory).expect("created");
        let node = Node { id, port: None, directory, kafka: kafka.clone(), process: None, starts: 0 };
        let settings = settings + &format!("log.dirs={}\n", node.data().display());
        fs::write(node.path("settings"), settings).expect("written");
        node
    }

    /// Sets the port for clients.
    pub(super) fn at(mut self, port: u16) -> Node {
        self.port = Some(port);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    // ---- what it is ----

    /// Returns its id.
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// Returns `127.0.0.1:PORT`; `None` for the controller, to which clients do not speak.
    pub(crate) fn address(&self) -> Option<String> {
        self.port.map(|port| format!("127.0.0.1:{port}"))
    }

    /// Returns its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Returns the directory of a partition's log.
    pub(crate) fn partition_directory(&self, topic: &str, partition: i32) -> PathBuf {
        self.data().join(partition_name(topic, partition))
    }

    /// Returns the log of its last start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.path(&format!("log-{}", self.starts))
    }

    // ---- its process ----

    /// True while it has a process, also a suspended one.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Starts it at its address, and waits until it answers.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.wait_until_up();
    }

    /// Stops it in good order (SIGTERM): it hands its partitions over and closes its logs.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let Some(process) = &mut self.process else { return };
        kill_process(Pid::from_child(process), Signal::TERM).expect("it can be signalled");
        let deadline = Instant::now() + PATIENCE;
        while process.try_wait().expect("its state is known").is_none() {
            assert!(Instant::now() < deadline, "node {} does not stop:\n{}", self.id, self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = None;
    }

    /// Kills it (SIGKILL). In a cluster of three the controller gives it up after nine seconds, Kafka's default: with less,
    /// a busy machine would cost brokers their leadership.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it can be killed");
            process.wait().expect("it ends");
        }
    }

    /// Suspends it (SIGSTOP): its connections stay open, and nothing answers.
    pub(crate) fn suspend(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Resumes it (SIGCONT).
    pub(crate) fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(process), signal).expect("it can be signalled");
    }

    /// Stops it in good order, does something to its disk, and starts it again.
    #[track_caller]
    pub(crate) fn stopped<T>(&mut self, action: impl FnOnce(&mut Node) -> T) -> T {
        self.stop();
        let result = action(self);
        self.start();
        result
    }

    /// Starts it, and does not wait.
    #[track_caller]
    pub(crate) fn spawn(&mut self) {
        assert!(self.process.is_none(), "node {} runs already", self.id);
        self.starts += 1;
        let log = File::create(self.log_path()).expect("a log");
        let mut command = self.kafka.command("-Xmx256m");
        command.arg("kafka.Kafka").arg(self.path("settings"));
        command.stdout(log.try_clone().expect("one more handle")).stderr(log);
        self.process = Some(command.spawn().expect("Java runs"));
    }

    /// Waits until it answers. False if it ends instead.
    #[track_caller]
    pub(super) fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(STARTED) {
            let process = self.process.as_mut().expect("it was started");
            if process.try_wait().expect("its state is known").is_some() {
                return false;
            }
            assert!(Instant::now() < deadline, "node {} does not start:\n{}", self.id, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    #[track_caller]
    pub(crate) fn wait_until_up(&mut self) {
        assert!(self.comes_up(), "node {} ended while it was starting:\n{}", self.id, self.log());
    }

    // ---- its disk, while it is down ----

    /// Copies its whole data directory.
    #[track_caller]
    pub(crate) fn save(&self) -> Snapshot {
        self.copy("")
    }

    /// Copies the directory of one partition.
    #[track_caller]
    pub(crate) fn save_partition(&self, topic: &str, partition: i32) -> Snapshot {
        self.copy(&partition_name(topic, partition))
    }

    #[track_caller]
    fn copy(&self, place: &str) -> Snapshot {
        self.assert_down();
        Snapshot::of(&self.data(), place)
    }

    /// Sets its disk back to a snapshot: everything that the snapshot covers is as it was, the rest is left alone.
    #[track_caller]
    pub(crate) fn restore(&mut self, snapshot: &Snapshot) {
        self.assert_down();
        snapshot.restore(&self.data());
    }

    #[track_caller]
    fn assert_down(&self) {
        assert!(self.process.is_none(), "node {} runs: its files are not at rest", self.id);
    }
}

fn partition_name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            println!("The last lines of node {}:\n{}", self.id, lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}
