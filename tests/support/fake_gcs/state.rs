//! What the server knows: buckets with all generations, sessions, tokens, counts.

use super::answer::Refusal;
use super::clock::Clock;
use super::content::{Checksums, Content};
use super::faults::Faults;
use super::object::{ObjectRequest, StoredObject};
use super::request::Kind;
use super::session::Session;
use super::settings::{Protection, Settings};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use time::OffsetDateTime;

/// The server, shared by its connections and the test.
#[derive(Debug)]
pub(crate) struct Server {
    /// `http://127.0.0.1:PORT`
    pub(crate) base_url: String,
    state: Mutex<State>,
}

impl Server {
    pub(crate) fn new(base_url: String, buckets: &[&str]) -> Server {
        let buckets = buckets.iter().map(|bucket| ((*bucket).to_owned(), Bucket::default())).collect();
        Server { base_url, state: Mutex::new(State { buckets, ..State::default() }) }
    }

    /// A panic elsewhere must not hide what was seen.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) buckets: BTreeMap<String, Bucket>,
    /// By upload id.
    pub(crate) sessions: BTreeMap<String, Arc<Mutex<Session>>>,
    pub(crate) settings: Settings,
    pub(crate) faults: Faults,
    pub(crate) counts: Counts,
    /// What a client of ours must never do, in words.
    pub(crate) violations: Vec<String>,
    pub(crate) clock: Clock,
    /// What every request was and got, in the order of arrival.
    pub(crate) journal: Vec<Seen>,
    /// Tokens that are accepted, and until when.
    pub(crate) tokens: BTreeMap<String, Option<OffsetDateTime>>,
    pub(crate) tokens_issued: u64,
    /// How many answers of faults were given: their bodies take turns.
    pub(crate) fault_answers: usize,
    pub(crate) pages: u64,
    last_generation: i64,
    last_upload: u64,
}

/// How often and how much.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: BTreeMap<Kind, u64>,
    /// Bytes of all request bodies.
    pub(crate) bytes_received: u64,
    /// Bytes of objects in data PUTs that were received in an earlier data PUT of the session as well.
    pub(crate) bytes_sent_twice: u64,
    /// Bytes of objects that were sent to readers.
    pub(crate) media_bytes_sent: u64,
    pub(crate) connections: u64,
    /// Data PUTs that are being served, and how many there were at most at the same time.
    pub(crate) data_puts_now: u64,
    pub(crate) data_puts_at_most: u64,
}

/// A request, as the server has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    /// Of the object, where there is one.
    pub(crate) name: Option<String>,
    pub(crate) content_range: Option<String>,
    /// Who pays for it, if another does than the bucket's owner.
    pub(crate) user_project: Option<String>,
    /// `None` if no answer was given.
    pub(crate) status: Option<u16>,
}

impl Counts {
    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.requests.get(&kind).copied().unwrap_or(0)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// The objects that are there, in the order of the bytes of their names.
    pub(crate) live: BTreeMap<String, Arc<StoredObject>>,
    /// Every generation that ever was, in the order of creation.
    pub(crate) generations: Vec<Arc<StoredObject>>,
    /// When a name was last written to.
    last_writes: BTreeMap<String, OffsetDateTime>,
}

impl State {
    pub(crate) fn bucket(&self, name: &str) -> Result<&Bucket, Refusal> {
        self.buckets.get(name).ok_or_else(|| Refusal::not_found("The specified bucket does not exist."))
    }

