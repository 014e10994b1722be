//! The directory of one running process for temporary and spool files.

use super::directories::Directories;
use super::error::{StoreError, StoreErrorKind};
use super::sync::{self, sync_directory, sync_file};
use super::unclean::{self, UncleanEnd};
use kafka_store_statecharts::name::RESERVED;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// `<root>/~kafka-store/tmp/<instance>/`, held by a lock on the file `lock` in it for as long as this value lives.
///
/// The system releases the lock when the process ends, however it ends: what can be locked is nobody's
/// any more. Dropping the value removes the directory with all that is in it.
///
/// Instances come and go under one more lock, on `tmp/lock`: while it is held, no directory is in the
/// state between its creation and its own lock, so clean-up cannot take one from under its owner.
#[derive(Debug)]
pub struct InstanceDir {
    path: PathBuf,
    folder: PathBuf,
    next_file: AtomicU64,
    is_removed: AtomicBool,
    /// Held, not used: the lock file, and others where a cleaner has removed it.
    locks: Mutex<Vec<File>>,
}

/// The name of lock files. That of a process holds the boot id of the machine.
pub(super) const LOCK: &str = "lock";
/// What the names of journals end with.
const JOURNAL: &str = ".session";

impl InstanceDir {
    /// Makes a directory of our own below `root`, which must exist.
    ///
    /// # Errors
    /// If the directory cannot be made or locked.
    pub fn create(root: &Path) -> Result<InstanceDir, StoreError> {
        let root = std::path::absolute(root).map_err(|error| StoreError::io("find", root, error))?;
        let folder = Directories::new(root).ensure(&Path::new(RESERVED).join("tmp"))?;
        let _comings_and_goings = lock_folder(&folder)?;
        let path = create_directory(&folder)?;
        let locks = Mutex::new(vec![lock_new(&path)?]);
        unclean::register(&path);
        Ok(InstanceDir { path, folder, next_file: AtomicU64::new(0), is_removed: AtomicBool::new(false), locks })
    }

