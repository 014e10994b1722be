//! Single flipped bits: `verify --deep` finds each of them, wherever it is.

use super::{Archive, records, ten_records, verify};
use crate::support::seed::Chance;
use crate::support::segments::{CODECS, bytes_of, write_summarized};
use kafka_store::avro;
use kafka_store_statecharts::offset::Offset;
use std::fs;

/// Flips of each archive: enough that a region of a twentieth of a file is hit in nearly every run.
const FLIPS: usize = 50;

#[test]
fn random_bits_of_archives_of_every_codec() {
    let mut chance = Chance::from_seed();
    for (name, codec) in CODECS {
        let archive = Archive::new();
        let starts = [0, 10, 20, 30];
        for start in starts {
            let records = records(start..start + 10);
            archive.remove(start);
            write_summarized(archive.path(), &Archive::name(start), codec, &records, &ten_records(&records));
        }
        archive.deep().finds(&[]);
        for _ in 0..FLIPS {
            let start = starts[chance.below(4) as usize];
            let whole = fs::read(archive.file(start)).expect("read");
            let (byte, bit) = (chance.below(whole.len() as u64) as usize, chance.below(8));
            archive.change(start, |bytes| bytes[byte] ^= 1 << bit);
            let verified = verify(archive.path(), &["--deep"]);
            assert_eq!(verified.code, Some(65), "{name}: bit {bit} of byte {byte} of {start}: {verified:?}");
            fs::write(archive.file(start), whole).expect("written");
        }
    }
}

/// Of the header, its padding and the blocks.
#[test]
fn every_bit_of_a_small_file() {
    for (name, codec) in CODECS {
        let records = records(0..10);
        let bytes = bytes_of(&Archive::name(0), codec, &records, &ten_records(&records));
        let start = Offset::new(0).expect("legal");
        avro::verify(&bytes[..], start).expect("whole");
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let verified = avro::verify(&flipped[..], start);
            assert!(verified.is_err(), "{name}: bit {} of byte {}", bit % 8, bit / 8);
        }
    }
}
