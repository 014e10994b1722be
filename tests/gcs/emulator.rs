//! The program's own client of Google Cloud Storage, against a server by others: uploads, resuming, checksums, reading.
//!
//! The emulator ignores `ifGenerationMatch`, so what a create-only write is rests on the strict fake alone.

use crate::support::gcs_emulator::GcsEmulator;
use crate::support::seed;
use kafka_store::store::{
    ArchiveStore, CreateOutcome, GcsCredentials, GcsSettings, GcsStore, SegmentFile, SmallOutcome,
};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use slog::Logger;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const BUCKET: &str = "archive";
const CHUNK: usize = 256 << 10;

fn chain() -> ChainName {
    ChainName::parse("orders", "000003").expect("legal")
}

fn offset(start: i64) -> Offset {
    Offset::new(start).expect("legal")
}

fn store_at(address: &str) -> GcsStore {
    let log = Logger::root(slog::Discard, slog::o!());
    let settings = GcsSettings {
        endpoint: Some(format!("http://{address}")),
        credentials: GcsCredentials::Anonymous,
        chunk_bytes: Some(CHUNK as u64),
        ..GcsSettings::new(format!("gs://{BUCKET}/prefix").parse().expect("legal"), &log)
    };
    GcsStore::open(&settings).expect("it answers")
}

/// A sealed segment of five chunks and a rest, and its bytes.
fn segment(directory: &tempfile::TempDir, start: i64) -> (SegmentFile, Vec<u8>) {
    let bytes = seed::Chance::fixed(start.unsigned_abs()).bytes(5 * CHUNK + 77);
    let path = directory.path().join(start.to_string());
    std::fs::write(&path, &bytes).expect("room for it");
    let file = SegmentFile {
        name: chain().segment(offset(start)),
        path,
        bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(&bytes),
        attributes: [("record-count".to_owned(), "5".to_owned())].into(),
    };
    (file, bytes)
}

#[track_caller]
fn check_stored(store: &GcsStore, file: &SegmentFile, bytes: &[u8]) {
    let stat = store.head(&file.name).expect("answers").expect("it is there");
    assert_eq!((stat.bytes, stat.crc32c), (file.bytes, Some(file.crc32c)));
    assert_eq!(stat.attributes.get("record-count").map(String::as_str), Some("5"));
    let mut read = Vec::new();
    store.open(&file.name).expect("answers").expect("it is there").read_to_end(&mut read).expect("read");
    assert!(read == bytes, "other bytes");
}

#[test]
fn what_is_stored_is_there_and_is_listed() {
    let emulator = GcsEmulator::start(BUCKET);
    let store = store_at(emulator.address());
    let directory = tempfile::tempdir().expect("a directory");
    assert_eq!(store.head(&chain().segment(offset(7))).expect("answers"), None);
    for start in [300, 7, 45] {
        let (file, bytes) = segment(&directory, start);
        let outcome = store.create_segment(&file).expect("stored");
        assert!(matches!(outcome, CreateOutcome::Created(_)), "{outcome:?}");
        check_stored(&store, &file, &bytes);
    }
    // The emulator ignores `startOffset`.
    let starts = store.segments_from(&chain(), None).expect("answers");
    assert_eq!(starts.into_iter().map(Offset::get).collect::<Vec<_>>(), [7, 45, 300]);
    assert_eq!(store.chains().expect("answers"), [chain()]);
    let origin = chain().origin_object();
    assert_eq!(store.create_small(&origin, b"{\"offset\": 5}").expect("stored"), SmallOutcome::Created);
    assert_eq!(store.read_small(&origin).expect("answers").as_deref(), Some(&b"{\"offset\": 5}"[..]));
}

/// Fails if a client sends anew what the server has, sends from where it believes to be, or takes a session that the
/// server has forgotten for a lost upload.
#[test]
fn an_upload_goes_on_after_each_answer_that_is_lost() {
    let emulator = GcsEmulator::start(BUCKET);
    let directory = tempfile::tempdir().expect("a directory");
    let (middle, query) = ("bytes 524288-", "bytes */");
    // The first chunk, one in the middle, a status query as well, and the last: after it the emulator knows no session.
    let lists: [&[&str]; 4] = [&["bytes 0-262143/"], &[middle], &[middle, query], &["bytes 1310720-"]];
    for (start, lost) in (0..).zip(lists) {
        let line = Line::to(emulator.address(), lost);
        let store = store_at(&line.address);
        let (file, bytes) = segment(&directory, start);
        let outcome = store.create_segment(&file).expect("stored");
        assert!(matches!(outcome, CreateOutcome::Created(_)), "{lost:?}: {outcome:?}");
        check_stored(&store, &file, &bytes);
        assert_eq!(line.lost.load(Ordering::SeqCst), lost.len(), "{lost:?}");
    }
}

#[test]
fn a_wrong_checksum_is_no_object() {
    let emulator = GcsEmulator::start(BUCKET);
    let store = store_at(emulator.address());
    let directory = tempfile::tempdir().expect("a directory");
    let (mut file, _) = segment(&directory, 7);
    file.crc32c ^= 1;
    let error = store.create_segment(&file).expect_err("the bytes are not those that were sealed");
    assert_eq!(error.class(), kafka_store_statecharts::failure::Class::Lost, "{error}");
    assert_eq!(store.head(&file.name).expect("answers"), None);
}

/// Between client and server: the answer of the first request with each of these `Content-Range`s is lost, after the
/// work is done.
struct Line {
    address: String,
    lost: Arc<AtomicUsize>,
}

impl Line {
    fn to(server: &str, content_ranges: &[&str]) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on the loopback");
        let address = listener.local_addr().expect("it is bound").to_string();
        let lost = Arc::new(AtomicUsize::new(0));
        let (server, counter) = (server.to_owned(), Arc::clone(&lost));
        let header = |range: &&str| format!("content-range: {range}");
        let wanted = Arc::new(Mutex::new(content_ranges.iter().map(header).collect::<Vec<_>>()));
        std::thread::spawn(move || {
            // The emulator closes each connection after its answer, so each is one request.
            for client in listener.incoming().flatten() {
                let (server, counter, wanted) = (server.clone(), Arc::clone(&counter), Arc::clone(&wanted));
                std::thread::spawn(move || carry(client, &server, &wanted, &counter));
            }
        });
        Line { address, lost }
    }
}

/// Errors are those of a connection that ends: the other side sees them as well.
fn carry(mut client: TcpStream, server: &str, wanted: &Mutex<Vec<String>>, lost: &AtomicUsize) -> Option<()> {
    let mut server = TcpStream::connect(server).ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.extend_from_slice(&byte);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let is_lost = {
        let mut wanted = wanted.lock().expect("no panic");
        let found = wanted.iter().position(|header| text.contains(header.as_str()));
        found.map(|index| wanted.remove(index)).is_some()
    };
    server.write_all(&head).ok()?;
    let (mut from, mut to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    if is_lost {
        server.read_to_end(&mut Vec::new()).ok()?;
        lost.fetch_add(1, Ordering::SeqCst);
    } else {
        std::io::copy(&mut server, &mut client).ok()?;
    }
    client.shutdown(Shutdown::Both).ok()
}
