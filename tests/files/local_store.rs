//! What a store promises, on the local one: create-only, atomic, durable; and whose temporary files are whose.

use crate::support::segments::{chain, offset};
use kafka_store::store::{
    ArchiveStore, CreateOutcome, InstanceDir, KeepUnclean, LocalStore, ObjectStat, SegmentFile, SmallOutcome,
    StoreErrorKind, TemporaryPath,
};
use kafka_store_statecharts::name::SegmentName;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;

fn archive() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn open(directory: &tempfile::TempDir) -> LocalStore {
    LocalStore::open(directory.path()).expect("opens")
}

fn name(start: i64) -> SegmentName {
    chain("orders", "000007").segment(offset(start))
}

fn spool(store: &LocalStore, bytes: &[u8]) -> TemporaryPath {
    let (path, mut file) = store.instance_dir().expect("writing").create_file("spool").expect("created");
    file.write_all(bytes).expect("written");
    path
}

fn segment_file(name: &SegmentName, path: &Path) -> SegmentFile {
    let bytes = fs::read(path).unwrap_or_default();
    SegmentFile {
        name: name.clone(),
        path: path.to_owned(),
        bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(&bytes),
        attributes: BTreeMap::new(),
    }
}

fn created(bytes: u64) -> CreateOutcome {
    CreateOutcome::Created(ObjectStat { bytes, ..ObjectStat::default() })
}

fn contents(store: &dyn ArchiveStore, name: &SegmentName) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    store.open(name).expect("answers")?.read_to_end(&mut bytes).expect("read");
    Some(bytes)
}

#[test]
fn an_object_is_created_once_and_never_changes() {
    let directory = archive();
    let store = open(&directory);
    assert_eq!(store.head(&name(5)).expect("answers"), None);
    assert!(contents(&store, &name(5)).is_none());
    let first = spool(&store, b"first");
    let outcome = store.create_segment(&segment_file(&name(5), &first)).expect("created");
    assert_eq!(outcome, created(5));
    assert!(!first.exists(), "the store has taken the spool file");
    let second = spool(&store, b"another");
    assert_eq!(store.create_segment(&segment_file(&name(5), &second)).expect("answers"), CreateOutcome::AlreadyExists);
    assert!(second.exists(), "a loser's file is its own");
    assert_eq!(contents(&store, &name(5)).as_deref(), Some(&b"first"[..]));
    assert_eq!(store.head(&name(5)).expect("answers").expect("there").bytes, 5);
    let path = directory.path().join("orders/000007/00000000000000000005");
    assert_eq!(store.location(&name(5)), path.display().to_string());
    let metadata = fs::metadata(path).expect("there");
    assert_eq!(metadata.nlink(), 1, "no second name through which it could be changed");
    assert_eq!(metadata.permissions().mode() & 0o133, 0, "neither executable nor writable by others");
}

