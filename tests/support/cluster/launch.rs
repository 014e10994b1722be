//! How a node is started: Kafka's jars, its settings, and the files that make an empty directory a formatted one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What a cluster of three changes about internal topics: any one broker may be down.
pub(super) const REPLICATED: [&str; 3] = [
    "offsets.topic.replication.factor=3",
    "transaction.state.log.replication.factor=3",
    "share.coordinator.state.topic.replication.factor=3",
];

/// Kafka's jars and the Java that runs them.
#[derive(Clone, Debug)]
pub(super) struct Kafka {
    java: PathBuf,
    jars: PathBuf,
}

impl Kafka {
    pub(super) fn find() -> Kafka {
        let jars = std::env::var_os("KAFKA_STORE_TEST_KAFKA_JARS").expect(
            "KAFKA_STORE_TEST_KAFKA_JARS is not set: run tests/faults, or eval \"$(tests/services kafka)\" before cargo test",
        );
        let java = std::env::var_os("JAVA_HOME").map_or("java".into(), |home| Path::new(&home).join("bin/java"));
        Kafka { java, jars: jars.into() }
    }

    /// Returns a command with a small heap and the quick compiler: on two cores the tests need the processor more.
    pub(super) fn command(&self, heap: &str) -> Command {
        let mut command = Command::new(&self.java);
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", heap]);
        command.arg(format!("-XX:SharedArchiveFile={}", self.jars.join("classes.jsa").display()));
        command.args(["-Djava.net.preferIPv4Stack=true", "-Djava.awt.headless=true"]);
        command.arg(format!("-Dlog4j2.configurationFile={}", repository("tests/kafka/log4j2.properties").display()));
        command.arg("-cp").arg(format!("{}/*", self.jars.display()));
        command.stdin(Stdio::null());
        command
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the settings of a node but for its data directory: those of all test brokers, then its own.
pub(super) fn settings(id: i32, roles: &str, listeners: &str, more: &[String]) -> String {
    let mut settings = fs::read_to_string(repository("tests/kafka/server.properties")).expect("the settings");
    settings.push_str(&format!("\nprocess.roles={roles}\nnode.id={id}\nlisteners={listeners}\n"));
    more.iter().for_each(|line| settings.push_str(&format!("{line}\n")));
    settings
}

/// Returns 16 random bytes as Kafka writes ids; not with a dash in front, which reads as an option.
pub(super) fn new_id() -> String {
    loop {
        let id = URL_SAFE_NO_PAD.encode(crate::support::random::bytes::<16>());
        if !id.starts_with('-') {
            return id;
        }
    }
}

/// Formats a data directory. Kafka's own tool does so once for each test program, since a Java process takes its time: what
/// it writes is the same each time but for the ids.
pub(super) fn format(kafka: &Kafka, data: &Path, node: i32, cluster: &str) {
    static BOOTSTRAP: OnceLock<Vec<u8>> = OnceLock::new();
    let bootstrap = BOOTSTRAP.get_or_init(|| format_by_kafka(kafka));
    let meta = format!("version=1\ncluster.id={cluster}\nnode.id={node}\ndirectory.id={}\n", new_id());
    fs::create_dir_all(data).expect("created");
    fs::write(data.join("meta.properties"), meta).expect("written");
    fs::write(data.join("bootstrap.checkpoint"), bootstrap).expect("written");
}

/// Returns the bootstrap records, which name the features of this Kafka version.
fn format_by_kafka(kafka: &Kafka) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let more = ["controller.quorum.voters=1@127.0.0.1:1".to_owned(), format!("log.dirs={}", path("data").display())];
    let settings = settings(1, "broker,controller", "PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1", &more);
    fs::write(path("settings"), settings).expect("written");
    let output = kafka
        .command("-Xmx128m")
        .args(["kafka.tools.StorageTool", "format", "--cluster-id", &new_id(), "--config"])
        .arg(path("settings"))
        .output()
        .expect("Java runs");
    assert!(output.status.success(), "Kafka's storage tool: {output:?}");
    let meta = fs::read_to_string(path("data/meta.properties")).expect("formatted");
    let names: Vec<_> = meta.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let has = |name| names.contains(&name);
    assert!(names.len() == 4 && has("directory.id") && meta.contains("version=1\n"), "an unknown format: {meta}");
    fs::read(path("data/bootstrap.checkpoint")).expect("formatted")
}
