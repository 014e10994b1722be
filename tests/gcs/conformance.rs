//! What every store must do, whatever it is made of: a directory, a bucket, or the memory of this test.
//!
//! One suite, three stores. A store that passes here may hold an archive.

#[allow(clippy::duplicate_mod, reason = "the fake has its own chance")]
mod memory;

use crate::support::fake_gcs::FakeGcs;
use kafka_store::archive::FirstStart;
use kafka_store::store::{
    ArchiveStore, CreateOutcome, GcsCredentials, GcsSettings, GcsStore, LocalStore, SMALL_OBJECT_BYTES_MAX, Scope,
    SegmentFile, SmallOutcome,
};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicName;
use memory::MemoryStore;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

/// Runs a test with each store, fresh.
fn with_each_store(test: impl Fn(&str, Arc<dyn ArchiveStore>, &Files)) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    test("directory", Arc::new(LocalStore::open(directory.path()).expect("it is there")), &Files::new());
    test("memory", Arc::new(MemoryStore::default()), &Files::new());
    for prefix in ["", "/some/prefix"] {
        let fake = FakeGcs::start(&["archive"]);
        // Pages of two, every second of them empty: nothing may depend on how a listing is cut.
        fake.set(|settings| (settings.page_limit, settings.empty_pages) = (2, true));
        let log = slog::Logger::root(slog::Discard, slog::o!());
        let settings = GcsSettings {
            endpoint: Some(fake.base_url().to_owned()),
            credentials: GcsCredentials::Anonymous,
            ..GcsSettings::new(format!("gs://archive{prefix}").parse().expect("legal"), &log)
        };
        test("bucket", Arc::new(GcsStore::open(&settings).expect("it answers")), &Files::new());
        assert_eq!(fake.violations(), Vec::<String>::new(), "{prefix}");
    }
}

/// Spool files.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().expect("a temporary directory"))
    }

    fn segment(&self, chain: &ChainName, start: i64, bytes: &[u8]) -> SegmentFile {
        let name = chain.segment(offset(start));
        let path = self.0.path().join(name.to_string().replace('/', ","));
        std::fs::write(&path, bytes).expect("room for it");
        let (length, crc32c) = (bytes.len() as u64, crc32c::crc32c(bytes));
        SegmentFile { name, path, bytes: length, crc32c, attributes: BTreeMap::new() }
    }
}

fn offset(number: i64) -> Offset {
    Offset::new(number).expect("legal")
}

fn chain(topic: &str, folder: &str) -> ChainName {
    ChainName::parse(topic, folder).expect("legal")
}

fn read(store: &dyn ArchiveStore, chain: &ChainName, start: i64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    store.open(&chain.segment(offset(start))).expect("it answers")?.read_to_end(&mut bytes).expect("it can be read");
    Some(bytes)
}

fn created(outcome: CreateOutcome) -> bool {
    matches!(outcome, CreateOutcome::Created(_))
}

#[test]
fn a_segment_is_stored_once_and_read_back() {
    with_each_store(|what, store, files| {
        let chain = chain("orders", "000000");
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(read(store.as_ref(), &chain, 7), None, "{what}");
        assert_eq!(store.head(&chain.segment(offset(7))).expect(what), None);
        assert_eq!(store.read_front(&chain.segment(offset(7)), 4).expect(what), None);
        assert!(created(store.create_segment(&files.segment(&chain, 7, &bytes)).expect(what)), "{what}");
        assert!(read(store.as_ref(), &chain, 7).as_ref() == Some(&bytes), "{what}");
        let stat = store.head(&chain.segment(offset(7))).expect(what).expect(what);
        assert_eq!(stat.bytes, bytes.len() as u64, "{what}");
        assert!(stat.crc32c.is_none_or(|sum| sum == crc32c::crc32c(&bytes)), "{what}");
        assert_eq!(store.read_front(&chain.segment(offset(7)), 4).expect(what).as_deref(), Some(&bytes[..4]), "{what}");
        let all = store.read_front(&chain.segment(offset(7)), 10_000_000).expect(what);
        assert!(all.as_ref() == Some(&bytes), "{what}: more than there is");
        if let Some(end) = store.read_end(&chain.segment(offset(7)), 4).expect(what) {
            assert_eq!(end, bytes[bytes.len() - 4..], "{what}");
        }
    });
}

/// The one decisive property.
#[test]
fn of_two_writers_of_one_name_one_wins_and_nothing_changes() {
    with_each_store(|what, store, files| {
        let chain = chain("orders", "000000");
        for start in 0..8 {
            let contenders: Vec<Vec<u8>> = (0..4).map(|writer| vec![writer as u8; 50_000 + writer]).collect();
            let winners: Vec<usize> = std::thread::scope(|scope| {
                let threads: Vec<_> = contenders
                    .iter()
                    .enumerate()
                    .map(|(writer, bytes)| {
                        let (store, folder) = (Arc::clone(&store), files.0.path().join(writer.to_string()));
                        let name = chain.segment(offset(start));
                        scope.spawn(move || {
                            std::fs::create_dir_all(&folder).expect("a directory");
                            let path = folder.join(name.start.to_string());
                            std::fs::write(&path, bytes).expect("room for it");
                            let (length, crc32c) = (bytes.len() as u64, crc32c::crc32c(bytes));
                            let attributes = BTreeMap::new();
                            let file = SegmentFile { name, path, bytes: length, crc32c, attributes };
                            created(store.create_segment(&file).expect("it answers")).then_some(writer)
                        })
                    })
                    .collect();
                threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect()
            });
            assert_eq!(winners.len(), 1, "{what}: {winners:?}");
            let stored = read(store.as_ref(), &chain, start).expect(what);
            assert!(stored == contenders[winners[0]], "{what}: the winner's bytes");
        }
    });
}

