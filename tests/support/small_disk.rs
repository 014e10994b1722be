//! A small file system of its own (tmpfs), which only root can mount.

use super::archive::Archive;
use std::fs;
use std::process::Command;

pub(crate) const MIB: usize = 1024 * 1024;

/// An archive in a file system that holds 16 MiB.
pub(crate) struct SmallDisk {
    pub(crate) archive: Archive,
}

impl SmallDisk {
    pub(crate) fn mount() -> SmallDisk {
        let archive = Archive::new();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "kafka-store-test"])
            .arg(archive.path())
            .output()
            .expect("there is a command mount");
        let said = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "this test mounts a file system, and must be run by root: {said}");
        SmallDisk { archive }
    }

    /// Takes what room there is, but for this much.
    pub(crate) fn fill_up_to(&self, free_bytes: usize) -> Ballast<'_> {
        fs::write(self.archive.path().join("~ballast"), vec![7; 16 * MIB - free_bytes]).expect("there is room");
        Ballast(self)
    }

    /// Takes all the room there is.
    pub(crate) fn fill(&self) -> Ballast<'_> {
        let full =
            fs::write(self.archive.path().join("~ballast"), vec![7; 16 * MIB]).expect_err("there is not so much");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        Ballast(self)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.archive.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(), "it stays mounted");
    }
}

pub(crate) struct Ballast<'a>(&'a SmallDisk);

impl Drop for Ballast<'_> {
    fn drop(&mut self) {
        fs::remove_file(self.0.archive.path().join("~ballast")).expect("it is there");
    }
}
