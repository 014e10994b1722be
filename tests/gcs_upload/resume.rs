//! Another process goes on with an upload, if it has the very same segment.

use super::fake_gcs::{After, Fault, Kind};
use super::{Gcs, MIB, no_log};
use kafka_store::store::{ArchiveStore, CreateOutcome, GcsStore, InstanceDir, SegmentFile, Sessions};
use std::path::Path;
use std::sync::Arc;

/// A process as far as uploads know of one: its directory, and a store.
struct Process {
    directory: Arc<InstanceDir>,
    store: GcsStore,
}

impl Process {
    fn start(gcs: &Gcs, root: &Path) -> Process {
        let directory = Arc::new(InstanceDir::create(root).expect("it can be made"));
        directory.clean_up_others().expect("what is left is nobody's");
        let sessions = Sessions::kept_in(Arc::clone(&directory), &no_log()).expect("it can be read");
        Process { directory, store: gcs.store().with_sessions(sessions) }
    }

    /// Begins to store a file, and does not get beyond `persisted`.
    fn break_off(&self, gcs: &Gcs, file: &SegmentFile, persisted: u64) {
        gcs.fake.arm(&[Kind::DataPut], Fault::ResetAfter(After::Object(persisted)));
        gcs.fake.faults(|faults| faults.arm_times(&[Kind::Query], Fault::Answer(503), 20));
        self.store.create_segment(file).expect_err("it breaks off");
        gcs.fake.faults(|faults| faults.disarm());
        assert_eq!(gcs.fake.open_sessions(), 1);
    }

    /// The lock goes with the process; the directory stays, as it does after SIGKILL.
    fn end(self) {
        drop(self.store);
        self.directory.remove();
    }
}

#[test]
fn an_upload_goes_on_where_it_was() {
    let gcs = Gcs::start();
    let root = tempfile::tempdir().expect("a directory");
    let file = gcs.segment(3, 32 * MIB);
    let first = Process::start(&gcs, root.path());
    first.break_off(&gcs, &file, 20 * MIB as u64);
    first.end();
    let second = Process::start(&gcs, root.path());
    let CreateOutcome::Created(stat) = second.store.create_segment(&file).expect("stored") else {
        panic!("the name is free")
    };
    gcs.check_stored(&file, &stat);
    let counts = gcs.fake.counts();
    assert_eq!(counts.of(Kind::Initiate), 1, "the same session");
    assert!(counts.bytes_sent_twice < 256 * 1024, "sent twice: {}", counts.bytes_sent_twice);
    assert_eq!(second.directory.journals().expect("it can be read").len(), 0, "the journal went with the session");
}

/// Fails if bytes of one segment could end in the middle of another's.
#[test]
fn another_segment_of_the_same_name_begins_anew() {
    let gcs = Gcs::start();
    let root = tempfile::tempdir().expect("a directory");
    let file = gcs.segment(3, 4 * MIB);
    let first = Process::start(&gcs, root.path());
    first.break_off(&gcs, &file, 2 * MIB as u64);
    first.end();
    // The same name and length, other bytes.
    let mut other = gcs.segment(4, 4 * MIB);
    other.name = file.name.clone();
    let second = Process::start(&gcs, root.path());
    let CreateOutcome::Created(stat) = second.store.create_segment(&other).expect("stored") else {
        panic!("the name is free")
    };
    gcs.check_stored(&other, &stat);
    assert_eq!(gcs.fake.counts().of(Kind::Initiate), 2);
    assert_eq!(second.directory.journals().expect("it can be read").len(), 0);
}

/// The session is gone, or had made its object, before anybody came back to it.
#[test]
fn a_session_that_is_over_is_no_obstacle() {
    for made_its_object in [false, true] {
        let gcs = Gcs::start();
        let root = tempfile::tempdir().expect("a directory");
        let file = gcs.segment(3, 4 * MIB);
        let first = Process::start(&gcs, root.path());
        first.break_off(&gcs, &file, 2 * MIB as u64);
        first.end();
        if made_its_object {
            let stat = gcs.store_patiently(&gcs.store(), &file);
            gcs.check_stored(&file, &stat);
        }
        gcs.fake.put_clock_forward(std::time::Duration::from_secs(8 * 24 * 3600));
        let second = Process::start(&gcs, root.path());
        let CreateOutcome::Created(stat) = second.store.create_segment(&file).expect("stored") else {
            panic!("the same bytes are the same object")
        };
        gcs.check_stored(&file, &stat);
    }
}

/// A process that ends in good order while an upload is under way leaves it to its successor, and nothing else.
#[test]
fn what_is_left_behind_is_the_journal_alone() {
    let gcs = Gcs::start();
    let root = tempfile::tempdir().expect("a directory");
    let file = gcs.segment(3, 4 * MIB);
    let first = Process::start(&gcs, root.path());
    first.directory.create_file("spool").expect("room");
    let path = first.directory.path().to_owned();
    first.break_off(&gcs, &file, 2 * MIB as u64);
    first.end();
    let mut left: Vec<_> =
        std::fs::read_dir(&path).expect("it stays").map(|entry| entry.expect("an entry").file_name()).collect();
    left.sort();
    assert_eq!(left.len(), 2, "the lock and the journal: {left:?}");
    Process::start(&gcs, root.path()).end();
    assert!(!path.exists(), "claimed by the next one");
}
