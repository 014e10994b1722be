//! Records as tests produce them, find them in a log, and find them in an archive.

/// A record as it is produced.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// 0 lets librdkafka's producer take its clock: not what a test wants.
    pub(crate) timestamp: i64,
    /// librdkafka's producer takes only names that are UTF-8.
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A record in a log or an archive.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) offset: i64,
    /// As the format's schema has it.
    pub(crate) timestamp_type: String,
    pub(crate) record: Record,
}

/// A morning in November 2023.
pub(crate) const MORNING_MS: i64 = 1_700_000_000_000;

/// A record without headers.
pub(crate) fn record(key: Option<&[u8]>, value: Option<&[u8]>, timestamp: i64) -> Record {
    Record { key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec), timestamp, headers: Vec::new() }
}

/// Plain records, told apart by their numbers, a tenth of a second apart from `MORNING_MS` on.
pub(crate) fn numbered(numbers: std::ops::Range<i64>) -> Vec<Record> {
    numbered_from(MORNING_MS, numbers)
}

/// The same with other times.
pub(crate) fn numbered_from(start_ms: i64, numbers: std::ops::Range<i64>) -> Vec<Record> {
    numbers
        .map(|number| {
            let value = format!("{{\"number\": {number}, \"text\": \"some text that makes it longer\"}}");
            record(Some(format!("key {number}").as_bytes()), Some(value.as_bytes()), start_ms + number * 100)
        })
        .collect()
}

/// Records as they lie in a log without gaps, from an offset on.
pub(crate) fn logged_from(offset: i64, records: &[Record]) -> Vec<Logged> {
    let at = |(record, offset): (&Record, i64)| Logged {
        offset,
        timestamp_type: "CREATE_TIME".to_owned(),
        record: record.clone(),
    };
    records.iter().zip(offset..).map(at).collect()
}

/// Compares without printing megabytes: the first difference alone is told.
#[track_caller]
pub(crate) fn assert_same<T: PartialEq + std::fmt::Debug>(what: &str, found: &[T], expected: &[T]) {
    let different = found.iter().zip(expected).position(|(found, expected)| found != expected);
    if let Some(index) = different {
        panic!("{what}: number {index} differs:\n   found {:?}\nexpected {:?}", found[index], expected[index]);
    }
    assert_eq!(found.len(), expected.len(), "{what}: so many records were found (left) and expected (right)");
}

/// The front of long bytes.
struct Short<'a>(Option<&'a [u8]>);

impl std::fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("null"),
            Some(bytes) if bytes.len() <= 80 => write!(f, "\"{}\"", bytes.escape_ascii()),
            Some(bytes) => write!(f, "\"{}\"… ({} bytes)", bytes[..80].escape_ascii(), bytes.len()),
        }
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let header = |(name, value): &'_ (Vec<u8>, Option<Vec<u8>>)| {
            format!("{:?}: {:?}", Short(Some(name)), Short(value.as_deref()))
        };
        let headers: Vec<String> = self.headers.iter().take(5).map(header).collect();
        write!(f, "{:?} = {:?} at {}", Short(self.key.as_deref()), Short(self.value.as_deref()), self.timestamp)?;
        write!(f, ", {} headers: {}", self.headers.len(), headers.join(", "))
    }
}

impl std::fmt::Debug for Logged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?} ({})", self.offset, self.record, self.timestamp_type)
    }
}
