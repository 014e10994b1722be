//! A resumable upload: carries out what its chart asks for, and feeds the answers back.

use super::answer::{Answer, Meaning, Trouble, encode_crc32c, stat};
use super::bucket::Bucket;
use super::client::{Call, Moved};
use super::place::encoded;
use super::session::{Session, SessionUri, Sessions, UploadIdentity};
use crate::store::{ObjectStat, SegmentFile, attribute};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use kafka_store_statecharts::chart::{Chart, Now, Transition, on};
use kafka_store_statecharts::failure::Class;
use kafka_store_statecharts::upload::{ObjectSum, Upload, UploadEffect, UploadEvent, UploadState};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A server acknowledges in such steps, and all but the last chunk are multiples of it.
const QUANTUM: u64 = 256 * 1024;
/// How many sessions one call opens before it leaves the rest to a later one.
const SESSIONS_MAX: u32 = 3;
/// How many failures one call outlasts. The caller says that something is wrong, and calls again: the session stays.
const FAILURES_A_CALL: u32 = 5;
/// How often one call tries to open a session.
const INITIATIONS_A_CALL: u32 = 10;
/// How much of a file is read at a time.
const PIECE: usize = 512 * 1024;

/// How an upload ended, or stopped.
#[derive(Debug)]
pub(super) enum UploadEnd {
    /// The object exists, with the file's bytes.
    Created(ObjectStat),
    /// Another object has the name.
    AlreadyExists,
    /// The store refuses for good; with the right that may be missing.
    Refused(Trouble, &'static str),
    /// The bytes do not arrive as they were sealed.
    Quarantined(Trouble),
    /// Not now; the same call goes on from here.
    Later(Trouble),
    /// The file cannot be read.
    Unreadable(io::Error),
}

/// Hears of each change of an upload's state.
pub(super) trait UploadLog {
    fn record(&mut self, transition: &Transition<Upload>);

