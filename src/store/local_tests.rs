//! What only the inside of the local store can be made to do: the way without hard links.

use super::*;

fn name(start: i64) -> SegmentName {
    let chain = ChainName::parse("orders", "000007").expect("legal");
    chain.segment(Offset::new(start).expect("legal"))
}

fn segment_file(name: &SegmentName, path: &Path) -> SegmentFile {
    let bytes = fs::read(path).expect("a spool file");
    SegmentFile {
        name: name.clone(),
        path: path.to_owned(),
        bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(&bytes),
        attributes: Default::default(),
    }
}

#[test]
fn without_hard_links_a_rename_replaces_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = LocalStore::open(directory.path()).expect("opens");
    store.method = Method::Rename;
    let instance = Arc::clone(store.instance_dir().expect("writing"));
    let spool = |text: &str| {
        let (path, mut file) = instance.create_file("spool").expect("created");
        file.write_all(text.as_bytes()).expect("written");
        path
    };
    let first = spool("first");
    let outcome = store.create_segment(&segment_file(&name(1), &first)).expect("created");
    assert_eq!(outcome, CreateOutcome::Created(ObjectStat { bytes: 5, ..ObjectStat::default() }));
    assert!(!first.exists());
    let second = spool("second");
    assert_eq!(store.create_segment(&segment_file(&name(1), &second)).expect("answered"), CreateOutcome::AlreadyExists);
    assert_eq!(fs::read(second).expect("untouched"), b"second");
    assert_eq!(fs::read(store.location(&name(1))).expect("there"), b"first");
    assert_eq!(store.create_small("~kafka-store/x", b"1").expect("created"), SmallOutcome::Created);
    let loser = store.create_small("~kafka-store/x", b"2").expect("answered");
    assert_eq!(loser, SmallOutcome::AlreadyExists(b"1".to_vec()));
}

#[test]
fn an_interrupted_creation_is_finished_by_repeating_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::open(directory.path()).expect("opens");
    let (path, mut file) = store.instance_dir().expect("writing").create_file("spool").expect("created");
    file.write_all(b"whole").expect("written");
    // The link was made, the answer was lost.
    fs::create_dir_all(directory.path().join("orders/000007")).expect("created");
    fs::hard_link(&path, store.location(&name(1))).expect("linked");
    let outcome = store.create_segment(&segment_file(&name(1), &path)).expect("created");
    assert_eq!(outcome, CreateOutcome::Created(ObjectStat { bytes: 5, ..ObjectStat::default() }));
}

#[test]
fn small_objects_stay_in_their_folder() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::open(directory.path()).expect("opens");
    for name in
        ["x", "/x", "~kafka-store", "~kafka-store/", "~kafka-store/tmp/x", "~kafka-store/../x", "~kafka-store//x"]
    {
        let error = store.create_small(name, b"").expect_err(name);
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{name}");
    }
}
