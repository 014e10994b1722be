//! One request: what is asked, what goes wrong on purpose, what is answered.

use super::answer::{Answer, AnswerBody, Ending, Refusal, empty, html, set, text};
use super::content::Content;
use super::faults::{Fault, Outcome, Stage};
use super::intake::Intake;
use super::request::{Call, Kind, Route};
use super::session::{ContentRange, Fate};
use super::state::Server;
use super::{auth, list, read, upload};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::Value;
use std::sync::Arc;

/// Serves one request.
pub(crate) async fn serve(server: Arc<Server>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let mut intake = Intake::new(body, Arc::clone(&server));
    let call = match Call::new(head) {
        Ok(call) => call,
        Err(refusal) => return Answer::Response(refusal.response()),
    };
    let stage = arrived(&call);
    let fault = {
        let mut state = server.lock();
        *state.counts.requests.entry(call.kind).or_default() += 1;
        watch(&mut state.violations, &call);
        state.faults.take(call.kind, stage)
    };
    match fault {
        Some(Fault::SessionGone) => kill_session(&server, &call),
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(fault @ (Fault::Reset | Fault::Answer(_) | Fault::Stall)) => {
            let answer = answer_of(&server, fault);
            return hold(answer, &mut intake).await;
        }
        _ => {}
    }
    let answer = dispatch(&server, &call, &mut intake, fault).await;
    let answer = answer.unwrap_or_else(|refusal| Answer::Response(refusal.response()));
    let answer = match answer {
        Answer::Response(response) => finish(&server, &call, response),
        other => other,
    };
    hold(answer, &mut intake).await
}

/// Silence lasts as long as the client waits, and the body is not read meanwhile.
async fn hold(answer: Answer, _unread: &mut Intake) -> Answer {
    if matches!(answer, Answer::Silence) {
        std::future::pending::<()>().await;
    }
    answer
}

async fn dispatch(server: &Server, call: &Call, intake: &mut Intake, fault: Option<Fault>) -> Result<Answer, Refusal> {
    match &call.route {
        Route::Initiate { bucket } => upload::initiate(server, call, bucket, intake).await,
        Route::InsertMedia { bucket } | Route::InsertMultipart { bucket } => {
            upload::insert(server, call, bucket, intake, fault).await
        }
        Route::Session { upload_id } => upload::session(server, call, upload_id, intake, fault).await,
        Route::Object { bucket, name } => read::metadata(server, call, bucket, name),
        Route::Media { bucket, name } => read::media(server, call, bucket, name),
        Route::List { bucket } => list::list(server, call, bucket),
        Route::Bucket { bucket } => read::bucket(server, call, bucket),
        Route::Token | Route::Impersonate | Route::MetadataToken | Route::MetadataUniverse => {
            auth::token(server, call, intake).await
        }
        Route::DeleteObject { .. } => Err(Refusal::json(405, "methodNotAllowed", "Nothing is deleted here.")),
        Route::Unknown => Err(Refusal::text(404, "Not Found")),
    }
}

/// Nothing that a client of ours may do leads here.
fn watch(violations: &mut Vec<String>, call: &Call) {
    match &call.route {
        Route::DeleteObject { name, .. } => violations.push(format!("a DELETE of {name:?}")),
        Route::Unknown => violations.push(format!("{} {}, which is nothing", call.method, call.target)),
        _ => {}
    }
}

fn arrived(call: &Call) -> Stage {
    let length = call.content_length().unwrap_or(0);
    let first = match call.header("content-range").and_then(ContentRange::parse) {
        Some(ContentRange::Data { first, .. }) => first,
        _ => 0,
    };
    Stage::Arrived { first, length }
}

fn kill_session(server: &Server, call: &Call) {
    let Route::Session { upload_id } = &call.route else { return };
    let session = server.lock().sessions.get(upload_id).cloned();
    if let Some(session) = session {
        upload::lock(&session).close(Fate::Gone);
    }
}

/// What a fault alone answers.
pub(crate) fn answer_of(server: &Server, fault: Fault) -> Answer {
    match fault {
        Fault::Reset | Fault::ResetAfter(_) => Answer::Reset,
        Fault::Answer(status) | Fault::AnswerAfter(_, status) => Answer::Response(answer_of_status(server, status)),
        Fault::Stall | Fault::StallAfter(_) => Answer::Silence,
        other => panic!("{other:?} has no answer of its own"),
    }
}

