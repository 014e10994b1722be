//! Processes that ended without knowing whether all they had written is on the disk.
//!
//! A process that is killed leaves nothing in doubt: what it had synced is whole. Two ends do: a failed sync, which the
//! process writes down in its own directory before it ends; and the end of the whole machine, which shows in the boot
//! id that each process writes down when it starts.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// A process's directory says so if its sync has failed.
pub(super) const FAILED_SYNC: &str = "failed-sync";

/// The directories of this process.
static OWN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The end of a process that leaves the segments it published last in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UncleanEnd {
    /// The directory of the process.
    pub(super) directory: PathBuf,
    /// The start of the process: what was published earlier was published by others.
    pub(super) since: SystemTime,
    /// The cause, for messages.
    pub(super) reason: String,
}

/// Remembers a directory of this process, in which a failed sync is to be written down.
pub(super) fn register(directory: &Path) {
    own().push(directory.to_owned());
}

/// Forgets a directory of this process, which is about to be removed.
pub(super) fn unregister(directory: &Path) {
    own().retain(|own| own != directory);
}

/// Writes into each directory of this process that a sync has failed, as durably as the disk still allows.
pub(super) fn mark_failed_sync(reason: &str) {
    for directory in own().iter() {
        // The process is about to end because of the disk: an error here changes nothing.
        let _ = File::create(directory.join(FAILED_SYNC)).and_then(|mut file| {
            file.write_all(reason.as_bytes())?;
            file.sync_all()?;
            File::open(directory)?.sync_all()
        });
    }
}

/// The first line of a process's lock file: the boot of the machine during which it started.
pub(super) fn boot_line() -> String {
    format!("{}\n", boot_id().as_deref().unwrap_or("unknown"))
}

/// The unclean end of the process that owned a directory, if a sync had failed.
pub(super) fn failed_sync(directory: &Path) -> Option<UncleanEnd> {
    let reason = fs::read_to_string(directory.join(FAILED_SYNC)).ok()?;
    Some(UncleanEnd { directory: directory.to_owned(), since: started(directory), reason })
}

/// True if the owner of a directory was started during another boot of the machine, or on another machine.
pub(super) fn is_of_another_boot(lock: &str) -> bool {
    // Nothing is known of a lock file without a boot: its process was of an earlier version, or its machine ended too.
    boot_id().is_none_or(|boot| lock.lines().next() != Some(&boot))
}

/// The unclean end of a process whose machine ended with it.
pub(super) fn ended_with_its_machine(directory: &Path) -> UncleanEnd {
    UncleanEnd {
        directory: directory.to_owned(),
        since: started(directory),
        reason: "the machine was restarted while it ran".to_owned(),
    }
}

/// The start of the process that owned a directory, as far as it is known.
fn started(directory: &Path) -> SystemTime {
    // The lock file is written once.
    let lock = fs::metadata(directory.join(super::instance_dir::LOCK));
    lock.and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

fn own() -> MutexGuard<'static, Vec<PathBuf>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}
