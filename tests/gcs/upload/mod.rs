//! Uploads into Google Cloud Storage: each thing that goes wrong, one by one and by chance, ends with the file's very
//! bytes under its name, in one generation, or with an error that says what to do.
//!
//! Against the strict fake: it tells what a client does that it must not.

mod faults;
mod mix;
mod refusals;
mod resume;

use crate::support::fake_gcs::{FakeGcs, Kind};
use kafka_store::store::{ArchiveStore, CreateOutcome, GcsCredentials, GcsSettings, GcsStore, ObjectStat, SegmentFile};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use slog::Logger;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const BUCKET: &str = "archive";
const MIB: usize = 1 << 20;

/// A server, and files to be stored there.
struct Gcs {
    fake: FakeGcs,
    files: tempfile::TempDir,
}

impl Gcs {
    fn start() -> Gcs {
        Gcs { fake: FakeGcs::start(&[BUCKET]), files: tempfile::tempdir().expect("a temporary directory") }
    }

    fn settings(&self) -> GcsSettings {
        GcsSettings {
            endpoint: Some(self.fake.base_url().to_owned()),
            credentials: GcsCredentials::Anonymous,
            idle_timeout: Duration::from_secs(2),
            ..GcsSettings::new(format!("gs://{BUCKET}/prefix").parse().expect("legal"), &no_log())
        }
    }

    fn store(&self) -> GcsStore {
        self.store_with(|_| {})
    }

    fn store_with(&self, change: impl FnOnce(&mut GcsSettings)) -> GcsStore {
        let mut settings = self.settings();
        change(&mut settings);
        GcsStore::open(&settings).expect("it answers")
    }

    /// A sealed segment of so many bytes, which follow from the start.
    fn segment(&self, start: i64, length: usize) -> SegmentFile {
        let bytes = bytes_of(start, length);
        let path = self.path(start);
        std::fs::write(&path, &bytes).expect("room for it");
        let attributes = [("record-count", "5"), ("content-blake3", "ab"), ("writer", "kafka-store/test")];
        SegmentFile {
            name: name(start),
            path,
            bytes: length as u64,
            crc32c: crc32c::crc32c(&bytes),
            attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        }
    }

    fn path(&self, start: i64) -> PathBuf {
        self.files.path().join(start.to_string())
    }

    /// What must be true at the end of every test that stores a segment: its bytes, once, and nothing done on the way
    /// that a client must not do.
    #[track_caller]
    fn check_stored(&self, file: &SegmentFile, stat: &ObjectStat) {
        let generations = self.fake.generations(BUCKET, &object(file));
        assert_eq!(generations.len(), 1, "one generation, for ever");
        let stored = &generations[0];
        let expected = std::fs::read(&file.path).expect("the file is untouched");
        assert!(stored.content.to_vec() == expected, "other bytes");
        assert_eq!(stat.generation, Some(stored.generation));
        assert_eq!((stat.bytes, stat.crc32c), (file.bytes, Some(file.crc32c)));
        assert_eq!(self.fake.violations(), Vec::<String>::new());
    }

    /// Stores a segment, as a writer does: what may pass is tried again.
    #[track_caller]
    fn store_patiently(&self, store: &GcsStore, file: &SegmentFile) -> ObjectStat {
        for _ in 0..100 {
            match store.create_segment(file) {
                Ok(CreateOutcome::Created(stat)) => return stat,
                Ok(CreateOutcome::AlreadyExists) => panic!("the name was taken by other bytes"),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
        panic!("never stored");
    }
}

fn no_log() -> Logger {
    Logger::root(slog::Discard, slog::o!())
}

fn chain() -> ChainName {
    ChainName::parse("orders", "000003").expect("legal")
}

fn name(start: i64) -> SegmentName {
    chain().segment(Offset::new(start).expect("legal"))
}

/// An object's whole name.
fn object(file: &SegmentFile) -> String {
    format!("prefix/{}", file.name)
}

/// Bytes that differ from place to place and from start to start.
fn bytes_of(start: i64, length: usize) -> Vec<u8> {
    let mut state = start.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Fails if an object has other metadata, name or type than the format's document says.
#[test]
fn a_segment_becomes_an_object_with_all_that_is_known_of_it() {
    let gcs = Gcs::start();
    let store = gcs.store_with(|settings| {
        settings.metadata = BTreeMap::from([("team".to_owned(), "data".to_owned())]);
        settings.storage_class = Some("NEARLINE".to_owned());
    });
    let file = gcs.segment(7, MIB);
    let CreateOutcome::Created(stat) = store.create_segment(&file).expect("stored") else { panic!("the name is free") };
    gcs.check_stored(&file, &stat);
    let stored = gcs.fake.object(BUCKET, "prefix/orders/000003/00000000000000000007").expect("it is there");
    assert_eq!(stored.content_type, "avro/binary");
    assert_eq!(stored.storage_class, "NEARLINE");
    let metadata = |key: &str| stored.metadata.get(key).map(String::as_str);
    assert_eq!((metadata("team"), metadata("record-count"), metadata("count")), (Some("data"), Some("5"), Some("5")));
    assert_eq!(stat.attributes.get("writer").map(String::as_str), Some("kafka-store/test"));
    assert_eq!(stat.md5.map(|md5| md5.to_vec()), Some(stored.checksums.md5.to_vec()));
    assert_eq!(gcs.fake.counts().of(Kind::DataPut), 1, "one request for all of it");
    assert!(store.location(&file.name).starts_with("gs://archive/prefix/orders/"));
}

#[test]
fn chunks_are_sent_one_after_the_other() {
    let gcs = Gcs::start();
    let store = gcs.store_with(|settings| settings.chunk_bytes = Some(256 * 1024));
    let file = gcs.segment(0, 3 * MIB + 17);
    let CreateOutcome::Created(stat) = store.create_segment(&file).expect("stored") else { panic!("the name is free") };
    gcs.check_stored(&file, &stat);
    assert_eq!(gcs.fake.counts().of(Kind::DataPut), 13);
}
