//! The schema of our files, and how the original tool's is recognised.

use serde_json::Value;

/// The schema of every file of format version 1, byte for byte.
///
/// The first three fields are the original tool's, so that its readers read our files.
pub const SCHEMA: &str = concat!(
    r#"{"name": "message", "type": "record", "fields": ["#,
    r#"{"name": "timestamp", "type": "long"}, "#,
    r#"{"name": "key", "type": ["null", "bytes"]}, "#,
    r#"{"name": "value", "type": ["null", "bytes"]}, "#,
    r#"{"name": "offset", "type": "long"}, "#,
    r#"{"name": "timestamp_type", "type": {"name": "timestamp_type", "type": "enum", "#,
    r#""symbols": ["NOT_AVAILABLE", "CREATE_TIME", "LOG_APPEND_TIME"]}}, "#,
    r#"{"name": "headers", "type": {"type": "array", "items": {"name": "header", "type": "record", "fields": ["#,
    r#"{"name": "key", "type": "string"}, "#,
    r#"{"name": "value", "type": ["null", "bytes"]}, "#,
    r#"{"name": "raw_key", "type": ["null", "bytes"]}]}}}]}"#
);

/// The schema of the original tool's files, as it spelled it.
pub const ORIGINAL_SCHEMA: &str = concat!(
    r#"{"name": "message", "type": "record", "fields": ["#,
    r#"{"name": "timestamp", "type": "long"}, "#,
    r#"{"name": "key", "type": ["null", "bytes"]}, "#,
    r#"{"name": "value", "type": ["null", "bytes"]}]}"#
);

/// Whether a schema is the original tool's, however its JSON is spaced and ordered.
///
/// The original let its Avro library write the schema out, and libraries differ in spelling.
pub(super) fn is_original(schema: &str) -> bool {
    let Ok(schema) = serde_json::from_str::<Value>(schema) else {
        return false;
    };
    let nullable_bytes = serde_json::json!(["null", "bytes"]);
    let expected = [("timestamp", Value::from("long")), ("key", nullable_bytes.clone()), ("value", nullable_bytes)];
    let Some(fields) = schema.get("fields").and_then(Value::as_array) else {
        return false;
    };
    schema.get("type") == Some(&Value::from("record"))
        && fields.len() == expected.len()
        && fields.iter().zip(&expected).all(|(field, (name, field_type))| {
            field.get("name") == Some(&Value::from(*name)) && field.get("type") == Some(field_type)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_schema_is_recognised_in_any_spelling() {
        assert!(is_original(ORIGINAL_SCHEMA));
        assert!(is_original(
            r#"{"type":"record","name":"message","fields":[{"type":"long","name":"timestamp"},
                {"name":"key","type":["null","bytes"]},{"name":"value","type":["null","bytes"]}]}"#
        ));
        for other in [SCHEMA, "", "7", "{}", r#""long""#, r#"{"type":"record","fields":[]}"#] {
            assert!(!is_original(other), "{other}");
        }
    }

    #[test]
    fn our_schema_is_json_and_begins_with_the_originals_fields() {
        let ours: Value = serde_json::from_str(SCHEMA).expect("JSON");
        let original: Value = serde_json::from_str(ORIGINAL_SCHEMA).expect("JSON");
        let fields = |schema: &Value| schema["fields"].as_array().cloned().expect("fields");
        assert_eq!(fields(&ours)[..3], fields(&original)[..]);
    }
}
