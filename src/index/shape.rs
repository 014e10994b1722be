//! What the tables look like, as the server describes them.

use super::error::IndexResult;
use mysql::Conn;
use mysql::prelude::Queryable;
use std::collections::BTreeMap;

/// The table of segments, named as the original tool names it.
pub(super) const TABLE: &str = "kafka_store";
/// Whose segments they are.
pub(super) const CLUSTER_TABLE: &str = "kafka_store_cluster";

/// The columns of the original tool: name, type, length of a text where it matters.
const ORIGINAL: [(&str, &str); 7] = [
    ("topic", "varchar"),
    ("partition", "int"),
    ("startOffset", "bigint"),
    ("finalOffset", "bigint"),
    ("byteSize", "bigint"),
    ("md5Hash", "varchar"),
    ("time", "datetime"),
];

/// The columns that the second migration adds.
const ADDED: [(&str, &str); 15] = [
    ("lineage", "int unsigned"),
    ("recordCount", "bigint"),
    ("firstTimestamp", "bigint"),
    ("minTimestamp", "bigint"),
    ("maxTimestamp", "bigint"),
    ("maxTimestampSoFar", "bigint"),
    ("invisibleCount", "bigint"),
    ("gaps", "mediumtext"),
    ("contentHash", "varchar"),
    ("crc32c", "int unsigned"),
    ("objectUrl", "text"),
    ("generation", "bigint"),
    ("sealReason", "varchar"),
    ("topicId", "varchar"),
    ("writer", "varchar"),
];

/// What the table of segments is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// It is not there.
    Absent,
    /// The original tool's.
    Original,
    /// As the migrations leave it.
    Wide,
    /// Something else: in words, what differs.
    Unknown(String),
}

/// Looks at the table of segments.
pub(super) fn shape(connection: &mut Conn, database: &str) -> IndexResult<Shape> {
    let columns = columns(connection, database)?;
    if columns.is_empty() {
        return Ok(Shape::Absent);
    }
    let keys = primary_key(connection, database)?;
    let is_wide = columns.contains_key("lineage");
    let expected: Vec<(&str, &str)> =
        if is_wide { ORIGINAL.into_iter().chain(ADDED).collect() } else { ORIGINAL.into() };
    for (name, kind) in &expected {
        match columns.get(*name) {
            None => return Ok(Shape::Unknown(format!("{TABLE} has no column {name}"))),
            Some(other) if !other.is(kind) => {
                return Ok(Shape::Unknown(format!("{TABLE}.{name} is {}, and should be {kind}", other.kind)));
            }
            Some(_) => {}
        }
    }
    // A column of somebody else's is none of our business, if rows can be written without it.
    let foreign = columns
        .iter()
        .find(|(name, column)| column.must_be_given && !expected.iter().any(|(expected, _)| expected == name));
    if let Some((name, _)) = foreign {
        return Ok(Shape::Unknown(format!("{TABLE} has a column {name} that every row must fill")));
    }
    let wanted: &[&str] = if is_wide {
        &["topic", "partition", "lineage", "startOffset"]
    } else {
        &["topic", "partition", "startOffset"]
    };
    if keys != wanted {
        let (keys, wanted) = (keys.join(", "), wanted.join(", "));
        return Ok(Shape::Unknown(format!("the primary key of {TABLE} is ({keys}), and should be ({wanted})")));
    }
    let topic = &columns["topic"];
    if is_wide && (topic.length != Some(249) || topic.collation.as_deref() != Some("ascii_bin")) {
        let reason = format!("{TABLE}.topic is not varchar(249) with the collation ascii_bin");
        return Ok(Shape::Unknown(reason));
    }
    Ok(if is_wide { Shape::Wide } else { Shape::Original })
}

/// Whether a table of this name exists.
pub(super) fn has_table(connection: &mut Conn, database: &str, table: &str) -> IndexResult<bool> {
    let query = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
    let found: Option<u8> = connection.exec_first(query, (database, table))?;
    Ok(found.is_some())
}

/// What the server says of a column.
#[derive(Debug)]
struct Column {
    /// As in `int unsigned`; MariaDB's and older servers' display width is left out.
    kind: String,
    length: Option<u64>,
    collation: Option<String>,
    must_be_given: bool,
}

impl Column {
    fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }
}

fn columns(connection: &mut Conn, database: &str) -> IndexResult<BTreeMap<String, Column>> {
    let query = "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_MAXIMUM_LENGTH, COLLATION_NAME, IS_NULLABLE, \
                 COLUMN_DEFAULT IS NOT NULL, EXTRA FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
    type Described = (String, String, String, Option<u64>, Option<String>, String, bool, String);
    let described: Vec<Described> = connection.exec(query, (database, TABLE))?;
    let column = |(name, data_type, whole, length, collation, nullable, has_default, extra): Described| {
        let unsigned = if whole.to_ascii_lowercase().contains("unsigned") { " unsigned" } else { "" };
        let kind = format!("{}{unsigned}", data_type.to_ascii_lowercase());
        let is_filled = nullable == "YES" || has_default || !extra.is_empty();
        (name, Column { kind, length, collation, must_be_given: !is_filled })
    };
    Ok(described.into_iter().map(column).collect())
}

fn primary_key(connection: &mut Conn, database: &str) -> IndexResult<Vec<String>> {
    let query = "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
                 AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX";
    Ok(connection.exec(query, (database, TABLE))?)
}
