//! A second opinion: gcp-storage-emulator, a server by others, takes our uploads, also those that break off, and checks
//! their checksums. (It knows no preconditions, so it can tell nothing of two writers.)

use super::gcs_emulator::GcsEmulator;
use super::{Gcs, MIB, no_log};
use kafka_store::store::{ArchiveStore, CreateOutcome, GcsCredentials, GcsSettings, GcsStore};
use std::io::Read;

#[test]
fn a_server_by_others_agrees() {
    let files = Gcs::start();
    let emulator = GcsEmulator::start(super::BUCKET);
    let settings = |chunk_bytes| GcsSettings {
        endpoint: Some(format!("http://{}", emulator.address())),
        credentials: GcsCredentials::Anonymous,
        chunk_bytes,
        ..GcsSettings::new("gs://archive/prefix".parse().expect("legal"), &no_log())
    };
    for (start, chunk) in [(0, None), (1, Some(1 << 20))] {
        let store = GcsStore::open(&settings(chunk)).expect("it answers");
        let file = files.segment(start, 5 * MIB + 1);
        let CreateOutcome::Created(stat) = store.create_segment(&file).expect("stored") else {
            panic!("the name is free")
        };
        assert_eq!((stat.bytes, stat.crc32c), (file.bytes, Some(file.crc32c)));
        let mut bytes = Vec::new();
        store.open(&file.name).expect("it answers").expect("it is there").read_to_end(&mut bytes).expect("read");
        assert!(bytes == super::bytes_of(start, 5 * MIB + 1));
        assert!(store.create_small(&format!("~kafka-store/x/{start}"), b"small").is_ok());
        assert_eq!(store.read_small(&format!("~kafka-store/x/{start}")).expect("read").as_deref(), Some(&b"small"[..]));
    }
    // Bytes that are not those that were declared make no object.
    let store = GcsStore::open(&settings(None)).expect("it answers");
    let mut wrong = files.segment(9, MIB);
    wrong.crc32c ^= 1;
    let error = store.create_segment(&wrong).expect_err("the checksum is another");
    assert!(!error.is_transient(), "{error}");
    assert_eq!(store.head(&wrong.name).expect("it answers"), None);
}