    /// Makes the directory again, which somebody has removed: a cleaner of `/tmp` or `/var/tmp`, mostly. What lay in it is
    /// lost, and fetched again by whoever misses it.
    fn make_again(&self) -> Result<(), StoreError> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        fs::create_dir_all(&self.folder)
            .map_err(|error| StoreError::io("create the directory", &self.folder, error))?;
        let _comings_and_goings = lock_folder(&self.folder)?;
        match fs::create_dir(&self.path) {
            Ok(()) => {}
            // Another thread was quicker.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(StoreError::io("create the directory", &self.path, error)),
        }
        sync_directory(&self.folder)?;
        locks.push(lock_new(&self.path)?);
        Ok(())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates an empty file for reading and writing, which is removed when its path is dropped. The label only tells
    /// people what it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn create_file(&self, label: &str) -> Result<(TemporaryPath, File), StoreError> {
        let number = self.next_file.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{number:06}-{}", end_of(label)));
        let create = || OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let created = match create() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.make_again()?;
                create()
            }
            created => created,
        };
        match created {
            Ok(file) => Ok((TemporaryPath(path), file)),
            Err(error) => Err(StoreError::io("create", &path, error)),
        }
    }

    /// Writes a journal: a file that a process which cleans up after this one claims. It is durable when this returns,
    /// and readable by its user alone.
    ///
    /// # Errors
    /// What the system says.
    pub fn create_journal(&self, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let path = self.next_journal();
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            Ok(file)
        });
        let file = written.map_err(|error| StoreError::io("write", &path, error))?;
        sync_file(&file, &path)?;
        sync_directory(&self.path)?;
        Ok(path)
    }

    /// The journals in this directory: written by this process, or claimed.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub fn journals(&self) -> Result<Vec<PathBuf>, StoreError> {
        journals_in(&self.path)
    }

    fn next_journal(&self) -> PathBuf {
        let number = self.next_file.fetch_add(1, Ordering::Relaxed);
        self.path.join(format!("{number:06}{JOURNAL}"))
    }

    /// Removes the directories of processes that have ended and returns how many there were. Their journals are this
    /// process's from then on. Of processes that ended uncleanly the directories are emptied, and stay until
    /// what they published last was read; `keep` is false where nothing is published.
    ///
    /// # Errors
    /// If a directory that is nobody's cannot be removed. Those of running processes are no error.
    pub fn clean_up_others(&self, keep: KeepUnclean) -> Result<usize, StoreError> {
        let _comings_and_goings = lock_folder(&self.folder)?;
        let mut removed = 0;
        for path in self.others()? {
            removed += usize::from(self.remove_if_dead(&path, keep)?);
        }
        Ok(removed)
    }

    /// The unclean ends of other processes, after which nobody has read what they published last.
    pub(super) fn unclean_ends(&self) -> Result<Vec<UncleanEnd>, StoreError> {
        let mut ends = Vec::new();
        for path in self.others()? {
            // Its process may still be about to end.
            if let Some(end) = unclean::failed_sync(&path) {
                ends.push(end);
            } else if is_of_another_boot(&path)? {
                // One that is just being made has no boot yet, and can be locked.
                let _comings_and_goings = lock_folder(&self.folder)?;
                if is_of_another_boot(&path)? && lock_of_dead(&path)?.is_some() {
                    ends.push(unclean::ended_with_its_machine(&path));
                }
            }
        }
        Ok(ends)
    }

    /// Removes the directory of a process that ended uncleanly: what it published last has been read.
    pub(super) fn forget(&self, end: &UncleanEnd) -> Result<(), StoreError> {
        let _comings_and_goings = lock_folder(&self.folder)?;
        self.remove_if_dead(&end.directory, KeepUnclean::No).map(|_| ())
    }

    /// The directories of other processes.
    fn others(&self) -> Result<Vec<PathBuf>, StoreError> {
        let failed = |error| StoreError::io("list", &self.folder, error);
        let mut others = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.path() != self.path && entry.file_name().to_str().is_some_and(is_instance_name) {
                others.push(entry.path());
            }
        }
        Ok(others)
    }

    /// Removes the directory with all that is in it, while others may still hold this value: a process that ends
    /// in good order does not wait for its threads. Where there are journals, these stay, for the next process.
    pub fn remove(&self) {
        // A failed sync stays written down.
        if sync::has_failed() {
            return;
        }
        // Once only, and under the folder's lock like every coming and going: the name is free again as soon as the
        // directory is gone, and removing is more than one step, of which the last may meet the next owner's.
        if self.is_removed.swap(true, Ordering::Relaxed) {
            return;
        }
        let Ok(_comings_and_goings) = lock_folder(&self.folder) else { return };
        unclean::unregister(&self.path);
        // What cannot be removed now is removed by the next clean-up.
        if self.journals().is_ok_and(|journals| journals.is_empty()) {
            let _ = fs::remove_dir_all(&self.path);
            return;
        }
        remove_files(&self.path);
    }

    /// Removes an instance's directory if its lock can be taken. The caller holds the folder's lock, so a directory
    /// without a lock file is not one that is just being made: its process ended in that very moment.
    fn remove_if_dead(&self, path: &Path, keep: KeepUnclean) -> Result<bool, StoreError> {
        let Some(_lock) = lock_of_dead(path)? else { return Ok(false) };
        for journal in journals_in(path)? {
            let claimed = self.next_journal();
            fs::rename(&journal, &claimed).map_err(|error| StoreError::io("claim", &journal, error))?;
        }
        if keep == KeepUnclean::Yes && (unclean::failed_sync(path).is_some() || is_of_another_boot(path)?) {
            remove_files(path);
            return Ok(false);
        }
        match fs::remove_dir_all(path) {
            Ok(()) => Ok(true),
            // Its owner was about to remove it itself.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("remove", path, error)),
        }
    }
}

