//! What nobody reads soon does not stay in the system's page cache: neither while it is written nor once it is stored.
//!
//! Asks the system itself, by fincore (of util-linux), about files below `target`, which must be on a disk: a file system in memory
//! keeps all.

use crate::support::page_cache::{cached_bytes, on_disk};
use crate::support::segments::{chain, offset, record, summary};
use kafka_store::avro::{Codec, Compressor, SegmentWriter};
use kafka_store::page_cache::PageCache;
use kafka_store::store::{ArchiveStore, LocalStore, SegmentFile};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

const MIB: u64 = 1 << 20;

#[test]
fn what_is_written_leaves_once_it_is_on_the_disk() {
    for (cache, in_it) in [(PageCache::Kept, 8 * MIB..=10 * MIB), (PageCache::Released, MIB..=3 * MIB)] {
        let directory = on_disk();
        let path = directory.path().join("spool");
        let name = chain("orders", "000000").segment(offset(0));
        let file = File::create_new(&path).expect("created");
        let writer = SegmentWriter::create(file, name, Codec::Null, cache, &summary(&[record(0, "")]));
        let (mut writer, mut compressor) = (writer.expect("it is empty"), Compressor::new());
        let mut append = |blocks| {
            for _ in 0..blocks {
                writer.append_block(&mut compressor, &[7; MIB as usize], 1).expect("written");
            }
        };
        append(7);
        // Otherwise it is the disk's speed that says when.
        File::open(&path).expect("opens").sync_all().expect("synchronised");
        append(2);
        let bytes = cached_bytes(&path);
        println!("{cache:?}: {bytes} bytes");
        assert!(in_it.contains(&bytes), "{cache:?}: {bytes}");
    }
}

#[test]
fn what_is_stored_leaves() {
    let content = [7; MIB as usize];
    for cache in [PageCache::Kept, PageCache::Released] {
        let directory = on_disk();
        let store = LocalStore::open(directory.path()).expect("opens").with_cache(cache);
        let (path, file) = store.instance_dir().expect("writing").create_file("spool").expect("created");
        file.write_all_at(&content, 0).expect("written");
        let name = chain("orders", "000000").segment(offset(0));
        let (bytes, crc32c) = (MIB, crc32c::crc32c(&content));
        let segment =
            SegmentFile { name: name.clone(), path: path.to_path_buf(), bytes, crc32c, attributes: BTreeMap::new() };
        store.create_segment(&segment).expect("stored");
        let cached = cached_bytes(&directory.path().join(name.to_string()));
        let stays = cached > MIB / 2;
        assert_eq!(stays, cache == PageCache::Kept, "{cache:?}: {cached} bytes below {}", directory.path().display());
    }
}

/// Where the machine ended, what was stored last is read from the disk, not from what memory says of it.
#[test]
fn what_is_in_doubt_leaves() {
    let directory = on_disk();
    let store = LocalStore::open(directory.path()).expect("opens");
    let dead = directory.path().join("~kafka-store/tmp/4711-1");
    fs::create_dir(&dead).expect("created");
    fs::write(dead.join("lock"), b"another boot\n").expect("written");
    let name = chain("orders", "000000").segment(offset(0));
    let path = directory.path().join(name.to_string());
    fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    fs::write(&path, [7; MIB as usize]).expect("written");
    assert!(cached_bytes(&path) >= MIB);
    assert_eq!(store.in_doubt(&name.chain).expect("answers"), [offset(0)]);
    assert_eq!(cached_bytes(&path), 0);
}
