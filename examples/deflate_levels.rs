//! Which deflate level files get by default: the fastest whose files are not larger than the original tool's.
//!
//! `cargo run --release --example deflate_levels` prints, for each data set, what the original tool makes of it
//! (three fields, blocks of 16,000 bytes, zlib level 6) and what each libdeflate level makes of it our way
//! (six fields, blocks of 64 KiB), without the headers of the files. Rates are of one thread, median of 5.

use kafka_store::avro::{BLOCK_RECORD_BYTES, Codec, Compressor, SegmentReader};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::record::{RecordFields, TimestampType, encode_bytes, encode_long, encode_record};
use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

/// A record as the data sets keep it: timestamp, key, value.
type Sample = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn main() -> Result<(), Box<dyn Error>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tree/sizes");
    let sets = [
        ("golden sizes-0 (JSON-like text)", golden_records(&golden.join("000000"), &[0, 184, 353, 538])?),
        ("golden sizes-1 (binary)", golden_records(&golden.join("000001"), &[0, 44, 63])?),
        ("generated: events of 1 KiB, words", text_events()),
        ("generated: events of 1 KiB, tokens", token_events()),
        ("generated: events of 100 B", short_events()),
        ("generated: metrics of 250 B", metrics()),
    ];
    let mut out = std::io::stdout().lock();
    for (name, records) in &sets {
        let original_bytes = original_size(records)?;
        writeln!(out, "{name}: {} records; the original's blocks: {original_bytes} bytes", records.len())?;
        for level in 1..=9 {
            let (bytes, rate) = our_size(records, Codec::Deflate { level });
            let ratio = bytes as f64 / original_bytes as f64;
            writeln!(out, "  level {level:2}: {bytes:9} bytes, {ratio:.4} of the original's, {rate:6.0} MB/s")?;
        }
    }
    Ok(())
}

fn golden_records(partition: &Path, starts: &[i64]) -> Result<Vec<Sample>, Box<dyn Error>> {
    let mut samples = Vec::new();
    for start in starts {
        let file = std::fs::File::open(partition.join(format!("{start:020}")))?;
        let mut reader = SegmentReader::new(file, Offset::new(*start).ok_or("not an offset")?)?;
        while let Some(block) = reader.next_block()? {
            let mut records = block.records();
            while let Some(record) = records.next_record()? {
                let fields = record.fields;
                samples.push((fields.timestamp, fields.key.map(<[u8]>::to_vec), fields.value.map(<[u8]>::to_vec)));
            }
        }
    }
    Ok(samples)
}

/// Chance that is the same in every run: Knuth's linear congruential generator.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Small numbers more often than large ones.
    fn skewed_below(&mut self, bound: u64) -> u64 {
        let bound = 1 + self.below(bound);
        self.below(bound)
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(b"0123456789abcdef"[self.below(16) as usize])).collect()
    }
}

fn generated(count: usize, mut value: impl FnMut(&mut Chance, u64) -> String) -> Vec<Sample> {
    let mut chance = Chance(1);
    let sample = |index: usize| {
        let user = chance.skewed_below(5_000);
        let key = (chance.below(5) > 0).then(|| format!("user-{user:05}").into_bytes());
        let timestamp = 1_478_570_870_012 + 13 * index as i64 + chance.below(50) as i64;
        (timestamp, key, Some(value(&mut chance, user).into_bytes()))
    };
    (0..count).map(sample).collect()
}

/// Events as services write them: random ids, skewed users, repeated names, words.
fn text_events() -> Vec<Sample> {
    let mut chance = Chance(2);
    let mut word = || (0..3 + chance.below(8)).map(|_| char::from(b'a' + (chance.below(26) as u8))).collect();
    let words: Vec<String> = (0..500).map(|_| word()).collect();
    generated(20_000, |chance, user| {
        let (id, path) = (chance.hex(32), &words[chance.below(40) as usize]);
        let mut value =
            format!("{{\"id\": \"{id}\", \"user\": \"user-{user:05}\", \"path\": \"/api/v1/{path}\", \"body\": \"");
        while value.len() < 1_000 {
            value.push_str(&words[chance.skewed_below(500) as usize]);
            value.push(' ');
        }
        value + "\"}"
    })
}