    /// Hears of a failure after which something is tried again.
    fn failed(&mut self, class: Class);
}

/// One upload under way.
pub(super) struct Uploading<'a> {
    bucket: &'a Bucket,
    sessions: &'a Sessions,
    file: &'a SegmentFile,
    object: String,
    identity: UploadIdentity,
    session: Option<Session>,
    /// What the store said of the object last.
    stat: Option<ObjectStat>,
    /// What went wrong last.
    trouble: Trouble,
    /// Why it was refused, and what right that asks for.
    refusal: Option<(Trouble, &'static str)>,
    failures: u32,
    initiations: u32,
}

impl<'a> Uploading<'a> {
    pub(super) fn new(bucket: &'a Bucket, sessions: &'a Sessions, file: &'a SegmentFile) -> Uploading<'a> {
        let object = bucket.place.object(&file.name.to_string());
        Uploading {
            identity: UploadIdentity::of(file, bucket.client.endpoint(), bucket.location_of(&object)),
            bucket,
            sessions,
            file,
            object,
            session: None,
            stat: None,
            trouble: Trouble::unknown("nothing was tried"),
            refusal: None,
            failures: 0,
            initiations: 0,
        }
    }

    /// Goes on until the upload has ended, or has failed too often for one call.
    pub(super) async fn run(mut self, log: &mut dyn UploadLog) -> UploadEnd {
        let chunk = self.bucket.settings.chunk_bytes;
        let mut chart = Upload::new(self.file.bytes, self.file.crc32c, chunk, SESSIONS_MAX);
        self.session = self.sessions.take(&self.identity);
        let mut event = if self.session.is_some() { UploadEvent::Resumed } else { UploadEvent::Started };
        loop {
            // The chart asks for no moment.
            let transition = on(&chart, Now::default(), event).unwrap_or_else(|refused| panic!("upload: {refused}"));
            log.record(&transition);
            chart = transition.chart;
            let mut answer = None;
            for effect in transition.effects {
                if let UploadEffect::RetryLater { .. } = effect {
                    log.failed(self.trouble.class);
                }
                match self.carry_out(&chart, effect).await {
                    Ok(Some(event)) => answer = Some(event),
                    Ok(None) => {}
                    Err(end) => return self.leave(end),
                }
            }
            match answer {
                Some(next) => event = next,
                None => {
                    let end = self.end(&chart);
                    return self.leave(end);
                }
            }
        }
    }

    /// What is not over is kept for the next call.
    fn leave(&mut self, end: UploadEnd) -> UploadEnd {
        if let Some(session) = self.session.take() {
            self.sessions.put_back(session);
        }
        end
    }

    fn end(&mut self, chart: &Upload) -> UploadEnd {
        let trouble = self.trouble.clone();
        match (&chart.state, self.stat.take()) {
            (UploadState::Finalized, Some(stat)) => UploadEnd::Created(stat),
            (UploadState::AlreadyExists, _) => UploadEnd::AlreadyExists,
            (UploadState::Quarantined, _) => UploadEnd::Quarantined(trouble),
            (UploadState::Failed, _) => {
                let (trouble, right) = self.refusal.take().unwrap_or((trouble, super::CREATE));
                UploadEnd::Refused(trouble, right)
            }
            _ => UploadEnd::Later(trouble),
        }
    }

    /// A server that says that the name is taken, and then that it is not, is not believed for ever.
    fn count_initiation(&mut self) -> Result<(), UploadEnd> {
        self.initiations += 1;
        if self.initiations > INITIATIONS_A_CALL { Err(UploadEnd::Later(self.trouble.clone())) } else { Ok(()) }
    }

    async fn carry_out(&mut self, chart: &Upload, effect: UploadEffect) -> Result<Option<UploadEvent>, UploadEnd> {
        Ok(Some(match effect {
            UploadEffect::Look => self.look().await,
            UploadEffect::Initiate => {
                self.count_initiation()?;
                self.initiate().await
            }
            UploadEffect::Send { from, until } => self.send(from, until).await?,
            UploadEffect::Query => self.query().await,
            UploadEffect::RetryLater { failures } => {
                self.failures += 1;
                if self.failures > FAILURES_A_CALL {
                    return Err(UploadEnd::Later(self.trouble.clone()));
                }
                tokio::time::sleep(chart.retry_delay(failures, self.bucket.client.salt())).await;
                UploadEvent::RetryDue
            }
            UploadEffect::RefreshToken => {
                self.bucket.client.renew_token();
                return Ok(None);
            }
            UploadEffect::DropSession => {
                if let Some(session) = self.session.take() {
                    self.sessions.forget(session);
                }
                return Ok(None);
            }
        }))
    }

    async fn look(&mut self) -> UploadEvent {
        match self.bucket.stat_once(&self.object).await {
            Ok(None) => UploadEvent::ObjectAbsent,
            Ok(Some(stat)) => UploadEvent::ObjectFound { object: self.found(stat) },
            Err(trouble) => self.went_wrong(trouble, super::GET),
        }
    }

    async fn initiate(&mut self) -> UploadEvent {
        let answer = match self.bucket.client.call(&self.initiate_call()).await {
            Ok(answer) => answer,
            Err(trouble) => return self.went_wrong(trouble, super::CREATE),
        };
        match (answer.meaning(), answer.header("location")) {
            (Meaning::Done, Some(uri)) => {
                self.session = Some(self.sessions.begin(SessionUri::new(uri), self.identity.clone()));
                UploadEvent::Initiated
            }
            (Meaning::Done, None) => {
                self.went_wrong(Trouble::unknown("it opened a session without an address"), super::CREATE)
            }
            (Meaning::PreconditionFailed, _) => UploadEvent::PreconditionFailed,
            _ => self.went_wrong(answer.trouble(), super::CREATE),
        }
    }

    fn initiate_call(&self) -> Call {
        let bucket = encoded(&self.bucket.place.bucket);
        let path = format!(
            "/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={}&ifGenerationMatch=0{}",
            encoded(&self.object),
            self.bucket.kms_query()
        );
        Call::post(path, "application/json; charset=UTF-8", self.resource().to_string().into_bytes())
            .header(HeaderName::from_static("x-upload-content-type"), CONTENT_TYPE)
            .header(HeaderName::from_static("x-upload-content-length"), self.file.bytes.to_string())
    }

    /// What the object is to be, fixed when its session is opened.
    fn resource(&self) -> Value {
        let mut metadata = Map::new();
        for (key, value) in &self.bucket.settings.metadata {
            metadata.insert(key.clone(), Value::from(value.as_str()));
        }
        for (key, value) in &self.file.attributes {
            metadata.insert(key.clone(), Value::from(value.as_str()));
        }
        // The original tool's one entry.
        if let Some(count) = self.file.attributes.get(attribute::RECORD_COUNT) {
            metadata.insert("count".to_owned(), Value::from(count.as_str()));
        }
        let mut resource = json!({
            "name": self.object,
            "contentType": CONTENT_TYPE,
            "crc32c": encode_crc32c(self.file.crc32c),
            "metadata": metadata,
        });
        if let Some(class) = &self.bucket.settings.storage_class {
            resource["storageClass"] = Value::from(class.as_str());
        }
        resource
    }

    async fn send(&mut self, from: u64, until: u64) -> Result<UploadEvent, UploadEnd> {
        let total = self.file.bytes;
        let range = match until.checked_sub(1).filter(|_| from < until) {
            Some(last) => format!("bytes {from}-{last}/{total}"),
            None => format!("bytes */{total}"),
        };
        let moved = Moved::now();
        let unreadable = Unreadable::default();
        let body = body(self.file, from, until, &moved, &unreadable).map_err(UploadEnd::Unreadable)?;
        let answer = self.put(&range, until - from, body, &moved).await;
        if let Some(error) = lock(&unreadable).take() {
            return Err(UploadEnd::Unreadable(error));
        }
        Ok(match answer {
            Ok(answer) if answer.meaning() == Meaning::Incomplete => match answer.persisted_bytes() {
                Some(persisted) => UploadEvent::ChunkAcknowledged { persisted_bytes: self.whole_quanta(persisted) },
                None => {
                    self.trouble = Trouble::unknown("it took bytes and did not say how many");
                    UploadEvent::AcknowledgedNothing
                }
            },
            answer => self.heard(answer),
        })
    }

    /// Never `*/N`: with all bytes there, that would ask for the object.
    async fn query(&mut self) -> UploadEvent {
        match self.put("bytes */*", 0, reqwest::Body::from(""), &Moved::now()).await {
            Ok(answer) if answer.meaning() == Meaning::Incomplete => {
                let persisted_bytes = self.whole_quanta(answer.persisted_bytes().unwrap_or(0));
                UploadEvent::StatusAnswered { persisted_bytes }
            }
            answer => self.heard(answer),
        }
    }

    async fn put(&self, range: &str, length: u64, body: reqwest::Body, moved: &Moved) -> Result<Answer, Trouble> {
        let session = self.session.as_ref().expect("bytes are sent only into an open session");
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(range).expect("digits"));
        self.bucket.client.put(session.uri.expose(), headers, body, moved).await
    }

