//! Answers that are lost or changed on purpose when the work is done.

use super::answer::{Answer, AnswerBody, Ending, set};
use super::content::Content;
use super::faults::{Fault, Outcome, Stage};
use super::request::{Call, Kind, Route};
use super::state::Server;
use super::upload::lock;
use hyper::Response;
use serde_json::Value;

/// The answer as it goes out, and what is wrong with it on purpose.
pub(crate) fn answer(server: &Server, call: &Call, response: Response<AnswerBody>) -> (Answer, Option<Fault>) {
    let outcome = outcome(call, &response);
    let fault = {
        let mut state = server.lock();
        if let Outcome::Media(bytes) = outcome {
            state.counts.media_bytes_sent += bytes;
        }
        state.faults.take(call.kind, Stage::Done(outcome))
    };
    let answer = match fault {
        None => Answer::Response(response),
        Some(Fault::DropAnswer | Fault::DropFinalAnswer) => Answer::Close,
        Some(Fault::StallAnswer | Fault::StallFinalAnswer) => Answer::Silence,
        Some(Fault::AckMore(more)) => Answer::Response(with_more(server, call, response, more)),
        Some(fault) => Answer::Response(spoilt(response, fault)),
    };
    (answer, fault)
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

/// The claim goes beyond all that the client has ever announced, so that it can know better.
fn with_more(server: &Server, call: &Call, mut response: Response<AnswerBody>, more: u64) -> Response<AnswerBody> {
    let session = match &call.route {
        Route::Session { upload_id } => server.lock().sessions.get(upload_id).cloned(),
        _ => None,
    };
    let announced = session.map_or(0, |session| lock(&session).announced_to);
    set(&mut response, "range", &format!("bytes=0-{}", announced + more - 1));
    response
}

fn spoilt(mut response: Response<AnswerBody>, fault: Fault) -> Response<AnswerBody> {
    match fault {
        Fault::NoRange => {
            response.headers_mut().remove("range");
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