/// The same with a token that does not compress: as the measured runs of the original, to about half.
fn token_events() -> Vec<Sample> {
    generated(20_000, |chance, user| {
        let (id, token, ms) = (chance.hex(32), chance.hex(800), chance.below(3_000));
        format!(
            "{{\"id\": \"{id}\", \"user\": \"user-{user:05}\", \"ok\": true, \"token\": \"{token}\", \"elapsed_ms\": {ms}, \"kind\": \"session\"}}"
        )
    })
}

/// Short events: little beside an id.
fn short_events() -> Vec<Sample> {
    generated(200_000, |chance, user| {
        let (id, ms) = (chance.hex(32), chance.below(3_000));
        format!("{{\"id\": \"{id}\", \"user\": \"user-{user:05}\", \"ok\": true, \"ms\": {ms}}}")
    })
}

/// Metrics: long texts in which a few digits change.
fn metrics() -> Vec<Sample> {
    generated(60_000, |chance, user| {
        let (host, cpu, free) = (user % 40, chance.below(1000), chance.skewed_below(1 << 30));
        format!(
            "{{\"schema\": \"node-metrics/3\", \"host\": \"node-{host:03}.example.org\", \"labels\": {{\"zone\": \"b\", \"tier\": \"batch\"}}, \
             \"gauges\": {{\"cpu_permille\": {cpu}, \"memory_free_bytes\": {free}, \"disks\": 4, \"load\": {}.{:02}}}, \"healthy\": true}}",
            chance.skewed_below(8),
            chance.below(100)
        )
    })
}

fn original_size(records: &[Sample]) -> Result<usize, Box<dyn Error>> {
    const BLOCK_BYTES: usize = 16_000;
    let mut total = 0;
    let mut flush = |block: &mut Vec<u8>, count: &mut i64| -> std::io::Result<()> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(block)?;
        let stored_bytes = encoder.finish()?.len() + 3; // Three bytes of an Adler-32 follow the stream.
        let mut prefix = Vec::new();
        encode_long(*count, &mut prefix);
        encode_long(stored_bytes as i64, &mut prefix);
        total += prefix.len() + stored_bytes + 16;
        block.clear();
        *count = 0;
        Ok(())
    };
    let (mut block, mut count) = (Vec::new(), 0);
    for (timestamp, key, value) in records {
        encode_long(*timestamp, &mut block);
        for bytes in [key, value] {
            match bytes {
                None => block.push(0),
                Some(bytes) => {
                    block.push(2);
                    encode_bytes(bytes, &mut block);
                }
            }
        }
        count += 1;
        if block.len() >= BLOCK_BYTES {
            flush(&mut block, &mut count)?;
        }
    }
    if count > 0 {
        flush(&mut block, &mut count)?;
    }
    Ok(total)
}

/// The bytes of all blocks, and the megabytes of records a second.
fn our_size(records: &[Sample], codec: Codec) -> (usize, f64) {
    let mut blocks: Vec<(Vec<u8>, u64)> = vec![Default::default()];
    for (index, (timestamp, key, value)) in records.iter().enumerate() {
        let fields = RecordFields {
            timestamp: *timestamp,
            timestamp_type: TimestampType::CreateTime,
            offset: Offset::new(index as i64).unwrap_or_default(),
            key: key.as_deref(),
            value: value.as_deref(),
        };
        if blocks.last().is_some_and(|(bytes, _)| bytes.len() >= BLOCK_RECORD_BYTES) {
            blocks.push(Default::default());
        }
        if let Some((bytes, count)) = blocks.last_mut() {
            encode_record(&fields, std::iter::empty(), bytes);
            *count += 1;
        }
    }
    let record_bytes: usize = blocks.iter().map(|(bytes, _)| bytes.len()).sum();
    let mut compressor = Compressor::new();
    let mut rates = Vec::new();
    let mut total = 0;
    for _ in 0..5 {
        total = 0;
        let started = SystemTime::now();
        for (bytes, count) in &blocks {
            let stored_bytes = compressor.compress(codec, bytes).len();
            let mut prefix = Vec::new();
            encode_long(*count as i64, &mut prefix);
            encode_long(stored_bytes as i64, &mut prefix);
            total += prefix.len() + stored_bytes + 16;
        }
        let seconds = started.elapsed().map_or(f64::NAN, |elapsed| elapsed.as_secs_f64());
        rates.push(record_bytes as f64 / 1e6 / seconds);
    }
    rates.sort_by(f64::total_cmp);
    (total, rates[2])
}
