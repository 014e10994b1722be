//! Listings: strongly consistent, in the order of the bytes of the names, page by page.

use super::answer::{Answer, Refusal, json_of};
use super::auth::{Permission, authorize};
use super::fields::Selection;
use super::object::StoredObject;
use super::request::Call;
use super::state::{Bucket, Server};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::ops::Bound;

const PARAMETERS: [&str; 9] =
    ["prefix", "delimiter", "startOffset", "endOffset", "maxResults", "pageToken", "fields", "alt", "prettyPrint"];

/// What a client asks for.
#[derive(Debug)]
struct Listing<'a> {
    prefix: &'a str,
    delimiter: Option<&'a str>,
    start: &'a str,
    end: Option<&'a str>,
}

/// One line of a listing.
enum Entry<'a> {
    Object(&'a StoredObject),
    /// All names that begin so.
    Prefix(String),
}

impl Entry<'_> {
    fn name(&self) -> &str {
        match self {
            Entry::Object(object) => &object.name,
            Entry::Prefix(prefix) => prefix,
        }
    }
}

pub(crate) fn list(server: &Server, call: &Call, bucket: &str) -> Result<Answer, Refusal> {
    authorize(server, call, Permission::List)?;
    if let Some(unknown) = call.query.names().find(|name| !PARAMETERS.contains(name)) {
        return Err(Refusal::invalid(format!("{unknown} is not known to this server")));
    }
    let listing = Listing {
        prefix: call.query.get("prefix").unwrap_or_default(),
        delimiter: call.query.get("delimiter").filter(|delimiter| !delimiter.is_empty()),
        start: call.query.get("startOffset").unwrap_or_default(),
        end: call.query.get("endOffset").filter(|end| !end.is_empty()),
    };
    let wanted = match call.number("maxResults")? {
        None => 1000,
        Some(count) => usize::try_from(count)
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(|| Refusal::invalid("Invalid value for: maxResults"))?,
    };
    let after = call.query.get("pageToken").map(|token| listing.read_token(token)).transpose()?;
    let selection = Selection::of(call)?;

    let mut state = server.lock();
    state.pages += 1;
    let is_empty_page = state.settings.empty_pages && state.pages % 2 == 1;
    let limit = if is_empty_page { 0 } else { wanted.min(state.settings.page_limit).min(1000) };
    let mut entries = listing.entries(state.bucket(bucket)?, after.as_deref());
    let has_more = entries.len() > limit;
    entries.truncate(limit);

    let mut page = json!({ "kind": "storage#objects" });
    if has_more {
        let last = entries.last().map(|entry| entry.name().to_owned()).or(after).unwrap_or_default();
        page["nextPageToken"] = json!(listing.token(&last));
    }
    let (mut items, mut prefixes) = (Vec::new(), Vec::new());
    for entry in &entries {
        match entry {
            Entry::Object(object) => items.push(object.resource(&server.base_url)),
            Entry::Prefix(prefix) => prefixes.push(json!(prefix)),
        }
    }
    // What is empty is not there at all.
    for (name, values) in [("prefixes", prefixes), ("items", items)] {
        if !values.is_empty() {
            page[name] = Value::Array(values);
        }
    }
    Ok(Answer::Response(json_of(&selection.apply(page))))
}

impl Listing<'_> {
    /// The lines after the last one of the page before.
    fn entries<'b>(&self, bucket: &'b Bucket, after: Option<&str>) -> Vec<Entry<'b>> {
        let mut entries: Vec<Entry<'b>> = Vec::new();
        let first = self.start.max(self.prefix);
        for (name, object) in bucket.live.range::<str, _>((Bound::Included(first), Bound::Unbounded)) {
            if !name.starts_with(self.prefix) || self.end.is_some_and(|end| name.as_str() >= end) {
                break;
            }
            let entry = self.entry(name, object);
            let is_new = entries.last().is_none_or(|last| last.name() != entry.name());
            if is_new && after.is_none_or(|after| entry.name() > after) {
                entries.push(entry);
            }
        }
        entries
    }

    fn entry<'b>(&self, name: &str, object: &'b StoredObject) -> Entry<'b> {
        let rest = &name[self.prefix.len()..];
        match self.delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len())) {
            Some(end) => Entry::Prefix(name[..self.prefix.len() + end].to_owned()),
            None => Entry::Object(object),
        }
    }

    /// A token is of this listing alone: with other parameters it is refused.
    fn token(&self, last: &str) -> String {
        STANDARD.encode(format!("{:08x}{last}", crc32c::crc32c(format!("{self:?}").as_bytes())))
    }

    fn read_token(&self, token: &str) -> Result<String, Refusal> {
        let bytes = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let last = bytes.and_then(|text| text.get(8..).map(str::to_owned));
        last.filter(|last| self.token(last) == token).ok_or_else(|| Refusal::invalid("Invalid value for: pageToken"))
    }
}
