//! Uploads: resumable sessions, and the two kinds in one request.

use super::answer::{Answer, AnswerBody, Refusal, empty, object_of, set, with_body};
use super::auth::{Permission, authorize};
use super::content::{Content, Digests};
use super::faults::Fault;
use super::intake::{Intake, Interrupted};
use super::multipart;
use super::object::{ObjectRequest, StoredObject};
use super::request::{Call, Kind, encode};
use super::session::{Arrival, ContentRange, Fate, Session};
use super::state::Server;
use hyper::Response;
use std::sync::{Arc, Mutex, MutexGuard};

/// Opens a session.
pub(crate) async fn initiate(
    server: &Server,
    call: &Call,
    bucket: &str,
    intake: &mut Intake,
) -> Result<Answer, Refusal> {
    authorize(server, call, Permission::Create)?;
    if !call.header("content-type").is_none_or(|text| text.starts_with("application/json")) {
        return Err(Refusal::json(400, "badContent", "Unsupported content with type"));
    }
    let Ok(body) = intake.all().await else { return Ok(Answer::Close) };
    let mut request = described(call, bucket)?;
    request.take_resource(&body.to_vec())?;
    if let Some(declared) = call.header("x-upload-content-type") {
        if request.content_type.as_ref().is_some_and(|named| named != declared) {
            return Err(Refusal::invalid("X-Upload-Content-Type is not the contentType of the resource"));
        }
        request.content_type = Some(declared.to_owned());
    }
    request.check()?;
    let declared_length = match call.header("x-upload-content-length") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Refusal::invalid("Invalid X-Upload-Content-Length"))?),
    };

    let mut state = server.lock();
    state.bucket(bucket)?;
    check_access_list(call, state.settings.uniform_access)?;
    state.watch_write(&request);
    if state.settings.precondition_at_initiation {
        state.may_create(&request)?;
    }
    let upload_id = state.next_upload_id();
    let mut target =
        format!("/upload/storage/v1/b/{}/o?uploadType=resumable&name={}", encode(bucket), encode(&request.name));
    if let Some(generation) = request.if_generation_match {
        target.push_str(&format!("&ifGenerationMatch={generation}"));
    }
    target.push_str(&format!("&upload_id={}", upload_id.replace('~', "%7E")));
    let mut response = empty(200);
    set(&mut response, "location", &format!("{}{target}", server.base_url));
    set(&mut response, "x-guploader-uploadid", &upload_id);
    let mut session = Session::new(target, request, state.clock.now());
    session.declared_length = declared_length;
    state.sessions.insert(upload_id, Arc::new(Mutex::new(session)));
    Ok(Answer::Response(response))
}

/// Everything that is asked of a session's URI.
pub(crate) async fn session(
    server: &Server,
    call: &Call,
    upload_id: &str,
    intake: &mut Intake,
    fault: Option<Fault>,
) -> Result<Answer, Refusal> {
    // The URI is enough; but who brings a token must bring a good one.
    if call.header("authorization").is_some() {
        authorize(server, call, Permission::Create)?;
    }
    let session = find(server, call, upload_id)?;
    if let Some(closed) = closed(server, &session) {
        return closed.map(|object| Answer::Response(object_of(&object, &server.base_url)));
    }
    if call.kind == Kind::Cancel {
        lock(&session).close(Fate::Cancelled);
        return Err(Refusal::text(499, ""));
    }
    match range_of(call)? {
        ContentRange::Query { total } => query(server, call, &session, total),
        ContentRange::Data { first, last, total } => {
            let odd_chunks_are_rounded = server.lock().settings.odd_chunks_are_rounded;
            lock(&session).begin(first, last, total, odd_chunks_are_rounded)?;
            let chunk = Chunk { first, length: last + 1 - first, is_last: total == Some(last + 1) };
            receive(server, call, &session, chunk, intake, fault).await
        }
    }
}