#[test]
fn listings_are_in_order_and_of_one_chain() {
    with_each_store(|what, store, files| {
        let chains = [
            chain("a", "000000"),
            chain("a", "000001"),
            chain("a", "000001~2"),
            chain("a.b", "000000"),
            chain("b", "000010"),
        ];
        for chain in &chains {
            for start in [0, 5, 17, 1_000_000_000_000] {
                store.create_segment(&files.segment(chain, start, b"bytes")).expect(what);
            }
        }
        store.create_small("~kafka-store/origins/a/000000", b"{}").expect(what);
        assert_eq!(store.chains().expect(what), chains, "{what}");
        let topic = TopicName::new("a").expect("legal");
        assert_eq!(store.chains_of(&topic).expect(what), chains[..3], "{what}: not those of a.b");
        assert_eq!(store.chains_of(&TopicName::new("none").expect("legal")).expect(what), [], "{what}");
        let starts = |from: Option<i64>| -> Vec<i64> {
            let starts = store.segments_from(&chains[1], from.map(offset)).expect(what);
            let objects = store.objects_from(&chains[1], from.map(offset)).expect(what);
            assert!(objects.iter().all(|(_, stat)| stat.bytes == 5), "{what}");
            assert_eq!(objects.iter().map(|(start, _)| *start).collect::<Vec<_>>(), starts, "{what}");
            starts.into_iter().map(Offset::get).collect()
        };
        assert_eq!(starts(None), [0, 5, 17, 1_000_000_000_000], "{what}");
        assert_eq!(starts(Some(5)), [5, 17, 1_000_000_000_000], "{what}");
        assert_eq!(starts(Some(6)), [17, 1_000_000_000_000], "{what}");
        assert_eq!(starts(Some(2_000_000_000_000)), [0; 0], "{what}");
        assert_eq!(store.strangers(&Scope::Archive).expect(what), [""; 0], "{what}");
    });
}

#[test]
fn small_objects_are_created_once() {
    with_each_store(|what, store, _| {
        let name = "~kafka-store/groups/g";
        assert_eq!(store.read_small(name).expect(what), None, "{what}");
        assert_eq!(store.create_small(name, b"first").expect(what), SmallOutcome::Created, "{what}");
        let taken = SmallOutcome::AlreadyExists(b"first".to_vec());
        assert_eq!(store.create_small(name, b"second").expect(what), taken, "{what}");
        assert_eq!(store.read_small(name).expect(what).as_deref(), Some(&b"first"[..]), "{what}");
        for wrong in ["groups/g", "~kafka-store/../x", "~kafka-store//x", "~kafka-store"] {
            assert!(store.create_small(wrong, b"x").is_err(), "{what}: {wrong}");
        }
    });
}

#[test]
fn a_spool_file_that_is_missing_is_no_object() {
    with_each_store(|what, store, files| {
        let chain = chain("orders", "000000");
        let file = files.segment(&chain, 7, b"bytes");
        std::fs::remove_file(&file.path).expect("it was there");
        assert!(store.create_segment(&file).is_err(), "{what}");
        assert_eq!(store.segments_from(&chain, None).expect(what), [], "{what}");
    });
}

#[test]
fn small_objects_are_listed_by_folder() {
    with_each_store(|what, store, _| {
        let list = |folder: &str| store.list_small(folder).expect(what);
        assert_eq!(list("~kafka-store/histories"), Vec::<String>::new(), "{what}: there is no such folder");
        let names = ["a/000000/00000000000000000005/1", "a/000000/00000000000000000005/1.choice", "b/000010/7", "c"]
            .map(|name| format!("~kafka-store/histories/{name}"));
        for name in names.iter().rev() {
            assert_eq!(store.create_small(name, b"{}").expect(what), SmallOutcome::Created, "{what}");
        }
        store.create_small("~kafka-store/histories-of-others/x", b"{}").expect(what);
        assert_eq!(list("~kafka-store/histories"), names, "{what}");
        assert_eq!(list("~kafka-store/histories/a"), names[..2], "{what}");
        assert!(store.list_small("orders").is_err(), "{what}: no folder of small objects");
    });
}

/// Fails if a store can be given a group's first start that it cannot give back: that group could never start again.
#[test]
fn a_first_start_of_any_size_is_read_back() {
    let topics = (0..50_000).map(|number| TopicName::new(&format!("{number:0>249}")).expect("the longest name"));
    let first = FirstStart::now(topics.map(|topic| (topic, 1)).collect());
    with_each_store(|what, store, _| {
        assert_eq!(first.clone().settle(store.as_ref(), "large").expect(what), first, "{what}");
        assert!(FirstStart::read(store.as_ref(), "large").expect(what).as_ref() == Some(&first), "{what}");
        let again = FirstStart::now(BTreeMap::new()).settle(store.as_ref(), "large").expect(what);
        assert!(again == first, "{what}: the first one counts");
        if what != "memory" {
            let error = store.create_small("~kafka-store/x", &vec![b' '; SMALL_OBJECT_BYTES_MAX + 1]).expect_err(what);
            assert!(error.to_string().contains("it has 67108865 bytes, and at most 67108864 are allowed"), "{error}");
            assert_eq!(store.read_small("~kafka-store/x").expect(what), None, "{what}");
        }
    });
}