    /// A session's identifier. Its URI spells the `~` as `%7E`: who does not use the URI verbatim is found out.
    pub(crate) fn next_upload_id(&mut self) -> String {
        self.last_upload += 1;
        let secret = self.clock.now().nanosecond();
        format!("AHmUCY{:05}-{secret:09x}_~{:x}", self.last_upload, self.last_upload * 0x9e37_79b9)
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// A client of ours writes create-only, always.
    pub(crate) fn watch_write(&mut self, request: &ObjectRequest) {
        if request.if_generation_match != Some(0) {
            self.violation(format!("a write to {:?} without ifGenerationMatch=0", request.name));
        }
        if request.content_encoding {
            self.violation(format!("a contentEncoding for {:?}", request.name));
        }
    }

    /// Whether a bearer token is good.
    pub(crate) fn accepts(&self, token: &str) -> bool {
        if let Some(issuer) = &self.settings.token_issuer {
            return super::auth::is_issued_by(token, issuer, self.clock.now());
        }
        self.tokens.get(token).is_some_and(|end| end.is_none_or(|end| self.clock.now() < end))
    }

    /// Whether an object may be created under the name as things are now.
    pub(crate) fn may_create(&self, request: &ObjectRequest) -> Result<(), Refusal> {
        let live = self.bucket(&request.bucket)?.live.get(&request.name);
        let wanted = request.if_generation_match;
        let precondition = match (wanted, live) {
            (None, _) | (Some(0), None) => Ok(()),
            (Some(wanted), Some(live)) if wanted == live.generation => Ok(()),
            _ => Err(Refusal::condition_not_met()),
        };
        let replacement = if live.is_some() { self.may_replace(request) } else { Ok(()) };
        if self.settings.forbidden_before_precondition {
            replacement.and(precondition)
        } else {
            precondition.and(replacement)
        }
    }

    fn may_replace(&self, request: &ObjectRequest) -> Result<(), Refusal> {
        let what = format!("{}/{}", request.bucket, request.name);
        match self.settings.protection {
            Some(Protection::Retention) => {
                let message = format!(
                    "Object '{what}' is subject to bucket's retention policy and cannot be deleted or overwritten."
                );
                return Err(Refusal::json(403, "retentionPolicyNotMet", message));
            }
            Some(Protection::Hold) => {
                let message =
                    format!("Object '{what}' is under active Event-Based hold and cannot be deleted or overwritten.");
                return Err(Refusal::json(403, "objectUnderActiveHold", message));
            }
            None => {}
        }
        if self.settings.permissions.delete {
            return Ok(());
        }
        Err(super::auth::lacks("storage.objects.delete", "object"))
    }

    /// Creates a generation, or says why not. Nothing has changed then.
    pub(crate) fn create(
        &mut self,
        request: &ObjectRequest,
        content: Content,
        checksums: Checksums,
    ) -> Result<Arc<StoredObject>, Refusal> {
        let now = self.clock.now();
        self.check_rate(request, now)?;
        self.may_create(request)?;
        if let Some(which) = request.declared.mismatch(&checksums) {
            let (given, computed) = match which {
                "MD5" => ("MD5 hash", checksums.md5_text()),
                _ => ("CRC32C", checksums.crc32c_text()),
            };
            let message = format!("Provided {given} doesn't match calculated {given} \"{computed}\".");
            return Err(Refusal::invalid(message));
        }
        Ok(self.put(request, content, checksums))
    }

    /// Creates a generation. The bucket must be there.
    pub(crate) fn put(&mut self, request: &ObjectRequest, content: Content, checksums: Checksums) -> Arc<StoredObject> {
        let now = self.clock.now();
        let object = self.stored(request, content, checksums, now);
        let bucket = self.buckets.get_mut(&request.bucket).expect("a bucket of this server");
        bucket.last_writes.insert(request.name.clone(), now);
        bucket.generations.push(Arc::clone(&object));
        bucket.live.insert(object.name.clone(), Arc::clone(&object));
        object
    }

    /// Creates a generation that is another one's copy. The bucket must be there.
    pub(crate) fn put_again(&mut self, bucket: &str, object: &StoredObject) {
        self.last_generation += 1;
        let object = Arc::new(StoredObject { generation: self.last_generation, ..object.clone() });
        let bucket = self.buckets.get_mut(bucket).expect("a bucket of this server");
        bucket.generations.push(Arc::clone(&object));
        bucket.live.insert(object.name.clone(), object);
    }

    fn check_rate(&self, request: &ObjectRequest, now: OffsetDateTime) -> Result<(), Refusal> {
        let last = self.bucket(&request.bucket)?.last_writes.get(&request.name);
        if !self.settings.one_write_a_second || last.is_none_or(|last| now - *last >= time::Duration::SECOND) {
            return Ok(());
        }
        let message = format!(
            "The object {}/{} exceeded the rate limit for object mutation operations (create, update, and delete). \
             Please reduce your request rate.",
            request.bucket, request.name
        );
        Err(Refusal::json(429, "rateLimitExceeded", message))
    }

    fn stored(
        &mut self,
        request: &ObjectRequest,
        content: Content,
        checksums: Checksums,
        now: OffsetDateTime,
    ) -> Arc<StoredObject> {
        // As the service's: microseconds, and never the same twice.
        let microseconds = i64::try_from(now.unix_timestamp_nanos() / 1000).expect("a time of this century");
        self.last_generation = microseconds.max(self.last_generation + 1);
        Arc::new(StoredObject {
            bucket: request.bucket.clone(),
            name: request.name.clone(),
            generation: self.last_generation,
            content,
            checksums,
            has_md5: true,
            content_type: request.content_type.clone().unwrap_or_else(|| "application/octet-stream".to_owned()),
            metadata: request.metadata.clone(),
            storage_class: request.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned()),
            kms_key: request.kms_key.clone(),
            custom_time: request.custom_time.clone(),
            created: now,
        })
    }
}
