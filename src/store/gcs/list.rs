//! Listing: page by page, in the order of names.

use super::answer::{Meaning, Trouble};
use super::bucket::Bucket;
use super::client::Call;
use super::place::{Place, encoded};
use serde_json::Value;

/// Names in a page where one of them will do.
const FEW: u32 = 10;

/// What a listing asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Listing<'a> {
    /// What all names begin with.
    pub(super) prefix: &'a str,
    /// Names that have a slash behind the prefix come as folders.
    pub(super) by_folder: bool,
    /// Names before this one are left out.
    pub(super) from: Option<&'a str>,
    /// Names in one page, at most; `None` for as many as the store gives.
    pub(super) page_size: Option<u32>,
    /// With what the store says of each object.
    pub(super) with_stats: bool,
}

/// What a listing has found.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Objects: their resources.
    pub(super) objects: Vec<Value>,
    /// Folders: whole names, with the slash at the end.
    pub(super) folders: Vec<String>,
}

impl Bucket {
    pub(super) async fn list(&self, listing: Listing<'_>) -> Result<Listed, Trouble> {
        let mut listed = Listed::default();
        let mut page_token: Option<String> = None;
        loop {
            let page = self.page(listing, page_token.as_deref()).await?;
            if let Some(items) = page["items"].as_array() {
                listed.objects.extend(items.iter().cloned());
            }
            if let Some(folders) = page["prefixes"].as_array() {
                listed.folders.extend(folders.iter().filter_map(|folder| folder.as_str().map(str::to_owned)));
            }
            match page["nextPageToken"].as_str() {
                Some(token) if !token.is_empty() => page_token = Some(token.to_owned()),
                _ => return Ok(listed),
            }
        }
    }

    /// Reports whether there is an object whose name is `wanted`. Asks for no more than a few names, unless all of these are
    /// others.
    pub(super) async fn has_any(&self, listing: Listing<'_>, wanted: impl Fn(&str) -> bool) -> Result<bool, Trouble> {
        let mut page_token: Option<String> = None;
        let mut page_size = Some(FEW);
        loop {
            let page = self.page(Listing { page_size, ..listing }, page_token.as_deref()).await?;
            let names = page["items"].as_array().into_iter().flatten().filter_map(|item| item["name"].as_str());
            if names.into_iter().any(&wanted) {
                return Ok(true);
            }
            match page["nextPageToken"].as_str() {
                Some(token) if !token.is_empty() => page_token = Some(token.to_owned()),
                _ => return Ok(false),
            }
            page_size = None;
        }
    }

    async fn page(&self, listing: Listing<'_>, page_token: Option<&str>) -> Result<Value, Trouble> {
        let items =
            if listing.with_stats { "items(name,size,crc32c,md5Hash,generation,metadata)" } else { "items(name)" };
        let fields = encoded(&format!("nextPageToken,prefixes,{items}"));
        let Place { bucket, .. } = &self.place;
        let mut path =
            format!("/storage/v1/b/{}/o?prefix={}&fields={fields}", encoded(bucket), encoded(listing.prefix));
        if listing.by_folder {
            path.push_str("&delimiter=%2F");
        }
        if let Some(size) = listing.page_size {
            path.push_str(&format!("&maxResults={size}"));
        }
        if let Some(from) = listing.from {
            path.push_str(&format!("&startOffset={}", encoded(from)));
        }
        if let Some(token) = page_token {
            path.push_str(&format!("&pageToken={}", encoded(token)));
        }
        let answer = self.client.ask(&Call::get(path)).await?;
        match answer.meaning() {
            Meaning::Done => answer.json().ok_or_else(|| Trouble::unknown("its listing cannot be read")),
            _ => Err(answer.trouble()),
        }
    }
}
