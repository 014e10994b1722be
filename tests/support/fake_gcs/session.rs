//! A resumable session: what it has, and what may become of it. No IO.

use super::answer::Refusal;
use super::content::{Content, Digests};
use super::object::{ObjectRequest, StoredObject};
use super::state::State;
use hyper::body::Bytes;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// What is persisted of an upload that is not whole, and the chunks before the last, are multiples of it.
pub(crate) const QUANTUM: u64 = 256 * 1024;

/// After it a session is forgotten.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// A resumable session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Path and query of its URI: a client must use them verbatim.
    pub(crate) target: String,
    pub(crate) request: ObjectRequest,
    /// `X-Upload-Content-Length`.
    pub(crate) declared_length: Option<u64>,
    /// What a `Content-Range` has said.
    pub(crate) total: Option<u64>,
    pub(crate) opened: OffsetDateTime,
    pub(crate) fate: Fate,
    content: Content,
    digests: Digests,
    /// The end of the bytes that ever came, persisted or not.
    received_to: u64,
    /// Bytes that came, those that came again included.
    pub(crate) received: u64,
    pub(crate) received_twice: u64,
    /// The end of the bytes that a data PUT has ever announced, whether they came or not.
    pub(crate) announced_to: u64,
    pub(crate) told: Told,
}

/// What became of a session.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Open,
    Finalized(Arc<StoredObject>),
    Cancelled,
    /// By the service: 410.
    Gone,
    /// A finalization was refused for good.
    Refused(Refusal),
}

/// What the client knows of the bytes that are persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing was sent yet, or the last answer says it.
    Clearly,
    /// A data PUT has begun, and no answer since has said it.
    Unclearly,
    /// An answer claimed more than was ever sent: the session is not to be trusted any more.
    TooMuch,
}

/// A header `Content-Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentRange {
    /// `bytes FIRST-LAST/TOTAL`
    Data { first: u64, last: u64, total: Option<u64> },
    /// `bytes */TOTAL`
    Query { total: Option<u64> },
}

impl ContentRange {
    pub(crate) fn parse(text: &str) -> Option<ContentRange> {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let total = if total == "*" { None } else { Some(number(total)?) };
        if range == "*" {
            return Some(ContentRange::Query { total });
        }
        let (first, last) = range.split_once('-')?;
        Some(ContentRange::Data { first: number(first)?, last: number(last)?, total })
    }
}

/// Digits alone: no sign, no space.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// One data PUT that is on its way: what came of it and is not persisted yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Where `waiting` begins in the object.
    start: u64,
    waiting: Content,
}

/// What is to be said of bytes that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// How many of them came in an earlier data PUT of the session as well.
    pub(crate) twice: u64,
    /// Other bytes are persisted in their place.
    pub(crate) differs: bool,
}

impl Arrival {
    pub(crate) fn at(first: u64) -> Arrival {
        Arrival { start: first, waiting: Content::default() }
    }

    /// The offset of the next byte to come.
    pub(crate) fn position(&self) -> u64 {
        self.start + self.waiting.length()
    }

    fn forget_before(&mut self, offset: u64) {
        if offset > self.start {
            let gone = (offset - self.start).min(self.waiting.length());
            self.waiting = self.waiting.slice(gone..self.waiting.length());
            self.start += gone;
        }
    }
}

impl Session {
    pub(crate) fn new(target: String, request: ObjectRequest, opened: OffsetDateTime) -> Session {
        Session {
            target,
            request,
            declared_length: None,
            total: None,
            opened,
            fate: Fate::Open,
            content: Content::default(),
            digests: Digests::default(),
            received_to: 0,
            received: 0,
            received_twice: 0,
            announced_to: 0,
            told: Told::Clearly,
        }
    }

    /// How many bytes from the front are safe. Of a finalized session: all.
    pub(crate) fn persisted_bytes(&self) -> u64 {
        match &self.fate {
            Fate::Finalized(object) => object.content.length(),
            _ => self.content.length(),
        }
    }

    /// What every request gets once the session is not open any more.
    pub(crate) fn closed(
        &self,
        now: OffsetDateTime,
        refusal_is_repeated: bool,
    ) -> Option<Result<Arc<StoredObject>, Refusal>> {
        if now - self.opened > LIFETIME {
            return Some(Err(Refusal::text(404, "Not Found")));
        }
        match &self.fate {
            Fate::Open => None,
            Fate::Finalized(object) => Some(Ok(Arc::clone(object))),
            Fate::Cancelled => Some(Err(Refusal::text(499, ""))),
            Fate::Refused(refusal) if refusal_is_repeated => Some(Err(refusal.clone())),
            Fate::Gone | Fate::Refused(_) => Some(Err(Refusal::text(410, "Gone"))),
        }
    }