impl Drop for InstanceDir {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The fate of directories whose processes ended uncleanly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepUnclean {
    /// They stay until what was published from them was read.
    Yes,
    /// They are removed.
    No,
}

/// The path of a file that is removed with this value. A store may have moved it elsewhere by then.
#[derive(Debug)]
pub struct TemporaryPath(PathBuf);

impl Deref for TemporaryPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for TemporaryPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryPath {
    fn drop(&mut self) {
        // If it stays it is removed with the directory, at the latest by the next process.
        let _ = fs::remove_file(&self.0);
    }
}

/// The lock of a process that has ended, which is then held; `None` if the process is alive. The caller holds the lock
/// of the folder.
fn lock_of_dead(directory: &Path) -> Result<Option<Option<File>>, StoreError> {
    let path = directory.join(LOCK);
    let lock = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(lock) => lock,
        // It ended between the creation of its directory and that of its lock.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(None)),
        Err(error) => return Err(StoreError::io("open", &path, error)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Some(Some(lock))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(lock_error(&path, error)),
    }
}

/// True if a process was started during another boot of the machine. One without a lock file has published nothing.
fn is_of_another_boot(directory: &Path) -> Result<bool, StoreError> {
    let path = directory.join(LOCK);
    match fs::read_to_string(&path) {
        Ok(lock) => Ok(unclean::is_of_another_boot(&lock)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("read", &path, error)),
    }
}

/// Removes what a directory holds beside locks, journals, and the word of a failed sync.
fn remove_files(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if !is_journal(&path) && !path.file_name().is_some_and(|name| name == LOCK || name == unclean::FAILED_SYNC) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The end of a label, as much as fits into a file's name: a topic's name may be as long as that alone.
fn end_of(label: &str) -> &str {
    const LABEL_BYTES_MAX: usize = 200;
    let from = (label.len().saturating_sub(LABEL_BYTES_MAX)..).find(|from| label.is_char_boundary(*from));
    from.and_then(|from| label.get(from..)).unwrap_or_default()
}

/// Waits for the lock under which instances come and go. It is held for moments only.
fn lock_folder(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK);
    let file = open_lock(&path).map_err(|error| StoreError::io("create", &path, error))?;
    file.lock().map_err(|error| lock_error(&path, error))?;
    Ok(file)
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Locks a new directory for this process.
fn lock_new(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    let mut lock = open_lock(&path).map_err(|error| StoreError::io("create", &path, error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::new(StoreErrorKind::Invalid, "lock the new file", &path, None));
        }
        Err(TryLockError::Error(error)) => return Err(lock_error(&path, error)),
    }
    lock.write_all(unclean::boot_line().as_bytes()).map_err(|error| StoreError::io("write", &path, error))?;
    sync_file(&lock, &path)?;
    sync_directory(directory)?;
    Ok(lock)
}

fn lock_error(path: &Path, error: std::io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported, "lock", path, Some(error))
}

/// `<pid>-<n>`: the process id is for people, the number makes it unique (also among containers that share
/// the directory, where every process is number 1).
fn create_directory(folder: &Path) -> Result<PathBuf, StoreError> {
    let pid = std::process::id();
    for number in 1_u64.. {
        let path = folder.join(format!("{pid}-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => {
                sync_directory(folder)?;
                return Ok(path);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("create the directory", &path, error)),
        }
    }
    unreachable!("there are fewer directories than numbers")
}

fn is_instance_name(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.split_once('-').is_some_and(|(pid, number)| is_number(pid) && is_number(number))
}

fn journals_in(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let entries = entries.map_err(|error| StoreError::io("list", directory, error))?;
    let mut journals: Vec<PathBuf> =
        entries.into_iter().map(|entry| entry.path()).filter(|path| is_journal(path)).collect();
    journals.sort();
    Ok(journals)
}

fn is_journal(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(JOURNAL))
}
