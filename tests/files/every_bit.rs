//! Files of format version 2 in which one bit, the length or the end is wrong: every way of reading to the end finds it.

use crate::support::segments::{CODECS, OwnedRecord, chain, offset, record, write_into_archive};
use kafka_store::archive::{
    ArchiveError, ChainReader, ChainStart, Depth, OffsetWindow, ReadJob, VerifyJob, Watch, Window, Work,
};
use kafka_store::avro::{Codec, DECODE_MEMORY_DEFAULT, FileHeader, verify};
use kafka_store::store::{ArchiveStore, LocalStore, Scope};
use kafka_store_statecharts::name::SegmentName;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

#[derive(Debug)]
struct Unwatched;

impl Watch for Unwatched {
    fn begin(&self, _: Work) {}
    fn advance(&self, _: u64) {}
}

/// An archive of one small segment.
struct Archive {
    directory: tempfile::TempDir,
    name: SegmentName,
    store: Arc<dyn ArchiveStore>,
    /// The segment as it was written.
    whole: Vec<u8>,
}

impl Archive {
    fn new(codec: Codec) -> Archive {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let name = chain("t", "000000").segment(offset(0));
        // Of a length at which deflate's last byte has bits that mean nothing.
        let records: Vec<OwnedRecord> = (0..3).map(|offset| record(offset, "a value a value")).collect();
        write_into_archive(directory.path(), &name, codec, &records);
        let store: Arc<dyn ArchiveStore> = Arc::new(LocalStore::open_read_only(directory.path()).expect("opens"));
        let whole = fs::read(directory.path().join(name.to_string())).expect("read");
        Archive { directory, name, store, whole }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(self.name.to_string())
    }

    fn header_bytes(&self) -> usize {
        FileHeader::parse(&self.whole, self.name.start).expect("a header").header_bytes as usize
    }

    /// Which ways of reading to the end find nothing wrong.
    fn deceived(&self, bytes: &[u8]) -> Vec<&'static str> {
        fs::write(self.path(), bytes).expect("written");
        let chain = &self.name.chain;
        let (stop, watch) = (AtomicBool::new(false), Unwatched);
        let mut deceived = Vec::new();

        let mut reader =
            ChainReader::new(Arc::clone(&self.store), chain.clone(), OffsetWindow::default()).expect("listed");
        if reader.for_each_record(|_, _| Ok::<(), ArchiveError>(())).is_ok() {
            deceived.push("a reader on one thread");
        }

        let chains = vec![ChainStart { chain: chain.clone(), before: None }];
        let window = Window::default();
        let job = ReadJob {
            source: &self.store,
            chains,
            window,
            threads: 1,
            memory_limit: DECODE_MEMORY_DEFAULT,
            stop: &stop,
            watch: &watch,
        };
        if job.run(|_, _, _: &mut ()| {}, |()| Ok::<(), ArchiveError>(())).is_ok() {
            deceived.push("a reader on several threads");
        }

        let job = VerifyJob {
            store: self.store.as_ref(),
            scope: Scope::Chain(chain.clone()),
            chains: vec![chain.clone()],
            depth: Depth::Deep,
            threads: 1,
            mirror: None,
            state: None,
            stop: &stop,
        };
        if job.run(&watch).expect("the store answers").problems.is_empty() {
            deceived.push("verify --deep");
        }
        deceived
    }

    #[track_caller]
    fn is_found(&self, bytes: &[u8], what: &str) {
        let deceived = self.deceived(bytes);
        assert!(deceived.is_empty(), "{what}: nothing is found by {deceived:?}");
    }
}

#[test]
fn a_file_that_is_whole_is_found_whole() {
    for (_, codec) in CODECS {
        let archive = Archive::new(codec);
        assert_eq!(archive.deceived(&archive.whole).len(), 3);
    }
}

fn every_bit(codec: Codec) {
    let archive = Archive::new(codec);
    let header_bytes = archive.header_bytes();
    for position in 0..archive.whole.len() {
        for bit in 0..8 {
            let mut bytes = archive.whole.clone();
            bytes[position] ^= 1 << bit;
            if verify(&bytes[..], archive.name.start).is_ok() {
                panic!("byte {position}, bit {bit}: nothing is found");
            }
            // Headers are checked by the same code, whatever reads them: a part of their bits is enough in the slower ways.
            if position >= header_bytes || bit == position % 8 && position % 4 == 0 {
                archive.is_found(&bytes, &format!("byte {position}, bit {bit}"));
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_found_in_a_deflate_file() {
    every_bit(Codec::default());
}

#[test]
fn every_flipped_bit_is_found_in_a_null_file() {
    every_bit(Codec::Null);
}

#[test]
fn every_flipped_bit_is_found_in_a_snappy_file() {
    every_bit(Codec::Snappy);
}

#[test]
fn every_flipped_bit_is_found_in_a_zstandard_file() {
    every_bit(Codec::Zstandard { level: 1 });
}

#[test]
fn every_cut_and_whatever_follows_is_found() {
    for (codec_name, codec) in CODECS {
        let archive = Archive::new(codec);
        let whole = &archive.whole;
        for length in 0..whole.len() {
            let error = verify(&whole[..length], archive.name.start).expect_err(codec_name);
            assert!(error.is_truncated(), "{codec_name}, {length} bytes: {error}");
            if length >= archive.header_bytes() || length % 16 == 0 {
                archive.is_found(&whole[..length], &format!("{codec_name}, {length} bytes"));
            }
        }
        let (_, blocks) = whole.split_at(archive.header_bytes());
        for behind in [&[0][..], &[0x80], &[0xff; 16], blocks, whole] {
            archive.is_found(&[whole, behind].concat(), &format!("{codec_name}, {} bytes behind", behind.len()));
        }
    }
}