fn find(server: &Server, call: &Call, upload_id: &str) -> Result<Arc<Mutex<Session>>, Refusal> {
    // Who holds a session may wait for the state, so nobody who holds the state may wait for a session.
    let session = server.lock().sessions.get(upload_id).cloned();
    let session = session.ok_or_else(|| Refusal::text(404, "Not Found"))?;
    if lock(&session).target != call.target {
        server.lock().violation(format!("a session URI that was not used verbatim: {}", call.target));
        return Err(Refusal::text(404, "Not Found"));
    }
    Ok(session)
}

fn closed(server: &Server, session: &Mutex<Session>) -> Option<Result<Arc<StoredObject>, Refusal>> {
    let (now, repeated) = {
        let state = server.lock();
        (state.clock.now(), state.settings.refusal_is_repeated)
    };
    lock(session).closed(now, repeated)
}

/// What the headers say of the body. Without a `Content-Range` the body is the whole object.
fn range_of(call: &Call) -> Result<ContentRange, Refusal> {
    let Some(length) = call.content_length() else { return Err(Refusal::text(411, "Length Required")) };
    let range = match (call.header("content-range"), length) {
        (Some(text), _) => ContentRange::parse(text)
            .ok_or_else(|| Refusal::json(400, "badRequest", format!("Failed to parse Content-Range header: {text}")))?,
        (None, 0) => ContentRange::Query { total: Some(0) },
        (None, _) => ContentRange::Data { first: 0, last: length - 1, total: Some(length) },
    };
    let expected = match range {
        ContentRange::Query { .. } => Some(0),
        ContentRange::Data { first, last, .. } => last.checked_sub(first).map(|difference| difference + 1),
    };
    if expected.is_some_and(|expected| expected != length) {
        return Err(Refusal::json(400, "badRequest", format!("Content-Range is {range:?}, Content-Length {length}")));
    }
    Ok(range)
}

/// A status query; with the exact total it finalizes.
fn query(server: &Server, call: &Call, session: &Mutex<Session>, total: Option<u64>) -> Result<Answer, Refusal> {
    let mut session = lock(session);
    if total.is_some_and(|total| session.is_whole_with(total)) {
        let request = final_request(&session, call)?;
        let nothing_more = Arrival::at(session.persisted_bytes());
        let object = session.finalize(&request, nothing_more, &mut server.lock())?;
        return Ok(Answer::Response(object_of(&object, &server.base_url)));
    }
    Ok(Answer::Response(resume(call, session.persisted_bytes())))
}

/// The body of a data PUT.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    first: u64,
    length: u64,
    is_last: bool,
}

async fn receive(
    server: &Server,
    call: &Call,
    session: &Mutex<Session>,
    chunk: Chunk,
    intake: &mut Intake,
    fault: Option<Fault>,
) -> Result<Answer, Refusal> {
    let mut arrival = Arrival::at(chunk.first);
    let stop = fault.and_then(|fault| fault.bytes_before(chunk.first, chunk.length));
    intake.stop_after(stop);
    loop {
        match intake.next().await {
            Ok(Some(bytes)) => {
                let taken = lock(session).take(&mut arrival, bytes);
                let mut state = server.lock();
                state.counts.bytes_sent_twice += taken.twice;
                if taken.differs {
                    state.violation("other bytes than before for the same place of a session".to_owned());
                }
            }
            Ok(None) => break,
            Err(Interrupted::ByClient) => return Ok(Answer::Close),
            Err(Interrupted::ByFault) => match fault.expect("it has stopped the body") {
                Fault::PersistOnly(_) => {
                    intake.stop_after(None);
                    if intake.all().await.is_err() {
                        return Ok(Answer::Close);
                    }
                    return Ok(Answer::Response(resume(call, lock(session).persisted_bytes())));
                }
                fault => return Ok(super::service::answer_of(server, fault)),
            },
        }
    }
    // It may have been closed by another request meanwhile.
    if let Some(closed) = closed(server, session) {
        return closed.map(|object| Answer::Response(object_of(&object, &server.base_url)));
    }
    let mut session = lock(session);
    if chunk.is_last {
        let request = final_request(&session, call)?;
        let object = session.finalize(&request, arrival, &mut server.lock())?;
        return Ok(Answer::Response(object_of(&object, &server.base_url)));
    }
    Ok(Answer::Response(resume(call, session.persisted_bytes())))
}

