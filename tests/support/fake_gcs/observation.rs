//! What is noted of every request, and what a client of ours must never do.

use super::answer::Answer;
use super::faults::Fault;
use super::request::{Call, Kind, Route};
use super::session::{ContentRange, Session, Told};
use super::state::{Seen, Server};
use super::upload::lock;
use std::sync::{Arc, Mutex};

/// One request under observation, until it is answered or its connection is gone.
#[derive(Debug)]
pub(crate) struct Observation<'a> {
    server: &'a Server,
    kind: Kind,
    session: Option<Arc<Mutex<Session>>>,
    /// Its place in the journal.
    index: usize,
}

impl<'a> Observation<'a> {
    pub(crate) fn begin(server: &'a Server, call: &Call) -> Observation<'a> {
        let session = match &call.route {
            Route::Session { upload_id } => server.lock().sessions.get(upload_id).cloned(),
            _ => None,
        };
        let blind = match &session {
            Some(session) if call.kind == Kind::DataPut => begin_data_put(&mut lock(session), call),
            _ => None,
        };
        let name = match (&call.route, &session) {
            (_, Some(session)) => Some(lock(session).request.name.clone()),
            (Route::Object { name, .. } | Route::Media { name, .. } | Route::DeleteObject { name, .. }, _) => {
                Some(name.clone())
            }
            _ => call.query.get("name").map(str::to_owned),
        };
        let content_range = call.header("content-range").map(str::to_owned);
        let user_project = call.header("x-goog-user-project").map(str::to_owned);

        let mut state = server.lock();
        *state.counts.requests.entry(call.kind).or_default() += 1;
        if call.kind == Kind::DataPut {
            state.counts.data_puts_now += 1;
            state.counts.data_puts_at_most = state.counts.data_puts_at_most.max(state.counts.data_puts_now);
        }
        state.violations.extend(blind.or_else(|| forbidden(call)));
        state.journal.push(Seen { kind: call.kind, name, content_range, user_project, status: None });
        let index = state.journal.len() - 1;
        drop(state);
        Observation { server, kind: call.kind, session, index }
    }

    /// The request is answered so.
    pub(crate) fn end(self, answer: &Answer, spoilt_by: Option<Fault>) {
        let Answer::Response(response) = answer else { return };
        let status = response.status().as_u16();
        self.server.lock().journal[self.index].status = Some(status);
        // What is persisted is known by these alone, and who is refused for good needs no more.
        let tells = match self.kind {
            Kind::DataPut => status == 308 && response.headers().contains_key("range"),
            _ => status == 308,
        };
        let is_over = (200..300).contains(&status) || ((400..500).contains(&status) && ![408, 429].contains(&status));
        let Some(mut session) = self.session.as_ref().map(|session| lock(session)) else { return };
        match (spoilt_by, session.told) {
            (Some(Fault::AckMore(_)), _) | (_, Told::TooMuch) => session.told = Told::TooMuch,
            (None, _) if tells || is_over => session.told = Told::Clearly,
            _ => {}
        }
    }
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        if self.kind == Kind::DataPut {
            self.server.lock().counts.data_puts_now -= 1;
        }
    }
}

/// After any doubt about what is persisted comes a status query, never more bytes; and who claims too much gets none.
fn begin_data_put(session: &mut Session, call: &Call) -> Option<String> {
    if let Some(ContentRange::Data { last, .. }) = call.header("content-range").and_then(ContentRange::parse) {
        session.announced_to = session.announced_to.max(last + 1);
    }
    let name = &session.request.name;
    match std::mem::replace(&mut session.told, Told::Unclearly) {
        Told::Clearly => None,
        Told::Unclearly => Some(format!("bytes of {name:?} without a status query after an unclear answer")),
        Told::TooMuch => {
            let violation = format!("bytes of {name:?} for a session that claimed more than was sent");
            session.told = Told::TooMuch;
            Some(violation)
        }
    }
}

/// Nothing that a client of ours may do leads here.
fn forbidden(call: &Call) -> Option<String> {
    match &call.route {
        Route::DeleteObject { name, .. } => Some(format!("a DELETE of {name:?}")),
        Route::Unknown => Some(format!("{} {}, which is nothing", call.method, call.target)),
        _ => None,
    }
}
