//! What an answer means.

use super::super::{ObjectStat, StoreErrorKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use kafka_store_statecharts::failure::{Class, Port};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// An answer that came whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// What an answer means, by its status first: bodies may be text, HTML, or empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Done.
    Done,
    /// A session wants more.
    Incomplete,
    /// There is no such thing.
    NotFound,
    /// A session is over.
    Gone,
    /// The name is taken.
    PreconditionFailed,
    /// The range lies beyond the end.
    RangeNotSatisfiable,
    /// It is not allowed.
    Forbidden,
    /// What has the name is kept by a retention policy or a hold.
    Protected,
    /// The token does not count.
    Unauthorised,
    /// The bytes are not those that were declared.
    WrongChecksum,
    /// The request is wrong, and stays so.
    Refused,
    /// It may pass, and what was asked for may have happened.
    Unknown,
}

/// Why there is no usable answer. The reason holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) meaning: Meaning,
    pub(super) class: Class,
    pub(super) reason: String,
}

impl Trouble {
    pub(super) fn unknown(reason: impl Into<String>) -> Trouble {
        Trouble { meaning: Meaning::Unknown, class: Class::Other, reason: reason.into() }
    }

    /// The same, of a class.
    pub(super) fn of_sign(self, sign: &str) -> Trouble {
        Trouble { class: Class::of_signs(Port::Store, [sign]), ..self }
    }

    /// What it is to whoever called the store.
    pub(super) fn kind(&self) -> StoreErrorKind {
        match self.meaning {
            Meaning::Unknown | Meaning::Unauthorised => StoreErrorKind::Transient,
            _ => StoreErrorKind::Refused,
        }
    }
}

