//! The memory of a mirror: the files of a chain that were written or read whole, and equalled the arbiter's.
//!
//! A file is compared once, not at each start. A line of text for each is kept in the mirror, with all that changes when
//! somebody touches the file; a line that is lost or torn costs another comparison.

use crate::store::LocalStore;
use kafka_store_statecharts::name::{ChainName, RESERVED, SegmentName};
use kafka_store_statecharts::offset::Offset;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file as it was when it was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    crc32c: u32,
}

/// The files of one chain that were compared.
#[derive(Debug)]
pub(super) struct Compared {
    stamps: BTreeMap<Offset, Stamp>,
}

impl Compared {
    /// What is remembered of a chain.
    pub(super) fn read(mirror: &LocalStore, chain: &ChainName) -> Compared {
        let lines = fs::read_to_string(path(mirror, chain)).unwrap_or_default();
        Compared { stamps: lines.lines().filter_map(parse).collect() }
    }

    /// True if the file is as it was when it equalled an object of this checksum.
    pub(super) fn knows(&self, mirror: &LocalStore, name: &SegmentName, crc32c: u32) -> bool {
        let known = self.stamps.get(&name.start);
        known.is_some_and(|known| stamp(mirror, name, crc32c) == Some(*known))
    }
}

/// Remembers that a file equals an object of this checksum.
pub(super) fn remember(mirror: &LocalStore, name: &SegmentName, crc32c: u32) {
    let Some(stamp) = stamp(mirror, name, crc32c) else { return };
    // A line that cannot be written is missing: see above.
    let _ = append(&path(mirror, &name.chain), name.start, &stamp);
}

/// In the folder of what may be removed at any time.
fn path(mirror: &LocalStore, chain: &ChainName) -> PathBuf {
    mirror.root().join(RESERVED).join("tmp/compared").join(chain.to_string())
}

fn append(path: &Path, start: Offset, stamp: &Stamp) -> io::Result<()> {
    let open = || OpenOptions::new().append(true).create(true).open(path);
    let mut file = match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().expect("it is below the mirror"))?;
            open()?
        }
        opened => opened?,
    };
    let Stamp { bytes, inode, modified: (modified, modified_ns), changed: (changed, changed_ns), crc32c } = stamp;
    // A line of its own also where a killed process left one without an end.
    let line = format!("\n{start} {bytes} {inode} {modified} {modified_ns} {changed} {changed_ns} {crc32c} .\n");
    file.write_all(line.as_bytes())
}

fn stamp(mirror: &LocalStore, name: &SegmentName, crc32c: u32) -> Option<Stamp> {
    let metadata = fs::metadata(mirror.root().join(name.to_string())).ok()?;
    Some(Stamp {
        bytes: metadata.len(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        crc32c,
    })
}

fn parse(line: &str) -> Option<(Offset, Stamp)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [start, bytes, inode, modified, modified_ns, changed, changed_ns, crc32c, "."] = words[..] else { return None };
    let stamp = Stamp {
        bytes: bytes.parse().ok()?,
        inode: inode.parse().ok()?,
        modified: (modified.parse().ok()?, modified_ns.parse().ok()?),
        changed: (changed.parse().ok()?, changed_ns.parse().ok()?),
        crc32c: crc32c.parse().ok()?,
    };
    Some((Offset::new(start.parse().ok()?)?, stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> ChainName {
        ChainName::parse("orders", "000007").expect("a chain")
    }

    #[test]
    fn a_file_that_was_touched_is_not_known() {
        let directory = tempfile::tempdir().expect("a directory");
        let mirror = LocalStore::open(directory.path()).expect("opens");
        let name = chain().segment(Offset::default());
        let path = directory.path().join(name.to_string());
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(&path, "segment").expect("written");
        let knows = |crc32c| Compared::read(&mirror, &chain()).knows(&mirror, &name, crc32c);
        assert!(!knows(7));
        let lines = super::path(&mirror, &chain());
        fs::create_dir_all(lines.parent().expect("a folder")).expect("created");
        fs::write(&lines, "0 7 1").expect("killed within a line");
        remember(&mirror, &name, 7);
        assert!(knows(7));
        assert!(!knows(8), "the arbiter has another object");
        // The same bytes again, but who knows that?
        fs::write(&path, "segment").expect("written");
        assert!(!knows(7));
    }
}
