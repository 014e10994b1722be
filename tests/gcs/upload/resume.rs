//! Another process goes on with an upload, if it has the very same segment.

use super::{BUCKET, Gcs, MIB, no_log, object};
use crate::support::fake_gcs::{After, Fault, Kind};
use crate::support::processes;
use kafka_store::store::{ArchiveStore, CreateOutcome, GcsStore, InstanceDir, KeepUnclean, SegmentFile, Sessions};
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
        directory.clean_up_others(KeepUnclean::No).expect("what is left is nobody's");
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
        processes::while_none_starts(|| drop(self.directory));
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

/// Fails if an upload that was begun in a rehearsal against an emulator is resumed there instead of in production.
#[test]
fn a_session_of_another_endpoint_is_not_resumed() {
    let (rehearsal, production) = (Gcs::start(), Gcs::start());
    let root = tempfile::tempdir().expect("a directory");
    let file = rehearsal.segment(3, 4 * MIB);
    let first = Process::start(&rehearsal, root.path());
    first.break_off(&rehearsal, &file, 2 * MIB as u64);
    first.end();
    let asked = rehearsal.fake.journal().len();
    let second = Process::start(&production, root.path());
    let CreateOutcome::Created(stat) = second.store.create_segment(&file).expect("stored") else {
        panic!("the name is free")
    };
    production.check_stored(&file, &stat);
    assert_eq!(rehearsal.fake.journal().len(), asked, "the other service is left alone");
    assert_eq!(rehearsal.fake.objects(BUCKET).len(), 0);
    assert_eq!(second.directory.journals().expect("it can be read").len(), 0);
}

/// The last answer was lost, and somebody deleted the object since: the session still says that it made it.
#[test]
fn what_a_resumed_session_says_is_looked_at() {
    for is_deleted in [false, true] {
        let gcs = Gcs::start();
        let root = tempfile::tempdir().expect("a directory");
        let file = gcs.segment(3, 4 * MIB);
        let first = Process::start(&gcs, root.path());
        gcs.fake.arm(&[Kind::DataPut], Fault::DropFinalAnswer);
        gcs.fake.faults(|faults| faults.arm_times(&[Kind::Query], Fault::Answer(503), 20));
        first.store.create_segment(&file).expect_err("its end is not known");
        gcs.fake.faults(|faults| faults.disarm());
        first.end();
        assert!(gcs.fake.object(BUCKET, &object(&file)).is_some());
        if is_deleted {
            gcs.fake.delete_object(BUCKET, &object(&file));
        }
        let before = gcs.fake.counts();
        let second = Process::start(&gcs, root.path());
        let CreateOutcome::Created(stat) = second.store.create_segment(&file).expect("stored") else {
            panic!("the same bytes are the same object")
        };
        let stored = gcs.fake.object(BUCKET, &object(&file)).expect("it is there");
        assert_eq!(stat.generation, Some(stored.generation));
        let asked = |kind| gcs.fake.counts().of(kind) - before.of(kind);
        assert_eq!((asked(Kind::Query), asked(Kind::Initiate)), (1, u64::from(is_deleted)));
        assert!(asked(Kind::MetadataGet) >= 1);
        assert_eq!(gcs.fake.violations(), Vec::<String>::new());
    }
}

/// A process that ends in good order while an upload is under way leaves it to its successor, and nothing else.
#[test]
fn what_is_left_behind_is_the_journal_alone() {
    let gcs = Gcs::start();
    let root = tempfile::tempdir().expect("a directory");
    let file = gcs.segment(3, 4 * MIB);
    let first = Process::start(&gcs, root.path());
    // Its process does not come to removing it.
    std::mem::forget(first.directory.create_file("spool").expect("room"));
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