#[test]
fn of_many_writers_one_wins_whole() {
    const WRITERS: usize = 8;
    const ROUNDS: i64 = 30;
    let directory = archive();
    let barrier = Barrier::new(WRITERS);
    let won: Vec<Vec<bool>> = std::thread::scope(|scope| {
        let writer = |number: usize| {
            let (directory, barrier) = (&directory, &barrier);
            move || {
                // As separate processes: nothing is shared but the directory.
                let store = open(directory);
                let write = |round: i64| {
                    let path = spool(&store, &vec![number as u8; 10_000 + number]);
                    barrier.wait();
                    // Another chain each round: the directories are made by all at once as well.
                    let name = chain("race", &format!("{round:06}")).segment(offset(0));
                    matches!(
                        store.create_segment(&segment_file(&name, &path)).expect("answers"),
                        CreateOutcome::Created(_)
                    )
                };
                (0..ROUNDS).map(write).collect()
            }
        };
        let threads: Vec<_> = (0..WRITERS).map(|number| scope.spawn(writer(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let store = LocalStore::open_read_only(directory.path()).expect("opens");
    for round in 0..ROUNDS {
        let winners: Vec<usize> = (0..WRITERS).filter(|number| won[*number][round as usize]).collect();
        let &[winner] = &winners[..] else { panic!("round {round}: {winners:?} won") };
        let name = chain("race", &format!("{round:06}")).segment(offset(0));
        assert_eq!(contents(&store, &name), Some(vec![winner as u8; 10_000 + winner]), "round {round}");
    }
}

#[test]
fn a_spool_file_on_another_file_system_is_copied() {
    let directory = archive();
    let store = open(&directory);
    let elsewhere = tempfile::tempdir_in("/dev/shm").expect("/dev/shm, another file system on every Linux");
    let device = |path: &Path| fs::metadata(path).expect("there").dev();
    assert_ne!(device(elsewhere.path()), device(directory.path()), "the test needs two file systems");
    let path = elsewhere.path().join("spool");
    fs::write(&path, b"from afar").expect("written");
    let outcome = store.create_segment(&segment_file(&name(1), &path)).expect("created");
    assert_eq!(outcome, created(9));
    assert_eq!(contents(&store, &name(1)).as_deref(), Some(&b"from afar"[..]));
    assert!(!path.exists());
    fs::write(&path, b"too late").expect("written");
    assert_eq!(store.create_segment(&segment_file(&name(1), &path)).expect("answers"), CreateOutcome::AlreadyExists);
    assert!(path.exists());
    let sealed = segment_file(&name(2), &path);
    fs::write(&path, b"to0 late").expect("changed since");
    let error = store.create_segment(&sealed).expect_err("these bytes were never sealed");
    assert!(error.to_string().contains("check its disk; its records are fetched again"), "{error}");
    assert_eq!(store.head(&name(2)).expect("answers"), None);
    let instance = store.instance_dir().expect("writing").path();
    let left: Vec<_> = fs::read_dir(instance).expect("there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["lock"], "no copy stays behind");
}

#[test]
fn listings_are_in_order_and_know_only_segments() {
    let directory = archive();
    let store = open(&directory);
    let chain = chain("orders", "000007");
    assert_eq!(store.segments_from(&chain, None).expect("answers"), []);
    assert_eq!(store.chains().expect("answers"), []);
    for start in [300, 7, 45] {
        store.create_segment(&segment_file(&name(start), &spool(&store, b"x"))).expect("created");
    }
    let partition = directory.path().join("orders/000007");
    for stray in ["readme", "7", ".00000000000000000008.tmp", "0000000000000000000x", "99999999999999999999"] {
        fs::write(partition.join(stray), b"").expect("written");
    }
    fs::create_dir(partition.join("00000000000000000009")).expect("created");
    let starts = |from: Option<i64>| {
        let starts = store.segments_from(&chain, from.map(offset)).expect("answers");
        starts.into_iter().map(|start| start.get()).collect::<Vec<_>>()
    };
    assert_eq!(starts(None), [7, 45, 300]);
    assert_eq!(starts(Some(45)), [45, 300]);
    assert!(starts(Some(301)).is_empty());
    for folder in ["orders/000007~2", "orders/000000", "orders/7", "a.topic/000001", "ünfug/000001", "empty"] {
        fs::create_dir_all(directory.path().join(folder)).expect("created");
    }
    let chains: Vec<String> = store.chains().expect("answers").iter().map(ToString::to_string).collect();
    assert_eq!(chains, ["a.topic/000001", "orders/000000", "orders/000007", "orders/000007~2"]);
    let chains = store.chains_of(&chain.topic_partition.topic).expect("answers");
    assert_eq!(chains.len(), 3);
}

#[test]
fn of_two_small_objects_the_first_stays() {
    let directory = archive();
    let store = open(&directory);
    let name = chain("orders", "000007").origin_object();
    assert_eq!(store.read_small(&name).expect("answers"), None);
    assert_eq!(store.create_small(&name, b"{\"offset\": 5}").expect("created"), SmallOutcome::Created);
    let other = open(&directory);
    let outcome = other.create_small(&name, b"{\"offset\": 9}").expect("answers");
    assert_eq!(outcome, SmallOutcome::AlreadyExists(b"{\"offset\": 5}".to_vec()));
    assert_eq!(store.read_small(&name).expect("answers").as_deref(), Some(&b"{\"offset\": 5}"[..]));
}

#[test]
fn what_is_wrong_says_where_and_what_to_do() {
    let directory = archive();
    let missing = directory.path().join("missing");
    let error = LocalStore::open(&missing).expect_err("missing");
    assert_eq!(error.kind(), StoreErrorKind::StoreNotFound);
    assert!(error.to_string().contains(&missing.display().to_string()) && error.to_string().contains("create"));
    let file = directory.path().join("file");
    fs::write(&file, b"").expect("written");
    assert_eq!(LocalStore::open(&file).expect_err("a file").kind(), StoreErrorKind::Invalid);

    let store = open(&directory);
    let no_spool = directory.path().join("no spool file");
    let error = store.create_segment(&segment_file(&name(0), &no_spool)).expect_err("no spool file");
    assert_eq!(error.kind(), StoreErrorKind::SpoolFileMissing);
    fs::create_dir_all(directory.path().join("orders/000007/00000000000000000001")).expect("created");
    for error in [
        store.create_segment(&segment_file(&name(1), &spool(&store, b"x"))).expect_err("a directory is in the way"),
        store.head(&name(1)).expect_err("a directory"),
        store.open(&name(1)).map(|_| ()).expect_err("a directory"),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{error}");
        assert!(!error.is_transient());
    }
    let read_only = LocalStore::open_read_only(directory.path()).expect("opens");
    assert!(read_only.create_segment(&segment_file(&name(2), &spool(&store, b"x"))).is_err());
    assert!(read_only.create_small("~kafka-store/x", b"x").is_err());
}

#[test]
fn a_directory_that_was_removed_is_made_again() {
    let directory = archive();
    let store = open(&directory);
    store.create_segment(&segment_file(&name(1), &spool(&store, b"x"))).expect("created");
    fs::remove_dir_all(directory.path().join("orders")).expect("removed");
    let outcome = store.create_segment(&segment_file(&name(2), &spool(&store, b"x"))).expect("created");
    assert!(matches!(outcome, CreateOutcome::Created(_)));
}

#[test]
fn opening_for_reading_leaves_no_trace() {
    let directory = archive();
    let store = LocalStore::open_read_only(directory.path()).expect("opens");
    assert_eq!(store.chains().expect("answers"), []);
    assert!(store.instance_dir().is_none());
    assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 0);
}

#[test]
fn clean_up_takes_only_what_nobody_holds() {
    let directory = archive();
    let ours = InstanceDir::create(directory.path()).expect("created");
    let other = InstanceDir::create(directory.path()).expect("created");
    assert_ne!(ours.path(), other.path());
    let _spool = other.create_file("spool").expect("created");
    let folder = directory.path().join("~kafka-store/tmp");
    // A process that was killed: its directory is there, its lock is not held.
    let dead = folder.join("4711-1");
    fs::create_dir(&dead).expect("created");
    fs::copy(ours.path().join("lock"), dead.join("lock")).expect("of this boot");
    fs::write(dead.join("000000-spool"), b"half a segment").expect("written");
    // One that was killed before it had made its lock.
    fs::create_dir(folder.join("4711-2")).expect("created");
    // Something of somebody else's.
    fs::create_dir(folder.join("notes")).expect("created");
    assert_eq!(ours.clean_up_others(KeepUnclean::Yes).expect("cleaned"), 2);
    assert!(!dead.exists() && other.path().exists() && folder.join("notes").exists());
    let path = other.path().to_path_buf();
    drop(other);
    assert!(!path.exists());
    assert_eq!(ours.clean_up_others(KeepUnclean::Yes).expect("cleaned"), 0);
    assert!(ours.path().exists());
}

/// A machine that ended with a process leaves what the process published last in doubt, until it was read.
#[test]
fn the_directory_of_a_process_of_another_boot_stays_until_its_segments_were_read() {
    let directory = archive();
    let store = open(&directory);
    for start in [5, 9] {
        store.create_segment(&segment_file(&name(start), &spool(&store, b"segment"))).expect("stored");
    }
    let chain = name(5).chain;
    assert_eq!(store.in_doubt(&chain).expect("answers"), []);
    let dead = directory.path().join("~kafka-store/tmp/4711-1");
    fs::create_dir(&dead).expect("created");
    fs::write(dead.join("lock"), b"another boot\n").expect("written");
    fs::File::options()
        .write(true)
        .open(dead.join("lock"))
        .and_then(|lock| lock.set_modified(std::time::UNIX_EPOCH))
        .expect("it had started before");
    fs::write(dead.join("000000-spool"), b"half a segment").expect("written");

    let ours = store.instance_dir().expect("writing");
    assert_eq!(ours.clean_up_others(KeepUnclean::Yes).expect("cleaned"), 0);
    assert_eq!(fs::read_dir(&dead).expect("it stays").count(), 1, "the lock alone");
    assert_eq!(store.in_doubt(&chain).expect("answers"), [offset(9), offset(5)]);
    store.confirm(&name(9));
    assert_eq!(store.in_doubt(&chain).expect("answers"), [offset(5)]);
    assert_eq!(open(&directory).in_doubt(&chain).expect("answers").len(), 2, "another process has read nothing");
    store.settle_unclean_ends(&store.unclean_ends().expect("answers")).expect("settled");
    assert!(!dead.exists());
    assert_eq!(open(&directory).in_doubt(&chain).expect("answers"), []);
}

/// Instances are made and cleaned up by many at once; nobody may lose a directory that it holds.
#[test]
fn clean_up_never_takes_a_directory_from_under_its_owner() {
    let directory = archive();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let instance = InstanceDir::create(directory.path()).expect("created");
                    let (path, _) = instance.create_file("spool").expect("the directory is there");
                    instance.clean_up_others(KeepUnclean::Yes).expect("cleaned");
                    assert!(path.exists(), "its owner holds it");
                }
            });
        }
    });
    let left = fs::read_dir(directory.path().join("~kafka-store/tmp")).expect("there").count();
    assert_eq!(left, 1, "the lock of the folder alone");
}

