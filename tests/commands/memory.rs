//! Memory that commands take: as much as --memory-limit says, whatever a file says.

use crate::support::segments::{
    CODECS, OwnedRecord, chain, offset, record, summary, write_into_archive, write_summarized,
};
use kafka_store::avro::{Codec, Compressor, SegmentSummary, SegmentWriter};
use kafka_store::page_cache::PageCache;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
#[ignore]
fn generate() {
    let root = Path::new("/tmp/h-read/data");
    for (name, codec) in CODECS {
        let records: Vec<OwnedRecord> = (0..10).map(|n| large(n, 10 << 20)).collect();
        write_into_archive(&root.join(name), &chain("t", "000000").segment(offset(0)), codec, &records);
    }
    for partition in 0..8 {
        let records: Vec<OwnedRecord> = (0..60).map(|n| large(n, 1 << 20)).collect();
        write_into_archive(
            &root.join("many"),
            &chain("t", &format!("{partition:06}")).segment(offset(0)),
            CODECS[0].1,
            &records,
        );
    }
    let mut r = record(0, "");
    r.value = Some(vec![1; 50 << 20]);
    write_into_archive(&root.join("control"), &chain("t", "000000").segment(offset(0)), CODECS[0].1, &[r]);
    let mut r = record(0, "");
    r.headers = vec![(vec![], None); 10_000_000];
    write_into_archive(&root.join("headers"), &chain("t", "000000").segment(offset(0)), CODECS[0].1, &[r]);
}

/// A record of so many bytes, of which one in a hundred is not like the others.
fn large(number: i64, bytes: usize) -> OwnedRecord {
    let mut record = record(number, "");
    let mut value = vec![b'a'; bytes];
    let mut noise = number as u64 + 1;
    for byte in value.iter_mut().step_by(150) {
        noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        *byte = b'b' + (noise >> 60) as u8;
    }
    record.value = Some(value);
    record
}