    /// The bytes are freed with it.
    pub(crate) fn close(&mut self, fate: Fate) {
        self.fate = fate;
        self.content = Content::default();
    }

    /// Whether a data PUT may begin. Nothing has changed if not.
    pub(crate) fn begin(
        &mut self,
        first: u64,
        last: u64,
        total: Option<u64>,
        odd_chunks_are_rounded: bool,
    ) -> Result<(), Refusal> {
        let bad = |what: String| Err(Refusal::json(400, "badRequest", format!("Invalid request.  {what}")));
        if last < first || total.is_some_and(|total| total <= last) {
            return bad(format!("Content-Range {first}-{last} of {total:?}"));
        }
        for known in [self.declared_length, self.total].into_iter().flatten() {
            if total.is_some_and(|total| total != known) || last >= known {
                return bad(format!("{first}-{last} of {total:?}, but the upload has {known} bytes"));
            }
        }
        let is_last = total == Some(last + 1);
        if !is_last && !(last + 1 - first).is_multiple_of(QUANTUM) && !odd_chunks_are_rounded {
            return bad(format!("a chunk of {} bytes is no multiple of {QUANTUM}", last + 1 - first));
        }
        let persisted = self.persisted_bytes();
        if total.is_some_and(|total| total < persisted) {
            return bad(format!("{first}-{last} of {total:?}, but {persisted} bytes are persisted"));
        }
        if first > persisted {
            return Err(Refusal::text(
                503,
                format!(
                    "Invalid request.  According to the Content-Range header, the upload offset is {first} byte(s), \
                     which exceeds already uploaded size of {persisted} byte(s)."
                ),
            ));
        }
        self.total = total.or(self.total);
        Ok(())
    }

    /// Takes bytes that came, and persists what is whole quanta of the object.
    pub(crate) fn take(&mut self, arrival: &mut Arrival, bytes: Bytes) -> Taken {
        let start = arrival.position();
        let length = bytes.len() as u64;
        let twice = self.received_to.saturating_sub(start).min(length);
        self.received += length;
        self.received_twice += twice;
        self.received_to = self.received_to.max(start + length);
        let differs = !self.content.agrees_at(start, &bytes);
        arrival.waiting.push(bytes);
        if matches!(self.fate, Fate::Open) {
            // Bytes that are persisted already are ignored, whatever they are.
            arrival.forget_before(self.persisted_bytes());
            let whole = arrival.position() / QUANTUM * QUANTUM;
            if whole > self.persisted_bytes() {
                self.persist(arrival, whole);
            }
        }
        Taken { twice, differs }
    }

    fn persist(&mut self, arrival: &mut Arrival, end: u64) {
        for piece in arrival.waiting.slice(0..end - arrival.start).pieces() {
            self.digests.update(piece);
            self.content.push(piece.clone());
        }
        arrival.forget_before(end);
    }

    /// Whether this would be all of it.
    pub(crate) fn is_whole_with(&self, length: u64) -> bool {
        length == self.persisted_bytes() && self.declared_length.is_none_or(|declared| declared == length)
    }

    /// Makes the object of what is persisted and what has just come. A refusal that is not for good leaves the
    /// session open.
    pub(crate) fn finalize(
        &mut self,
        request: &ObjectRequest,
        mut rest: Arrival,
        state: &mut State,
    ) -> Result<Arc<StoredObject>, Refusal> {
        let mut content = self.content.clone();
        let mut digests = self.digests.clone();
        rest.forget_before(self.persisted_bytes());
        for piece in rest.waiting.pieces() {
            digests.update(piece);
            content.push(piece.clone());
        }
        let refusal = match state.create(request, content, digests.finish()) {
            Ok(object) => {
                self.close(Fate::Finalized(Arc::clone(&object)));
                return Ok(object);
            }
            Err(refusal) => refusal,
        };
        if refusal.status != 429 {
            self.close(Fate::Refused(refusal.clone()));
        } else if state.settings.rate_limit_kills_session {
            self.close(Fate::Gone);
            return Err(Refusal::text(410, "Gone"));
        }
        Err(refusal)
    }
}