/// The lock belongs to the process: it is released by a kill, and by nothing else.
#[test]
fn the_directory_of_a_killed_process_is_cleaned_up() {
    let directory = archive();
    let mut child = Command::new(std::env::current_exe().expect("this test's binary"))
        .args(["local_store::hold_an_instance", "--exact", "--nocapture"])
        .env("HOLD_AN_INSTANCE_IN", directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut said = Vec::new();
    let mut stdout = child.stdout.take().expect("piped");
    while !String::from_utf8_lossy(&said).contains("holding\n") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("it says that it holds");
        said.extend_from_slice(&byte);
    }
    let ours = InstanceDir::create(directory.path()).expect("created");
    assert_eq!(ours.clean_up_others(KeepUnclean::Yes).expect("cleaned"), 0, "a living process's");
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(ours.clean_up_others(KeepUnclean::Yes).expect("cleaned"), 1);
}

/// The other process of the test above: nothing in itself.
#[test]
fn hold_an_instance() {
    let Some(root) = std::env::var_os("HOLD_AN_INSTANCE_IN") else { return };
    let instance = InstanceDir::create(Path::new(&root)).expect("created");
    let _spool = instance.create_file("spool").expect("created");
    println!("\nholding");
    // Until it is killed, or the test that started it is gone.
    let _ = std::io::stdin().read(&mut [0]);
    drop(instance);
}
