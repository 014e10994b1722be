//! One request: what is asked, what goes wrong on purpose, what is answered.

use super::answer::{Answer, AnswerBody, Refusal, empty, html, set, text};
use super::faults::{Fault, Stage};
use super::intake::Intake;
use super::observation::Observation;
use super::request::{Call, Route};
use super::session::{ContentRange, Fate};
use super::state::Server;
use super::{auth, list, read, spoil, upload};
use hyper::body::Incoming;
use hyper::{Request, Response};
use std::sync::Arc;

/// Serves one request.
pub(crate) async fn serve(server: Arc<Server>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let mut intake = Intake::new(body, Arc::clone(&server));
    let call = match Call::new(head) {
        Ok(call) => call,
        Err(refusal) => return Answer::Response(refusal.response()),
    };
    let observation = Observation::begin(&server, &call);
    let fault = server.lock().faults.take(call.kind, arrived(&call));
    let (answer, spoilt_by) = answer(&server, &call, &mut intake, fault).await;
    observation.end(&answer, spoilt_by);
    if matches!(answer, Answer::Silence) {
        // As long as the client waits, and the rest of the body is not read meanwhile.
        std::future::pending::<()>().await;
    }
    answer
}

/// The answer, and what is wrong with it on purpose though the work is done.
async fn answer(server: &Server, call: &Call, intake: &mut Intake, fault: Option<Fault>) -> (Answer, Option<Fault>) {
    match fault {
        Some(Fault::SessionGone) => kill_session(server, call),
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(fault @ (Fault::Reset | Fault::Answer(_) | Fault::Stall)) => return (answer_of(server, fault), None),
        Some(Fault::AnswerAndClose(status)) => {
            intake.leave();
            let mut response = answer_of_status(server, status);
            set(&mut response, "connection", "close");
            return (Answer::Response(response), None);
        }
        _ => {}
    }
    match dispatch(server, call, intake, fault).await {
        Ok(Answer::Response(response)) => spoil::answer(server, call, response),
        Ok(other) => (other, None),
        Err(refusal) => spoil::answer(server, call, refusal.response()),
    }
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
