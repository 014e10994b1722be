//! What nobody reads soon does not stay in the system's page cache: neither while it is written nor once it is stored.
//!
//! Asks the system itself, by fincore (of util-linux), about files below `target`, which must be on a disk: a file system in memory
//! keeps all.

mod support;

#[path = "support/segments.rs"]
mod segments;

use kafka_store::avro::{Codec, Compressor, SegmentWriter};
use kafka_store::page_cache::PageCache;
use kafka_store::store::{ArchiveStore, LocalStore, SegmentFile};
use segments::{chain, offset};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use support::broker::{Broker, unique};
use support::daemon::Daemon;
use support::records::numbered;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn on_disk() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// How many bytes of a file are in the page cache.
fn cached_bytes(path: &Path) -> u64 {
    let output = Command::new("fincore").args(["--bytes", "--noheadings", "--output", "RES"]).arg(path).output();
    let output = output.expect("fincore runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8").trim().parse().expect("a number")
}

#[test]
fn what_is_written_leaves_once_it_is_on_the_disk() {
    for (cache, in_it) in [(PageCache::Kept, 8 * MIB..=10 * MIB), (PageCache::Released, MIB..=3 * MIB)] {
        let directory = on_disk();
        let path = directory.path().join("spool");
        let name = chain("orders", "000000").segment(offset(0));
        let file = File::create_new(&path).expect("created");
        let (mut writer, mut compressor) =
            (SegmentWriter::create(file, name, Codec::Null, cache).expect("it is empty"), Compressor::new());
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
        let segment = SegmentFile { name: name.clone(), path, bytes, crc32c, attributes: BTreeMap::new() };
        store.create_segment(&segment).expect("stored");
        let cached = cached_bytes(&directory.path().join(name.to_string()));
        let stays = cached > MIB / 2;
        assert_eq!(stays, cache == PageCache::Kept, "{cache:?}: {cached} bytes below {}", directory.path().display());
    }
}

#[test]
fn nothing_that_a_daemon_stored_stays() {
    let broker = Broker::get();
    let topic = broker.create_topic("page-cache", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..30_000), &[]);
    let archive = on_disk();
    Daemon::new(&broker, &[&topic], &unique("page-cache"), archive.path()).args(&["--codec", "null"]).until_end();
    let segment = archive.path().join(format!("{topic}/000000/{:020}", 0));
    let bytes = segment.metadata().expect("it is there").len();
    let cached = cached_bytes(&segment);
    assert!(cached < bytes / 2, "{cached} of {bytes} bytes");
}
