//! Damaged and impossible segment files: what the reader says of them, and what the writer refuses.

use crate::support::segments::{
    CODECS, OwnedRecord, any_codec, any_records, bytes_of, chain, offset, read_back, record, summary,
};
use kafka_store::avro::{Codec, Compressor, FileHeader, SealError, SegmentSummary, SegmentWriter, verify};
use kafka_store::page_cache::PageCache;
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn a_cut_file_is_truncated_wherever_it_is_cut() {
    let name = chain("t", "000000").segment(offset(0));
    let records: Vec<OwnedRecord> = (0..200).map(|offset| record(offset, &"v".repeat(1000))).collect();
    for (codec_name, codec) in CODECS.into_iter().filter(|(_, codec)| *codec != Codec::Null) {
        let bytes = bytes_of(&name, codec, &records, &summary(&records));
        for length in (0..bytes.len()).rev() {
            let error = verify(&bytes[..length], name.start).expect_err("cut");
            assert!(error.is_truncated(), "{codec_name}, {length}: {error}");
        }
    }
}

#[test]
fn what_is_wrong_is_said_with_its_position() {
    let name = chain("t", "000000").segment(offset(0));
    let records: Vec<OwnedRecord> = (0..3).map(|offset| record(offset, "value")).collect();
    let bytes = bytes_of(&name, Codec::Null, &records, &summary(&records));
    let said = |bytes: &[u8]| verify(bytes, offset(0)).expect_err("wrong").to_string();
    assert_eq!(
        said(b"PAR1 something else"),
        "the file is not a kafka-store segment: it does not begin as an Avro file"
    );
    let mut trailing = bytes.clone();
    trailing.extend_from_slice(b"junk");
    assert!(said(&trailing).starts_with("the file is "), "{}", said(&trailing));
    let mut changed = bytes.clone();
    let header_bytes = FileHeader::parse(&bytes, offset(0)).expect("a header").header_bytes as usize;
    changed[header_bytes + 10] ^= 1;
    assert!(said(&changed).contains("corrupt at byte"), "{}", said(&changed));
    let mut marker = bytes.clone();
    *marker.last_mut().expect("not empty") ^= 1;
    let at = bytes.len() - 16;
    assert_eq!(
        said(&marker),
        format!("the file is corrupt at byte {at}: the block does not end with the file's sync marker")
    );
    let error = verify(&bytes[..], offset(1)).expect_err("another name").to_string();
    assert!(error.contains("its name says that it starts at 1, its header 0"), "{error}");
    let version = replaced(&bytes, b"kafka_store.format\x022", b"kafka_store.format\x029");
    assert_eq!(said(&version), "the file needs another version of kafka-store: its format has version 9");
    let padding = replaced(&bytes, b"   ", b"  x");
    assert_eq!(said(&padding), "the file is corrupt at byte 0: its header is not the one that its own hash is of");
    let first = std::fs::read(sample_of_version_1()).expect("the sample file");
    let codec = replaced(&first, b"avro.codec\x08null", b"avro.codec\x08zstd");
    assert_eq!(said(&codec), "the file needs another version of kafka-store: its blocks are compressed by \"zstd\"");
}

fn sample_of_version_1() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1/null/sample.topic_1/000003~2/00000000000000000000")
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    let mut replaced = bytes.to_vec();
    replaced[at..at + to.len()].copy_from_slice(to);
    replaced
}

#[test]
fn a_segment_that_contradicts_itself_is_not_sealed() {
    let name = chain("t", "000000").segment(offset(5));
    let records: Vec<OwnedRecord> = (5..8).map(|offset| record(offset, "value")).collect();
    let seal = |change: &dyn Fn(&mut SegmentSummary)| {
        let file = tempfile::tempfile().expect("a temporary file");
        let mut summary = summary(&records);
        change(&mut summary);
        let mut writer =
            SegmentWriter::create(file, name.clone(), Codec::Null, PageCache::Kept, &summary).expect("empty");
        writer.append_block(&mut Compressor::new(), b"not judged here", 3).expect("written");
        writer.seal(&summary)
    };
    assert!(seal(&|_| {}).is_ok());
    assert!(matches!(seal(&|summary| summary.final_offset = offset(4)), Err(SealError::Inconsistent(_))));
    assert!(matches!(seal(&|summary| summary.final_offset = offset(6)), Err(SealError::Inconsistent(_))));
    assert!(matches!(seal(&|summary| summary.timestamps.max = 0), Err(SealError::Inconsistent(_))));
}

#[test]
fn an_empty_or_impossible_block_is_refused() {
    let file = tempfile::tempfile().expect("a temporary file");
    let (name, expected) = (chain("t", "000000").segment(offset(0)), summary(&[record(0, "")]));
    let mut writer = SegmentWriter::create(file, name, Codec::Null, PageCache::Kept, &expected).expect("empty");
    let mut compressor = Compressor::new();
    assert!(writer.append_block(&mut compressor, b"", 0).is_err());
    assert!(writer.append_block(&mut compressor, b"x", 0).is_err());
    assert_eq!(writer.record_count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to a file, the reader does not panic, and says at the end that something did.
    #[test]
    fn a_changed_file_never_reads_as_whole(
        records in any_records(),
        codec in any_codec(),
        place: prop::sample::Index,
        change in 1_u8..,
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let name = chain("t", "000000").segment(offset(0));
        let whole = bytes_of(&name, codec, &records, &summary(&records));
        let mut bytes = whole.clone();
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        prop_assert!(verify(&bytes[..], name.start).is_err());
        prop_assert!(read_back(&bytes, 0).is_err());
    }

    #[test]
    fn the_originals_files_never_make_the_reader_panic(place: prop::sample::Index, change in 1_u8.., cut: prop::sample::Index) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tree/sample/000001/00000000000000000000");
        let mut bytes = fs::read(path).expect("the file");
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        let _ = verify(&bytes[..], offset(0));
        bytes.truncate(cut.index(bytes.len()));
        let _ = verify(&bytes[..], offset(0));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let mut file = b"Obj\x01".to_vec();
        file.extend_from_slice(&bytes);
        prop_assert!(verify(&file[..], offset(0)).is_err());
    }
}
