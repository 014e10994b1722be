//! Archives as tests look at them: by fastavro, by the program's own check, and as files.

use super::records::{Logged, Record};
use kafka_store::avro::{ContentHash, verify};
use kafka_store_statecharts::name::SegmentName;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An archive in a directory that is removed when the test is over.
pub(crate) struct Archive {
    directory: tempfile::TempDir,
}

/// Everything about a file that nobody may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    hash: blake3::Hash,
    inode: u64,
    modified: (i64, i64),
}

impl Archive {
    pub(crate) fn new() -> Archive {
        Archive { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The path of a segment.
    pub(crate) fn segment(&self, topic: &str, partition: i32, start: i64) -> PathBuf {
        self.path().join(format!("{topic}/{partition:06}/{start:020}"))
    }

    /// The starts of a partition's segments.
    pub(crate) fn starts(&self, topic: &str, partition: i32) -> Vec<i64> {
        let Ok(entries) = fs::read_dir(self.path().join(format!("{topic}/{partition:06}"))) else { return Vec::new() };
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
        let mut starts: Vec<i64> =
            entries.map(|entry| name(entry).expect("UTF-8").parse().expect("an offset")).collect();
        starts.sort_unstable();
        starts
    }

    /// The paths of all segments, below the root.
    pub(crate) fn segments(&self) -> Vec<String> {
        self.all_files().into_iter().filter(|path| !path.starts_with("~kafka-store/")).collect()
    }

    /// The directories of processes, running or killed.
    pub(crate) fn instance_directories(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path().join("~kafka-store/tmp")).expect("there is one");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
        names.filter(|name| name != "lock").collect()
    }

    /// Whether a process has a segment open that starts at offset 0. Its file is made for the first record.
    pub(crate) fn has_first_segment_open(&self, process: u32) -> bool {
        let entries = fs::read_dir(self.path().join(format!("~kafka-store/tmp/{process}-1"))).into_iter().flatten();
        let mut names = entries.map(|entry| entry.expect("an entry").file_name());
        names.any(|name| name.as_encoded_bytes().ends_with(b",00000000000000000000"))
    }

    /// Every file but those of running processes: what is kept.
    fn all_files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(self.path().join(&directory)).expect("a directory") {
                let entry = entry.expect("an entry");
                let path = directory.join(entry.file_name());
                if path == Path::new("~kafka-store/tmp") {
                    continue; // They come and go.
                }
                if entry.path().is_dir() {
                    directories.push(path);
                } else {
                    files.push(path.into_os_string().into_string().expect("UTF-8"));
                }
            }
        }
        files.sort();
        files
    }

    /// What each file is that is kept.
    pub(crate) fn stamps(&self) -> BTreeMap<String, Stamp> {
        self.all_files().into_iter().map(|path| (path.clone(), self.stamp(&path))).collect()
    }

    pub(crate) fn stamp(&self, path: &str) -> Stamp {
        let path = self.path().join(path);
        let metadata = fs::metadata(&path).expect("a file");
        Stamp {
            hash: blake3::hash(&fs::read(&path).expect("readable")),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// The bytes of each segment.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let bytes = |path: &String| fs::read(self.path().join(path)).expect("readable");
        self.segments().into_iter().map(|path| (path.clone(), bytes(&path))).collect()
    }

    /// Reads each segment with the program's own check; the answer is what the records hash to.
    pub(crate) fn verified(&self) -> BTreeMap<String, ContentHash> {
        self.segments().into_iter().map(|path| (path.clone(), self.verify(&path))).collect()
    }

    pub(crate) fn verify(&self, path: &str) -> ContentHash {
        let start = SegmentName::parse_file_name(path.rsplit('/').next().expect("a name")).expect("an offset");
        let file = fs::File::open(self.path().join(path)).expect("readable");
        verify(file, start).unwrap_or_else(|error| panic!("{path}: {error}")).content_hash
    }

    /// Has fastavro read everything, and checks that the files form whole chains; the answer is what it counted.
    #[track_caller]
    pub(crate) fn check(&self) -> String {
        let output = self.oracle("check");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The records of a partition, as fastavro reads them; of its later lineage 2 under the topic `TOPIC~2`.
    #[track_caller]
    pub(crate) fn records(&self, topic: &str, partition: i32) -> Vec<Logged> {
        let mut all = self.all_records();
        all.remove(&(topic.to_owned(), partition)).unwrap_or_default()
    }

    /// All records, as fastavro reads them.
    #[track_caller]
    pub(crate) fn all_records(&self) -> BTreeMap<(String, i32), Vec<Logged>> {
        let output = self.oracle("dump");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut all: BTreeMap<_, Vec<Logged>> = BTreeMap::new();
        for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).expect("JSON");
            let partition = i32::try_from(line["partition"].as_i64().expect("a number")).expect("a small one");
            let mut topic = line["topic"].as_str().expect("a text").to_owned();
            if let Some(lineage) = line["lineage"].as_i64().filter(|lineage| *lineage > 1) {
                topic += &format!("~{lineage}");
            }
            all.entry((topic, partition)).or_default().push(logged(&line));
        }
        all
    }

    fn oracle(&self, command: &str) -> Output {
        let python = std::env::var_os("KAFKA_STORE_TEST_PYTHON").expect(
            "KAFKA_STORE_TEST_PYTHON is not set: run tests/run, or eval \"$(tests/services start)\" before cargo test",
        );
        let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle.py");
        Command::new(python).arg(oracle).arg(command).arg(self.path()).output().expect("Python runs")
    }
}

fn logged(line: &Value) -> Logged {
    let header = |header: &Value| {
        let name = header[0].as_str().expect("a text").to_owned();
        let raw = bytes_or_null(&header[2]);
        if let Some(raw) = &raw {
            assert_eq!(name, String::from_utf8_lossy(raw), "the readable name is the name as far as it is text");
            assert!(std::str::from_utf8(raw).is_err(), "raw_key is there only where it is needed");
        }
        (raw.unwrap_or_else(|| name.into_bytes()), bytes_or_null(&header[1]))
    };
    Logged {
        offset: line["offset"].as_i64().expect("a number"),
        timestamp_type: line["timestamp_type"].as_str().unwrap_or("").to_owned(),
        record: Record {
            key: bytes_or_null(&line["key_b64"]),
            value: bytes_or_null(&line["value_b64"]),
            timestamp: line["timestamp"].as_i64().expect("a number"),
            headers: line["headers"].as_array().map(|all| all.iter().map(header).collect()).unwrap_or_default(),
        },
    }
}

/// Base64 as the oracle writes it.
pub(crate) fn bytes_or_null(text: &Value) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [0_u32; 256];
    DIGITS.iter().zip(0..).for_each(|(digit, value)| values[usize::from(*digit)] = value);
    let text = text.as_str()?.as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.chunks(4) {
        let number = four.iter().fold(0, |number, digit| number << 6 | values[usize::from(*digit)]);
        let padding = four.iter().filter(|digit| **digit == b'=').count();
        bytes.extend_from_slice(&number.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}
