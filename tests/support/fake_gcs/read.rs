//! Reading objects and buckets.

use super::answer::{Answer, AnswerBody, Refusal, json_of, set, with_body};
use super::auth::{Permission, authorize};
use super::fields::Selection;
use super::object::StoredObject;
use super::request::Call;
use super::state::Server;
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;

/// The resource of an object.
pub(crate) fn metadata(server: &Server, call: &Call, bucket: &str, name: &str) -> Result<Answer, Refusal> {
    authorize(server, call, Permission::Get)?;
    let object = find(server, call, bucket, name)?;
    let selection = Selection::of(call)?;
    Ok(Answer::Response(json_of(&selection.apply(object.resource(&server.base_url)))))
}

/// The bytes of an object.
pub(crate) fn media(server: &Server, call: &Call, bucket: &str, name: &str) -> Result<Answer, Refusal> {
    authorize(server, call, Permission::Get)?;
    let object = find(server, call, bucket, name)?;
    let length = object.content.length();
    let range = match call.header("range").and_then(parse_range) {
        None => None,
        Some(asked) => match asked.within(length) {
            Some(range) => Some(range),
            None => {
                let refusal = Refusal::text(416, "The requested range cannot be satisfied.");
                let mut response = refusal.response();
                set(&mut response, "content-range", &format!("bytes */{length}"));
                return Ok(Answer::Response(response));
            }
        },
    };
    let sent = range.clone().unwrap_or(0..length);
    let mut response = with_body(if range.is_some() { 206 } else { 200 }, AnswerBody::of(object.content.slice(sent)));
    if let Some(range) = range {
        set(&mut response, "content-range", &format!("bytes {}-{}/{length}", range.start, range.end - 1));
    }
    set(&mut response, "content-type", &object.content_type);
    set(&mut response, "x-goog-hash", &object.hash_header());
    set(&mut response, "x-goog-generation", &object.generation.to_string());
    set(&mut response, "x-goog-metageneration", "1");
    set(&mut response, "x-goog-storage-class", &object.storage_class);
    set(&mut response, "x-goog-stored-content-length", &length.to_string());
    set(&mut response, "x-goog-stored-content-encoding", "identity");
    set(&mut response, "etag", &object.etag());
    Ok(Answer::Response(response))
}

/// The resource of a bucket.
pub(crate) fn bucket(server: &Server, call: &Call, bucket: &str) -> Result<Answer, Refusal> {
    authorize(server, call, Permission::GetBucket)?;
    let state = server.lock();
    state.bucket(bucket)?;
    let resource = json!({
        "kind": "storage#bucket",
        "id": bucket,
        "name": bucket,
        "location": "EUROPE-WEST3",
        "locationType": "region",
        "storageClass": "STANDARD",
        "metageneration": "1",
        "versioning": { "enabled": state.settings.versioning },
        "iamConfiguration": { "uniformBucketLevelAccess": { "enabled": state.settings.uniform_access } },
    });
    Ok(Answer::Response(json_of(&Selection::of(call)?.apply(resource))))
}

fn find(server: &Server, call: &Call, bucket: &str, name: &str) -> Result<Arc<StoredObject>, Refusal> {
    let state = server.lock();
    let versioning = state.settings.versioning;
    let bucket = state.bucket(bucket)?;
    let live = bucket.live.get(name);
    let found = match call.number("generation")? {
        None => live,
        Some(generation) => {
            let is_it = |object: &&Arc<StoredObject>| object.name == name && object.generation == generation;
            live.filter(|live| is_it(live)).or_else(|| bucket.generations.iter().filter(|_| versioning).find(is_it))
        }
    };
    let object = found.ok_or_else(|| Refusal::not_found(format!("No such object: {}/{name}", call_bucket(call))))?;
    match call.number("ifGenerationMatch")? {
        Some(wanted) if wanted != object.generation => Err(Refusal::condition_not_met()),
        _ => Ok(Arc::clone(object)),
    }
}

fn call_bucket(call: &Call) -> &str {
    call.target.split('/').skip_while(|part| *part != "b").nth(1).unwrap_or_default()
}

/// A `Range` of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

impl Asked {
    fn within(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Asked::From(first) => first..length,
            Asked::Between(first, last) => first..length.min(last.saturating_add(1)),
            Asked::Last(bytes) => length.saturating_sub(bytes)..length,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// What is no single range is ignored, as HTTP wants it.
fn parse_range(text: &str) -> Option<Asked> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    match (first, last) {
        ("", last) => Some(Asked::Last(last.parse().ok()?)),
        (first, "") => Some(Asked::From(first.parse().ok()?)),
        (first, last) => {
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(Asked::Between(first, last))
        }
    }
}