/// What the session was opened with, and what the final request adds.
fn final_request(session: &Session, call: &Call) -> Result<ObjectRequest, Refusal> {
    let mut request = session.request.clone();
    for header in call.headers.get_all("x-goog-hash") {
        request.take_hash_header(header.to_str().map_err(|_| Refusal::invalid("Invalid X-Goog-Hash"))?)?;
    }
    for (name, value) in &call.headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix("x-goog-meta-"), value.to_str()) {
            request.metadata.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(request)
}

/// The 308. Without a Range nothing is persisted.
fn resume(call: &Call, persisted_bytes: u64) -> Response<AnswerBody> {
    let asks_for_200 = call.header("x-guploader-no-308") == Some("yes");
    let mut response = with_body(if asks_for_200 { 200 } else { 308 }, AnswerBody::of(Content::default()));
    if asks_for_200 {
        set(&mut response, "x-http-status-code-override", "308");
    }
    if persisted_bytes > 0 {
        set(&mut response, "range", &format!("bytes=0-{}", persisted_bytes - 1));
    }
    response
}

/// An upload in one request.
pub(crate) async fn insert(
    server: &Server,
    call: &Call,
    bucket: &str,
    intake: &mut Intake,
    fault: Option<Fault>,
) -> Result<Answer, Refusal> {
    authorize(server, call, Permission::Create)?;
    let length = call.content_length().ok_or_else(|| Refusal::text(411, "Length Required"))?;
    intake.stop_after(fault.and_then(|fault| fault.bytes_before(0, length)));
    let body = match intake.all().await {
        Ok(body) => body,
        Err(Interrupted::ByClient) => return Ok(Answer::Close),
        Err(Interrupted::ByFault) => {
            return Ok(super::service::answer_of(server, fault.expect("it has stopped the body")));
        }
    };
    let mut request = described(call, bucket)?;
    let content = if call.kind == Kind::InsertMultipart {
        let parts = multipart::parse(call.header("content-type").unwrap_or_default(), &body.to_vec())
            .ok_or_else(|| Refusal::json(400, "badContent", "malformed multipart/related body"))?;
        request.take_resource(&parts.resource)?;
        request.content_type = request.content_type.or(parts.content_type);
        Content::from(parts.media)
    } else {
        request.content_type = call.header("content-type").map(str::to_owned);
        body
    };
    for header in call.headers.get_all("x-goog-hash") {
        request.take_hash_header(header.to_str().map_err(|_| Refusal::invalid("Invalid X-Goog-Hash"))?)?;
    }
    request.check()?;
    let mut digests = Digests::default();
    content.pieces().iter().for_each(|piece| digests.update(piece));

    let mut state = server.lock();
    state.bucket(bucket)?;
    check_access_list(call, state.settings.uniform_access)?;
    state.watch_write(&request);
    let object = state.create(&request, content, digests.finish())?;
    Ok(Answer::Response(object_of(&object, &server.base_url)))
}

/// What the query says of the object to be.
fn described(call: &Call, bucket: &str) -> Result<ObjectRequest, Refusal> {
    for name in ["ifGenerationNotMatch", "ifMetagenerationMatch", "ifMetagenerationNotMatch"] {
        if call.query.get(name).is_some() {
            return Err(Refusal::invalid(format!("{name} is not known to this server")));
        }
    }
    Ok(ObjectRequest {
        bucket: bucket.to_owned(),
        name: call.query.get("name").unwrap_or_default().to_owned(),
        kms_key: call.query.get("kmsKeyName").map(str::to_owned),
        if_generation_match: call.number("ifGenerationMatch")?,
        ..ObjectRequest::default()
    })
}

fn check_access_list(call: &Call, uniform_access: bool) -> Result<(), Refusal> {
    if uniform_access && call.query.get("predefinedAcl").is_some() {
        let message = "Cannot use ACL API to update bucket policy when uniform bucket-level access is enabled.";
        return Err(Refusal::invalid(message));
    }
    Ok(())
}

pub(crate) fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