    /// What a session answers, beside that it wants more.
    fn heard(&mut self, answer: Result<Answer, Trouble>) -> UploadEvent {
        let answer = match answer {
            Ok(answer) => answer,
            Err(trouble) => return self.went_wrong(trouble, super::CREATE),
        };
        match answer.meaning() {
            Meaning::Done => match answer.json().as_ref().and_then(stat) {
                Some(stat) => UploadEvent::ObjectFinalized { object: self.found(stat) },
                None => self.went_wrong(Trouble::unknown("what it says of the object cannot be read"), super::CREATE),
            },
            Meaning::NotFound | Meaning::Gone => {
                self.trouble = Trouble::unknown(answer.trouble().reason);
                UploadEvent::SessionGone
            }
            Meaning::PreconditionFailed => UploadEvent::PreconditionFailed,
            Meaning::WrongChecksum => {
                self.trouble = answer.trouble();
                UploadEvent::ChecksumRefused
            }
            _ => self.went_wrong(answer.trouble(), super::CREATE),
        }
    }

    fn went_wrong(&mut self, trouble: Trouble, right: &'static str) -> UploadEvent {
        let event = match trouble.meaning {
            Meaning::Unauthorised => UploadEvent::Unauthorised,
            Meaning::Forbidden | Meaning::Protected => UploadEvent::Forbidden,
            Meaning::NotFound | Meaning::Refused | Meaning::WrongChecksum | Meaning::RangeNotSatisfiable => {
                UploadEvent::Refused
            }
            _ => UploadEvent::OutcomeUnknown,
        };
        if matches!(event, UploadEvent::Forbidden | UploadEvent::Refused) {
            self.refusal = Some((trouble.clone(), right));
        }
        self.trouble = trouble;
        event
    }

    fn found(&mut self, stat: ObjectStat) -> ObjectSum {
        let sum = ObjectSum { bytes: stat.bytes, crc32c: stat.crc32c };
        self.stat = Some(stat);
        sum
    }

    /// What is not in whole steps is sent again: that is always allowed, and some servers miscount there.
    fn whole_quanta(&self, persisted: u64) -> u64 {
        if persisted < self.file.bytes { persisted - persisted % QUANTUM } else { persisted }
    }
}

const CONTENT_TYPE: &str = "avro/binary";

/// The error of the file that is being sent. A request that breaks off for it says nothing of the reason.
type Unreadable = Arc<Mutex<Option<io::Error>>>;

fn lock(unreadable: &Unreadable) -> MutexGuard<'_, Option<io::Error>> {
    unreadable.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A part of the file, read while it is sent. Each piece that goes out is a sign of life.
fn body(
    file: &SegmentFile,
    from: u64,
    until: u64,
    moved: &Moved,
    unreadable: &Unreadable,
) -> io::Result<reqwest::Body> {
    let mut source = File::open(&file.path)?;
    source.seek(SeekFrom::Start(from))?;
    let (moved, unreadable) = (moved.clone(), Arc::clone(unreadable));
    let pieces = stream::try_unfold((source, until - from), move |(source, rest)| {
        moved.touch();
        let unreadable = Arc::clone(&unreadable);
        async move {
            if rest == 0 {
                return Ok(None);
            }
            let read = tokio::task::spawn_blocking(move || read_piece(source, rest)).await;
            let (piece, source) = match read.map_err(io::Error::other)? {
                Ok(read) => read,
                Err(error) => {
                    let kind = error.kind();
                    *lock(&unreadable) = Some(error);
                    return Err(kind.into());
                }
            };
            let rest = rest - piece.len() as u64;
            Ok::<_, io::Error>(Some((piece, (source, rest))))
        }
    });
    Ok(reqwest::Body::wrap_stream(pieces))
}

fn read_piece(mut source: File, rest: u64) -> io::Result<(Bytes, File)> {
    let length = PIECE.min(usize::try_from(rest).unwrap_or(PIECE));
    let mut piece = vec![0; length];
    source.read_exact(&mut piece)?;
    Ok((piece.into(), source))
}

/// The name of the chart in logs.
pub(super) const CHART: &str = <Upload as Chart>::NAME;
