//! Reading an object: streamed, pinned to its generation, gone on with after a break, and checked at its end.

use super::answer::{Answer, Meaning, Trouble, stat};
use super::bucket::Bucket;
use super::client::{Call, unreached};
use super::place::encoded;
use super::runtime::runtime;
use crate::store::ObjectStat;
use bytes::Bytes;
use http::header::RANGE;
use kafka_store_statecharts::failure::Class;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

/// What is asked of an object's resource.
const FIELDS: &str = "name,size,crc32c,md5Hash,generation,metadata";

impl Bucket {
    /// What the store says of an object, if it exists.
    pub(super) async fn stat(&self, object: &str) -> Result<Option<ObjectStat>, Trouble> {
        let answer = self.client.ask(&self.stat_call(object)).await?;
        read_stat(&answer)
    }

    /// As [`Bucket::stat`], asked once.
    pub(super) async fn stat_once(&self, object: &str) -> Result<Option<ObjectStat>, Trouble> {
        let answer = self.client.call(&self.stat_call(object)).await?;
        read_stat(&answer)
    }

    fn stat_call(&self, object: &str) -> Call {
        Call::get(format!("{}?fields={}", self.object_path(object), encoded(FIELDS)))
    }

    fn object_path(&self, object: &str) -> String {
        format!("/storage/v1/b/{}/o/{}", encoded(&self.place.bucket), encoded(object))
    }

    /// The first bytes of an object, at most `length`, if it exists.
    pub(super) async fn front(&self, object: &str, length: u64) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(last) = length.checked_sub(1) else { return Ok(self.stat(object).await?.map(|_| Vec::new())) };
        let call =
            Call::get(format!("{}?alt=media", self.object_path(object))).header(RANGE, format!("bytes=0-{last}"));
        let mut failures = 0;
        loop {
            // Not by `ask`: a server that does not know ranges would send all of it.
            let trouble = match self.front_once(&call, length).await {
                Ok(front) => return Ok(front),
                Err(trouble) if matches!(trouble.meaning, Meaning::Unknown | Meaning::Unauthorised) => trouble,
                Err(trouble) => return Err(trouble),
            };
            self.client.before_retry(&mut failures, trouble).await?;
        }
    }

    async fn front_once(&self, call: &Call, length: u64) -> Result<Option<Vec<u8>>, Trouble> {
        let mut response = self.client.start(call).await?;
        match response.status().as_u16() {
            200 | 206 => {}
            404 => return Ok(None),
            416 => return Ok(Some(Vec::new())),
            _ => return Err(self.client.refused(response).await),
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let mut front = Vec::new();
        while front.len() < length
            && let Some(chunk) = self.client.timed(response.chunk()).await?.map_err(unreached)?
        {
            front.extend_from_slice(&chunk);
        }
        front.truncate(length);
        Ok(Some(front))
    }
}

fn read_stat(answer: &Answer) -> Result<Option<ObjectStat>, Trouble> {
    match answer.meaning() {
        Meaning::Done => answer
            .json()
            .and_then(|resource| stat(&resource))
            .map(Some)
            .ok_or_else(|| Trouble::unknown("what it says of the object cannot be read")),
        Meaning::NotFound => Ok(None),
        _ => Err(answer.trouble()),
    }
}

/// The bytes of one object from the front.
///
/// A break is healed by another request for the rest, of the same generation. The checksum is compared when the last
/// byte has been given: what is wrong is an error then, of the kind [`io::ErrorKind::InvalidData`].
pub(super) struct ObjectReader {
    bucket: Arc<Bucket>,
    object: String,
    stat: ObjectStat,
    response: Option<reqwest::Response>,
    chunk: Bytes,
    /// How many bytes have come.
    position: u64,
    crc32c: u32,
    failures: u32,
}

impl ObjectReader {
    pub(super) fn new(bucket: Arc<Bucket>, object: String, stat: ObjectStat) -> ObjectReader {
        let (response, chunk) = (None, Bytes::new());
        ObjectReader { bucket, object, stat, response, chunk, position: 0, crc32c: 0, failures: 0 }
    }

    /// The next piece; empty at the end.
    async fn next_chunk(&mut self) -> Result<Bytes, Trouble> {
        loop {
            if self.position >= self.stat.bytes {
                self.response = None;
                return Ok(Bytes::new());
            }
            match self.try_next().await {
                Ok(chunk) => {
                    self.failures = 0;
                    return Ok(chunk);
                }
                Err(trouble) if matches!(trouble.meaning, Meaning::Unknown | Meaning::Unauthorised) => {
                    self.response = None;
                    self.bucket.client.before_retry(&mut self.failures, trouble).await?;
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    async fn try_next(&mut self) -> Result<Bytes, Trouble> {
        let client = &self.bucket.client;
        let response = match &mut self.response {
            Some(response) => response,
            none => none.insert(self.bucket.media(&self.object, self.stat.generation, self.position).await?),
        };
        let rest = self.stat.bytes - self.position;
        match client.timed(response.chunk()).await?.map_err(unreached)? {
            Some(chunk) if chunk.is_empty() => Err(Trouble::unknown("the object's bytes ended early")),
            Some(mut chunk) => {
                chunk.truncate(usize::try_from(rest).unwrap_or(usize::MAX));
                Ok(chunk)
            }
            None => Err(Trouble::unknown("the object's bytes ended early")),
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.stat.crc32c {
            Some(crc32c) if crc32c != self.crc32c => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} came with the CRC-32C {:08x}, and the store says {crc32c:08x}",
                    self.bucket.location_of(&self.object),
                    self.crc32c
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl Bucket {
    /// The bytes of an object from a position on.
    async fn media(&self, object: &str, generation: Option<i64>, from: u64) -> Result<reqwest::Response, Trouble> {
        let mut path = format!("{}?alt=media", self.object_path(object));
        if let Some(generation) = generation {
            path.push_str(&format!("&generation={generation}"));
        }
        let mut call = Call::get(path);
        if from > 0 {
            call = call.header(RANGE, format!("bytes={from}-"));
        }
        let response = self.client.start(&call).await?;
        match (response.status().as_u16(), from) {
            (200, 0) => Ok(response),
            (206, _) if starts_at(&response, from) => Ok(response),
            (200 | 206, _) => Err(Trouble {
                meaning: Meaning::Refused,
                class: Class::Refused,
                reason: "it sends another range".to_owned(),
            }),
            _ => Err(self.client.refused(response).await),
        }
    }
}

fn starts_at(response: &reqwest::Response, from: u64) -> bool {
    let range = response.headers().get("content-range").and_then(|range| range.to_str().ok());
    let first = range.and_then(|range| range.strip_prefix("bytes ")).and_then(|range| range.split('-').next());
    first.and_then(|first| first.parse().ok()).is_some_and(|first: u64| first == from)
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && !buffer.is_empty() {
            let was_complete = self.position >= self.stat.bytes;
            self.chunk = runtime().block_on(self.next_chunk()).map_err(|trouble| {
                io::Error::other(format!("{}: {}", self.bucket.location_of(&self.object), trouble.reason))
            })?;
            self.position += self.chunk.len() as u64;
            self.crc32c = crc32c::crc32c_append(self.crc32c, &self.chunk);
            if self.position >= self.stat.bytes && !was_complete {
                self.check()?;
            }
        }
        let count = self.chunk.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}

impl fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, stat, position, .. } = self;
        f.debug_struct("ObjectReader").field("object", object).field("stat", stat).field("position", position).finish()
    }
}