/// Headers and bodies may hold a session's address.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Answer {
    pub(super) fn meaning(&self) -> Meaning {
        match self.status.as_u16() {
            200..=299 => Meaning::Done,
            308 => Meaning::Incomplete,
            400..=403 | 412 if matches!(self.class(), Class::Key | Class::RequesterPays) => Meaning::Refused,
            404 => Meaning::NotFound,
            410 | 499 => Meaning::Gone,
            416 => Meaning::RangeNotSatisfiable,
            401 => Meaning::Unauthorised,
            403 if self.class() == Class::Throttled => Meaning::Unknown,
            403 if self.class() == Class::Protected => Meaning::Protected,
            403 => Meaning::Forbidden,
            412 => Meaning::PreconditionFailed,
            400 if self.is_about_checksums() => Meaning::WrongChecksum,
            408 | 409 | 429 | 500..=599 => Meaning::Unknown,
            400..=498 => Meaning::Refused,
            _ => Meaning::Unknown,
        }
    }

    pub(super) fn trouble(&self) -> Trouble {
        let status = self.status.as_u16();
        let words = self.words();
        let reason =
            if words.is_empty() { format!("it answered {status}") } else { format!("it answered {status}: {words}") };
        Trouble { meaning: self.meaning(), class: self.class(), reason }
    }

    /// What kind of failure it is: by the reasons that it gives, its words, and its status.
    fn class(&self) -> Class {
        let status = self.status.as_u16();
        let reasons = self.error_reasons();
        let words = self.words();
        let told = ["Cloud KMS", "requester pays"].into_iter().find(|told| {
            let (words, told) = (words.to_ascii_lowercase(), told.to_ascii_lowercase());
            (400..500).contains(&status) && words.contains(&told)
        });
        let number = status.to_string();
        let family = if status >= 500 { "5xx" } else { "4xx" };
        let signs = reasons.iter().map(String::as_str).chain(told).chain([number.as_str(), family]);
        Class::of_signs(Port::Store, signs)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; `None` if it is none, or was cut off.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// How many bytes a session says that it has; `None` if it does not say.
    pub(super) fn persisted_bytes(&self) -> Option<u64> {
        let last: u64 = self.header("range")?.strip_prefix("bytes=0-")?.trim().parse().ok()?;
        last.checked_add(1)
    }

    fn error_reasons(&self) -> Vec<String> {
        let Some(body) = self.json() else { return Vec::new() };
        let errors = body["error"]["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().filter_map(|error| error["reason"].as_str().map(str::to_owned)).collect()
    }

    /// The service has no reason of its own for a wrong checksum: it is "invalid", like many other things.
    fn is_about_checksums(&self) -> bool {
        let words = self.words().to_ascii_lowercase();
        ["crc32c", "md5", "checksum", "hash"].iter().any(|word| words.contains(word))
    }

    /// The service's own words, of any body, fit for one line.
    fn words(&self) -> String {
        const MOST: usize = 300;
        let text = match self.json().as_ref().and_then(|body| body["error"]["message"].as_str()) {
            Some(message) => message.to_owned(),
            None => String::from_utf8_lossy(&self.body).into_owned(),
        };
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
        // A session's address is as good as a key; no answer is known to repeat it, and none may.
        if line.contains("upload_id") { String::new() } else { line.trim().to_owned() }
    }
}

/// What an object's resource says of it. Numbers may come as texts.
pub(super) fn stat(resource: &Value) -> Option<ObjectStat> {
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let bytes = u64::try_from(number(&resource["size"])?).ok()?;
    let attributes: BTreeMap<String, String> = resource["metadata"]
        .as_object()
        .map(|all| all.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect())
        .unwrap_or_default();
    Some(ObjectStat {
        bytes,
        crc32c: resource["crc32c"].as_str().and_then(decode_crc32c),
        md5: resource["md5Hash"].as_str().and_then(|text| STANDARD.decode(text).ok()?.try_into().ok()),
        generation: number(&resource["generation"]),
        modified_ns: None,
        attributes,
    })
}

/// Four bytes, the highest first, in base64.
pub(super) fn encode_crc32c(crc32c: u32) -> String {
    STANDARD.encode(crc32c.to_be_bytes())
}

fn decode_crc32c(text: &str) -> Option<u32> {
    STANDARD.decode(text).ok()?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).expect("a status");
        Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn statuses_decide_and_bodies_only_tell_apart() {
        let limited = r#"{"error":{"code":403,"message":"slow down","errors":[{"reason":"rateLimitExceeded"}]}}"#;
        let forbidden = r#"{"error":{"code":403,"message":"no","errors":[{"reason":"forbidden"}]}}"#;
        let quota = r#"{"error":{"code":403,"message":"no","errors":[{"reason":"quotaExceeded"}]}}"#;
        let key = r#"{"error":{"code":403,"message":"Permission denied on Cloud KMS key. Please ensure ...","errors":[{"reason":"forbidden"}]}}"#;
        let pays = r#"{"error":{"code":400,"message":"Bucket is a requester pays bucket but no user project provided.","errors":[{"reason":"required"}]}}"#;
        let retained = r#"{"error":{"code":403,"message":"no","errors":[{"reason":"retentionPolicyNotMet"}]}}"#;
        let held = r#"{"error":{"code":403,"message":"no","errors":[{"reason":"objectUnderActiveHold"}]}}"#;
        let wrong =
            r#"{"error":{"message":"Provided CRC32C \"AAAAAA==\" doesn't match calculated CRC32C \"BBBBBB==\"."}}"#;
        for (status, body, meaning) in [
            (200, "", Meaning::Done),
            (308, "", Meaning::Incomplete),
            (403, limited, Meaning::Unknown),
            (403, forbidden, Meaning::Forbidden),
            (403, quota, Meaning::Unknown),
            (403, key, Meaning::Refused),
            (400, pays, Meaning::Refused),
            (407, "", Meaning::Refused),
            (409, "", Meaning::Unknown),
            (403, "<html>", Meaning::Forbidden),
            (403, retained, Meaning::Protected),
            (403, held, Meaning::Protected),
            (400, wrong, Meaning::WrongChecksum),
            (400, "bad range", Meaning::Refused),
            (410, "", Meaning::Gone),
            (499, "", Meaning::Gone),
            (503, "Invalid request.", Meaning::Unknown),
            (429, "", Meaning::Unknown),
            (302, "", Meaning::Unknown),
        ] {
            assert_eq!(answer(status, body).meaning(), meaning, "{status} {body}");
        }
        assert_eq!(answer(403, forbidden).trouble().reason, "it answered 403: no");
        for (status, body, class) in [
            (403, forbidden, Class::Forbidden),
            (403, quota, Class::Throttled),
            (403, limited, Class::Throttled),
            (403, retained, Class::Protected),
            (403, key, Class::Key),
            (400, pays, Class::RequesterPays),
            (400, "bad range", Class::Refused),
            (418, "", Class::Refused),
            (401, "", Class::Login),
            (404, "", Class::Absent),
            (407, "", Class::ProxyLogin),
            (408, "", Class::Unreachable),
            (409, "", Class::Unavailable),
            (429, "", Class::Throttled),
            (507, "", Class::Unavailable),
        ] {
            assert_eq!(answer(status, body).trouble().class, class, "{status} {body}");
        }
        assert_eq!(answer(500, "see https://x/?upload_id=abc").trouble().reason, "it answered 500");
    }

    #[test]
    fn resources_are_read_as_they_come() {
        let resource = json!({"size": "12", "generation": "1700000000000000", "crc32c": "yZRlqg==",
            "md5Hash": "XUFAKrxLKna5cZ2REBfFkg==", "metadata": {"count": "5"}});
        let stat = stat(&resource).expect("it says its size");
        assert_eq!((stat.bytes, stat.generation), (12, Some(1_700_000_000_000_000)));
        assert_eq!(stat.crc32c, Some(0xc994_65aa));
        assert_eq!(stat.crc32c.map(encode_crc32c).as_deref(), Some("yZRlqg=="));
        assert!(stat.md5.is_some_and(|md5| md5[0] == 0x5d) && stat.attributes["count"] == "5");
        assert_eq!(super::stat(&json!({"name": "x"})), None);
    }
}
