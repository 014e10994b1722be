//! The stores of a daemon, and the directory of its files until they are stored.

use super::start_error::StartError;
use crate::archive::{self, Mirrors};
use crate::blocking::BlockingPool;
use crate::chance::Chance;
use crate::config::DaemonConfig;
use crate::store::{ArchiveStore, GcsStore, InstanceDir, KeepUnclean, LocalStore, Sessions, UploadTransitions};
use slog::{Logger, info};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The stores of a daemon, and the directory of its files until they are stored.
pub(crate) struct Stores {
    /// Decides where segments end.
    pub(crate) arbiter: Arc<dyn ArchiveStore>,
    /// Has the same, where there are two stores.
    pub(super) mirror: Option<Arc<LocalStore>>,
    local: Option<Arc<LocalStore>>,
    /// Where open and sealed segments lie.
    pub(super) spool: Arc<InstanceDir>,
    /// Where changes of uploads' states will be told.
    pub(super) uploads: UploadTransitions,
}

/// Whether the stores are to be written to, or only looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Segments are to be stored.
    Archive,
    /// Nothing is to be changed.
    Plan,
}

impl Stores {
    /// Opens them, and claims or removes what processes have left in the directories that have ended.
    pub(super) fn open(config: &DaemonConfig, purpose: Purpose, log: &Logger) -> Result<Stores, StartError> {
        let local = match &config.local_store {
            Some(path) => Some(Arc::new(LocalStore::open(path)?.with_cache(config.page_cache()))),
            None => None,
        };
        if let Some(directory) = local.as_ref().and_then(|local| local.instance_dir()) {
            clean_up(directory, KeepUnclean::Yes, "store opened", purpose, log)?;
        }
        let spool = spool_directory(config, local.as_deref(), purpose, log)?;
        let uploads = UploadTransitions::default();
        let Some(gcs) = &config.gcs else {
            let arbiter = Arc::clone(local.as_ref().expect("there is a store")) as Arc<dyn ArchiveStore>;
            return Ok(Stores { arbiter, mirror: None, local, spool, uploads });
        };
        let store = GcsStore::open(&gcs.settings(Arc::new(Chance::from_system()), log))?;
        info!(log, "store opened"; "url" => store.describe());
        let sessions = match (purpose, gcs.resumes_sessions) {
            (Purpose::Archive, true) => Sessions::kept_in(Arc::clone(&spool), log)?,
            _ => Sessions::in_memory(log),
        };
        if purpose == Purpose::Plan {
            store.try_to_create()?;
        }
        let store = store.with_sessions(sessions).with_transitions(uploads.clone());
        Ok(Stores { arbiter: Arc::new(store), mirror: local.clone(), local, spool, uploads })
    }

    /// What copies to the mirror, if there is one.
    pub(super) fn mirrors(&self, threads: usize, log: &Logger) -> Option<Mirrors> {
        let mirror = Arc::clone(self.mirror.as_ref()?);
        Some(Mirrors::new(Arc::clone(&self.arbiter), mirror, BlockingPool::new("mirror", threads), log))
    }

    /// Starts to read what processes that ended uncleanly have left in doubt in the directory.
    pub(super) fn read_all_in_doubt(&self, log: &Logger) -> Option<JoinHandle<()>> {
        archive::read_all_in_doubt(self.local.as_ref()?, log)
    }

    /// All of them, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.mirror {
            Some(mirror) => format!("{}, mirrored in {}", self.arbiter.describe(), mirror.describe()),
            None => self.arbiter.describe(),
        }
    }

    /// Removes what is this process's alone: its threads live on until it ends, and with them what would remove it.
    pub(crate) fn remove_directories(&self) {
        self.spool.remove();
        if let Some(directory) = self.local.as_ref().and_then(|local| local.instance_dir()) {
            directory.remove();
        }
    }
}

/// Where open segments lie: where `--spool-dir` says; in the local store's own temporary directory, where storing one
/// there is a name and no copy; or in a directory of this user's own.
fn spool_directory(
    config: &DaemonConfig,
    local: Option<&LocalStore>,
    purpose: Purpose,
    log: &Logger,
) -> Result<Arc<InstanceDir>, StartError> {
    let root = match (&config.spool.directory, local) {
        (Some(root), Some(local)) if is_same(root, local.root()) => return Ok(instance_of(local)),
        (Some(root), _) => root.clone(),
        (None, Some(local)) => return Ok(instance_of(local)),
        (None, None) => own_directory()?,
    };
    let directory = InstanceDir::create(&root)?;
    clean_up(&directory, KeepUnclean::No, "spool opened", purpose, log)?;
    Ok(Arc::new(directory))
}

fn instance_of(local: &LocalStore) -> Arc<InstanceDir> {
    Arc::clone(local.instance_dir().expect("the store was opened for writing"))
}

fn is_same(one: &Path, other: &Path) -> bool {
    let inode = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    inode(one).is_some_and(|inode_of_one| inode(other) == Some(inode_of_one))
}

fn clean_up(
    directory: &InstanceDir,
    keep: KeepUnclean,
    what: &'static str,
    purpose: Purpose,
    log: &Logger,
) -> Result<(), StartError> {
    // A plan would claim what the next daemon can go on with.
    let removed = if purpose == Purpose::Archive { directory.clean_up_others(keep)? } else { 0 };
    info!(log, "{}", what; "left_overs_removed" => removed, "path" => %directory.path().display());
    Ok(())
}

/// `kafka-store-UID` in the directory for temporary files, of which others can neither see nor replace anything.
fn own_directory() -> Result<PathBuf, String> {
    let parent = std::env::var_os("TMPDIR").filter(|path| !path.is_empty());
    let parent = PathBuf::from(parent.unwrap_or_else(|| "/var/tmp".into()));
    let uid = rustix::process::getuid().as_raw();
    let path = parent.join(format!("kafka-store-{uid}"));
    let give_another = "give another directory with --spool-dir";
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(format!("cannot create {}: {error}; {give_another}", path.display()));
        }
        _ => {}
    }
    if is_own(&path, uid) {
        Ok(path)
    } else {
        Err(format!("{} is not a directory of this user alone; {give_another}", path.display()))
    }
}

fn is_own(path: &Path, uid: u32) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == uid && metadata.mode() & 0o077 == 0)
}