/// Clients must go by the status: the shapes of the body take turns.
fn answer_of_status(server: &Server, status: u16) -> Response<AnswerBody> {
    let shape = {
        let mut state = server.lock();
        state.fault_answers += 1;
        state.fault_answers % 4
    };
    let message = "We encountered an internal error. Please try again.";
    match shape {
        1 => Refusal::json(status, "backendError", message).response(),
        2 => text(status, message),
        3 => html(status, message),
        _ => empty(status),
    }
}

/// What goes wrong with the answer.
fn finish(server: &Server, call: &Call, response: Response<AnswerBody>) -> Answer {
    let outcome = outcome(call, &response);
    let fault = {
        let mut state = server.lock();
        if let Outcome::Media(bytes) = outcome {
            state.counts.media_bytes_sent += bytes;
        }
        state.faults.take(call.kind, Stage::Done(outcome))
    };
    match fault {
        None => Answer::Response(response),
        Some(Fault::DropAnswer | Fault::DropFinalAnswer) => Answer::Close,
        Some(Fault::StallAnswer | Fault::StallFinalAnswer) => Answer::Silence,
        Some(fault) => Answer::Response(spoilt(response, fault)),
    }
}

fn outcome(call: &Call, response: &Response<AnswerBody>) -> Outcome {
    let is_upload = [Kind::DataPut, Kind::Query, Kind::InsertMedia, Kind::InsertMultipart].contains(&call.kind);
    let is_resume = response.status() == 308 || response.headers().contains_key("x-http-status-code-override");
    match (is_upload, response.status().as_u16()) {
        (true, _) if is_resume => Outcome::Resume { has_range: response.headers().contains_key("range") },
        (true, 200) => Outcome::Final,
        (false, 200 | 206) if call.kind == Kind::MediaGet => Outcome::Media(response.body().length()),
        _ => Outcome::Other,
    }
}

fn spoilt(mut response: Response<AnswerBody>, fault: Fault) -> Response<AnswerBody> {
    match fault {
        Fault::NoRange => {
            response.headers_mut().remove("range");
            response
        }
        Fault::AckMore(more) => {
            let last = response
                .headers()
                .get("range")
                .and_then(|range| range.to_str().ok()?.strip_prefix("bytes=0-")?.parse::<u64>().ok());
            let persisted = last.map_or(0, |last| last + 1) + more;
            set(&mut response, "range", &format!("bytes=0-{}", persisted - 1));
            response
        }
        Fault::GarbledFinal => response.map(|body| {
            let mut bytes = body.bytes();
            bytes.truncate(bytes.len() / 2);
            AnswerBody::of(Content::from(bytes))
        }),
        Fault::CutFinal => response.map(|body| {
            let half = body.length() / 2;
            body.cut(half, Ending::Broken)
        }),
        Fault::WrongFinalSize => {
            with_field(response, "size", |size| (size.parse::<u64>().expect("a size") + 1).to_string())
        }
        Fault::WrongFinalCrc32c => with_field(response, "crc32c", |_| "AAAAAA==".to_owned()),
        Fault::WrongFinalMd5 => with_field(response, "md5Hash", |_| "AAAAAAAAAAAAAAAAAAAAAA==".to_owned()),
        Fault::BreakMedia(bytes) => response.map(|body| body.cut(bytes, Ending::Broken)),
        Fault::StallMedia(bytes) => response.map(|body| body.cut(bytes, Ending::Silence)),
        Fault::FlipMediaBit(at) => response.map(|body| {
            let mut bytes = body.bytes();
            bytes[usize::try_from(at).expect("within the object")] ^= 1;
            AnswerBody::of(Content::from(bytes))
        }),
        Fault::WrongHash => {
            set(&mut response, "x-goog-hash", "crc32c=AAAAAA==,md5=AAAAAAAAAAAAAAAAAAAAAA==");
            response
        }
        other => panic!("{other:?} does not change an answer"),
    }
}

fn with_field(response: Response<AnswerBody>, field: &str, change: impl Fn(&str) -> String) -> Response<AnswerBody> {
    response.map(|body| {
        let mut resource: Value = serde_json::from_slice(&body.bytes()).expect("our own JSON");
        resource[field] = Value::String(change(resource[field].as_str().unwrap_or_default()));
        AnswerBody::of(Content::from(serde_json::to_vec(&resource).expect("JSON")))
    })
}
