//! What the server answers.

use super::connection::Line;
use super::content::Content;
use super::object::StoredObject;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// An answer, or the lack of one.
#[derive(Debug)]
pub(crate) enum Answer {
    Response(Response<AnswerBody>),
    /// The connection is closed without a byte.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing comes any more, and the connection stays.
    Silence,
}

/// What a server refuses, and why.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Of the JSON; `None` is an answer in plain text.
    pub(crate) reason: Option<&'static str>,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn json(status: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, reason: Some(reason), message: message.into() }
    }

    pub(crate) fn text(status: u16, message: impl Into<String>) -> Refusal {
        Refusal { status, reason: None, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::json(400, "invalid", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Refusal {
        Refusal::json(404, "notFound", message)
    }

    pub(crate) fn condition_not_met() -> Refusal {
        Refusal::json(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
    }

    pub(crate) fn response(&self) -> Response<AnswerBody> {
        let Some(reason) = self.reason else { return text(self.status, &self.message) };
        let mut error = json!({ "domain": "global", "reason": reason, "message": self.message });
        if self.status == 412 {
            error["locationType"] = json!("header");
            error["location"] = json!("If-Match");
        }
        let mut response = json_with(
            self.status,
            &json!({ "error": { "code": self.status, "message": self.message, "errors": [error] } }),
        );
        if self.status == 401 {
            set(&mut response, "www-authenticate", "Bearer realm=\"https://accounts.google.com/\"");
        }
        response
    }
}

/// JSON with status 200.
pub(crate) fn json_of(value: &Value) -> Response<AnswerBody> {
    json_with(200, value)
}

pub(crate) fn object_of(object: &StoredObject, base_url: &str) -> Response<AnswerBody> {
    json_of(&object.resource(base_url))
}

fn json_with(status: u16, value: &Value) -> Response<AnswerBody> {
    let text = serde_json::to_vec_pretty(value).expect("JSON");
    let mut response = with_body(status, AnswerBody::of(Content::from(text)));
    set(&mut response, "content-type", "application/json; charset=UTF-8");
    response
}

pub(crate) fn text(status: u16, message: &str) -> Response<AnswerBody> {
    let mut response = with_body(status, AnswerBody::of(Content::from(message.as_bytes().to_vec())));
    set(&mut response, "content-type", "text/plain; charset=utf-8");
    response
}

pub(crate) fn html(status: u16, message: &str) -> Response<AnswerBody> {
    let page = format!("<!DOCTYPE html><html lang=en><title>Error {status}</title><p>{message}</html>\n");
    let mut response = with_body(status, AnswerBody::of(Content::from(page.into_bytes())));
    set(&mut response, "content-type", "text/html; charset=UTF-8");
    response
}

pub(crate) fn empty(status: u16) -> Response<AnswerBody> {
    with_body(status, AnswerBody::of(Content::default()))
}

pub(crate) fn with_body(status: u16, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    set(&mut response, "server", "UploadServer");
    response
}

/// Sets a header of an answer.
pub(crate) fn set(response: &mut Response<AnswerBody>, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("a header value");
    response.headers_mut().insert(HeaderName::from_static(name), value);
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With its last byte.
    Whole,
    /// The connection is closed before it.
    Broken,
    /// Nothing comes any more before it.
    Silence,
}

/// Bytes of an answer, of which the last ones may never come.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    pieces: VecDeque<Bytes>,
    /// As the header tells it.
    announced: u64,
    ending: Ending,
    line: Arc<Line>,
}

impl AnswerBody {
    pub(crate) fn of(content: Content) -> AnswerBody {
        let announced = content.length();
        let pieces = content.pieces().to_vec().into();
        AnswerBody { pieces, announced, ending: Ending::Whole, line: Arc::default() }
    }

    /// The same, but only the first bytes of it ever come.
    pub(crate) fn cut(self, bytes: u64, ending: Ending) -> AnswerBody {
        let mut all = Content::default();
        self.pieces.into_iter().for_each(|piece| all.push(piece));
        let kept = all.slice(0..bytes.min(all.length()));
        AnswerBody { pieces: kept.pieces().to_vec().into(), ending, ..self }
    }

    /// The same, on the connection that it ends.
    pub(crate) fn on(self, line: Arc<Line>) -> AnswerBody {
        AnswerBody { line, ..self }
    }

    /// All its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.to_vec()).collect()
    }

    /// As the header tells it.
    pub(crate) fn length(&self) -> u64 {
        self.announced
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.pieces.pop_front(), self.ending) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, Ending::Whole) => Poll::Ready(None),
            // Nobody wakes either: they end with the connection.
            (None, Ending::Broken) => {
                self.line.end();
                Poll::Pending
            }
            (None, Ending::Silence) => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.ending == Ending::Whole
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
