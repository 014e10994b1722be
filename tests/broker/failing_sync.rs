//! Goal: what a disk did not take is never taken for stored, and what it may not have taken is read before it counts.
//! Method: real daemons on a disk whose syncs fail once (a preloaded library), then the same daemons on a whole disk.

use crate::support::failing_sync::{EIO, ENOSPC, FailingSync};
use crate::support::records::{assert_same, logged_from, numbered};
use crate::support::scene::Scene;
use crate::support::wait_until;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The exit code of a process whose sync failed.
const NOT_DURABLE: i32 = 71;
const UNCLEAN: &str = "an earlier process ended uncleanly";

impl Scene {
    /// Runs until the sync of a path fails, which must end the process; the answer is its log.
    #[track_caller]
    fn run_until_a_sync_fails(&self, pattern: &str, nth: u32, errno: i32) -> String {
        let disk = FailingSync::new();
        let log = disk.under(self.daemon(), pattern, nth, errno).until_end_with_code(NOT_DURABLE).log;
        let failed = disk.failed();
        assert!(matches!(failed.as_slice(), [path] if path.to_string_lossy().contains(pattern)), "{failed:?}");
        assert!(log.contains(&format!("cannot make {} durable", failed[0].display())), "{log}");
        log
    }

    /// Runs to the end, after which everything is archived, and nothing is left of earlier processes.
    #[track_caller]
    fn run_to_the_end(&self) -> String {
        let log = self.daemon().until_end().log;
        assert_eq!(self.archive.starts(&self.topic, 0), [0, 500]);
        assert_same("the archive", &self.archive.records(&self.topic, 0), &logged_from(0, &numbered(0..1_000)));
        assert_eq!(self.committed(), Some(1_000));
        assert_eq!(self.archive.instance_directories(), Vec::<String>::new());
        log
    }

    fn segment(&self, start: i64) -> PathBuf {
        self.archive.segment(&self.topic, 0, start)
    }
}

/// Fails if the file is synced again, succeeds, and is published: half of its bytes are zeros by then.
#[test]
fn a_segment_whose_sync_failed_is_fetched_again() {
    for errno in [EIO, ENOSPC] {
        let scene = Scene::new("sync-segment");
        let log = scene.run_until_a_sync_fails(",000000,", 1, errno);
        assert!(log.contains("is not trusted again: check the disk and the kernel's log"), "{log}");
        assert_eq!(scene.archive.starts(&scene.topic, 0), Vec::<i64>::new());
        assert_eq!(scene.committed(), None);
        assert!(scene.run_to_the_end().contains(UNCLEAN));
        assert!(!scene.daemon().until_end().log.contains(UNCLEAN), "what was in doubt has been read");
    }
}

#[test]
fn nothing_is_committed_where_the_sync_of_a_directory_failed_after_the_link() {
    let scene = Scene::new("sync-directory");
    scene.run_until_a_sync_fails(&format!("{}/000000", scene.topic), 1, EIO);
    assert_eq!(scene.archive.starts(&scene.topic, 0), [0], "it is linked");
    assert_eq!(scene.committed(), None);
    let before = scene.archive.stamp(&format!("{}/000000/{:020}", scene.topic, 0));
    assert!(scene.run_to_the_end().contains(UNCLEAN));
    assert_eq!(scene.archive.stamp(&format!("{}/000000/{:020}", scene.topic, 0)), before, "it was whole");
}

/// Origins, first starts, and the files and directories below them.
#[test]
fn small_objects_and_directories_are_not_trusted_either() {
    for (pattern, nth) in [("-small", 1), ("-small", 2), ("~kafka-store/groups", 1), ("~kafka-store/origins", 1)] {
        let scene = Scene::new("sync-objects");
        scene.run_until_a_sync_fails(pattern, nth, EIO);
        assert_eq!(scene.committed(), None, "{pattern}");
        scene.run_to_the_end();
    }
}

#[test]
fn a_copy_whose_sync_failed_is_made_again() {
    let scene = Scene::new("sync-elsewhere");
    let spool = tempfile::tempdir_in("/dev/shm").expect("another file system");
    let spool_dir = ["--spool-dir", spool.path().to_str().expect("UTF-8")];
    let disk = FailingSync::new();
    let daemon = scene.daemon().args(&spool_dir);
    disk.under(daemon, "-copy", 2, EIO).until_end_with_code(NOT_DURABLE);
    assert_eq!(disk.failed().len(), 1);
    assert_eq!(scene.archive.starts(&scene.topic, 0), [0]);
    assert!(scene.committed().is_none_or(|committed| committed == 500));
    scene.run_to_the_end();
}

/// The segment that was published last is damaged where its header does not show it.
fn damage(segment: &Path) {
    let file = fs::OpenOptions::new().read(true).write(true).open(segment).expect("it is there");
    let (at, mut byte) = (file.metadata().expect("a file").len() - 100, [0]);
    file.read_exact_at(&mut byte, at).expect("readable");
    file.write_all_at(&[byte[0] ^ 1], at).expect("writable");
}

#[test]
fn what_a_failed_sync_leaves_in_doubt_is_read_whole_before_it_counts() {
    let scene = Scene::new("sync-doubt");
    scene.run_until_a_sync_fails(&format!("{}/000000", scene.topic), 1, EIO);
    damage(&scene.segment(0));
    let log = scene.daemon().until_end_with_code(3).log;
    assert!(log.contains("is not a whole segment"), "{log}");
    assert!(log.contains("ended before it could know that its file was on the disk"), "{log}");
    assert_eq!(scene.committed(), None);
    scene.daemon().until_end_with_code(3);
    assert_eq!(scene.committed(), None, "one start after the other finds it");
    fs::remove_file(scene.segment(0)).expect("moved out of the archive, as the message says");
    scene.run_to_the_end();
}

/// A killed process leaves nothing in doubt, a machine that ended does: the boot id tells.
#[test]
fn what_was_stored_when_the_machine_ended_is_read_whole_and_after_a_kill_is_not() {
    let scene = Scene::new("sync-boot");
    let killed = || {
        let mut running = scene.daemon().spawn();
        running.wait_for("chain located");
        wait_until("both segments are committed", || scene.committed() == Some(1_000));
        running.kill();
        scene.archive.path().join(format!("~kafka-store/tmp/{}-1", running.id()))
    };
    killed();
    assert!(!scene.daemon().until_end().log.contains(UNCLEAN));

    let instance = killed();
    fs::write(instance.join("lock"), "another boot\n").expect("it is there");
    let log = scene.run_to_the_end();
    assert!(log.contains(UNCLEAN) && log.contains("the machine was restarted while it ran"), "{log}");

    let instance = killed();
    fs::write(instance.join("lock"), "another boot\n").expect("it is there");
    damage(&scene.segment(500));
    let log = scene.daemon().until_end_with_code(3).log;
    assert!(log.contains("is not a whole segment"), "{log}");
    assert!(instance.exists(), "it stays in doubt");
}
