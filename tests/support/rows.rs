//! Rows of the index, held against the files and the committed offsets by plain SQL and plain files.

use super::archive::Archive;
use super::broker::{Broker, Commits};
use super::mysql::Database;
use md5::{Digest, Md5};
use mysql::prelude::Queryable;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Topic, partition, lineage and start.
type Key = (String, i32, u32, i64);

/// Last offset, size and MD5.
type Values = (i64, u64, String);

fn rows(database: &Database) -> BTreeMap<Key, Values> {
    let query = "SELECT topic, `partition`, lineage, startOffset, finalOffset, byteSize, md5Hash FROM kafka_store";
    let rows: Vec<(String, i32, u32, i64, i64, u64, String)> = database.query(query);
    rows.into_iter()
        .map(|(topic, partition, lineage, start, last, bytes, md5)| {
            ((topic, partition, lineage, start), (last, bytes, md5))
        })
        .collect()
}

/// The start in a path below the archive, with the rest of it.
fn key_of(path: &str) -> Key {
    let mut parts = path.split('/');
    let mut next = || parts.next().expect("topic/partition/start");
    let (topic, folder, start) = (next().to_owned(), next(), next());
    let (partition, lineage) = folder.split_once('~').unwrap_or((folder, "1"));
    let number = |text: &str| text.parse::<i64>().expect("a number");
    (topic, number(partition) as i32, number(lineage) as u32, number(start))
}

/// Every file has its row, with its size and MD5, and every row its file; the rows of a chain join.
#[track_caller]
pub(crate) fn assert_rows_are_the_files(database: &Database, archive: &Archive) -> usize {
    let rows = rows(database);
    let mut files: BTreeMap<Key, (u64, String)> = BTreeMap::new();
    for (path, bytes) in archive.contents() {
        let md5: String = Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        files.insert(key_of(&path), (bytes.len() as u64, md5));
    }
    let told: BTreeMap<&Key, (u64, String)> =
        rows.iter().map(|(key, (_, bytes, md5))| (key, (*bytes, md5.clone()))).collect();
    let stored: BTreeMap<&Key, (u64, String)> = files.iter().map(|(key, values)| (key, values.clone())).collect();
    assert_eq!(told, stored, "the rows, and the files");
    let mut before: Option<(&Key, i64)> = None;
    for (key, (last, _, _)) in &rows {
        if let Some((other, end)) = before.filter(|(other, _)| (&other.0, other.1, other.2) == (&key.0, key.1, key.2)) {
            assert_eq!(key.3, end + 1, "the row after {other:?}");
        }
        before = Some((key, *last));
    }
    rows.len()
}

/// Looks again and again, while something happens, whether each row names a file that is there, and each committed
/// offset ends a row.
pub(crate) struct Watch<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) archive: &'a Archive,
    pub(crate) database: &'a Database,
    pub(crate) topic: &'a str,
    pub(crate) partitions: i32,
}

impl Watch<'_> {
    /// Watches until `what` is done, also if it fails; the answer is how often it looked.
    pub(crate) fn during<T>(&self, what: impl FnOnce() -> T) -> (u64, T) {
        let (stop, looks) = (AtomicBool::new(false), AtomicU64::new(0));
        let done = std::thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let commits = self.broker.commits_of(self.topic);
                while !stop.load(Ordering::Relaxed) {
                    if self.look(&commits) {
                        looks.fetch_add(1, Ordering::Relaxed);
                    }
                    // The pace of the watch.
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            let done = {
                let _stop = StopAtTheEnd(&stop);
                what()
            };
            watching.join().expect("what was watched holds");
            done
        });
        (looks.into_inner(), done)
    }

    /// In this order: what is committed had its row before, and what has a row had its file. False while the server is
    /// away.
    fn look(&self, commits: &Commits) -> bool {
        let committed = commits.of(self.topic, self.partitions);
        let Some(rows) = self.try_rows() else { return false };
        for (partition, committed) in (0..).zip(committed) {
            let Some(committed) = committed else { continue };
            let ends = rows.iter().any(|(of, _, last)| *of == partition && last + 1 == committed);
            assert!(ends, "{committed} is committed of partition {partition}, and no row ends there: {rows:?}");
        }
        for (partition, start, _) in &rows {
            let path = self.archive.segment(self.topic, *partition, *start);
            assert!(path.exists(), "there is a row of partition {partition} from {start}, and no file");
        }
        true
    }

    fn try_rows(&self) -> Option<Vec<(i32, i64, i64)>> {
        let mut connection = self.database.try_connect()?;
        let query = "SELECT `partition`, startOffset, finalOffset FROM kafka_store WHERE topic = ?";
        connection.exec(query, (self.topic,)).ok()
    }
}

struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
