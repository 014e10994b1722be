//! What is noted of every request, and what a client of ours must never do.

use super::answer::Answer;
use super::request::{Call, Kind, Route};
use super::session::Session;
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
            Some(session) if call.kind == Kind::DataPut => begin_data_put(&mut lock(session)),
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

        let mut state = server.lock();
        *state.counts.requests.entry(call.kind).or_default() += 1;
        if call.kind == Kind::DataPut {
            state.counts.data_puts_now += 1;
            state.counts.data_puts_at_most = state.counts.data_puts_at_most.max(state.counts.data_puts_now);
        }
        state.violations.extend(blind.or_else(|| forbidden(call)));
        state.journal.push(Seen { kind: call.kind, name, content_range, status: None });
        let index = state.journal.len() - 1;
        drop(state);
        Observation { server, kind: call.kind, session, index }
    }

    /// The request is answered so.
    pub(crate) fn end(self, answer: &Answer, is_spoilt: bool) {
        let Answer::Response(response) = answer else { return };
        let status = response.status().as_u16();
        self.server.lock().journal[self.index].status = Some(status);
        // What is persisted is known by these alone, and who is refused for good needs no more.
        let tells = match self.kind {
            Kind::DataPut => status == 308 && response.headers().contains_key("range"),
            _ => status == 308,
        };
        let is_over = (200..300).contains(&status) || ((400..500).contains(&status) && ![408, 429].contains(&status));
        if let Some(session) = self.session.as_ref().filter(|_| !is_spoilt && (tells || is_over)) {
            lock(session).is_in_doubt = false;
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

/// After any doubt about what is persisted comes a status query, never more bytes.
fn begin_data_put(session: &mut Session) -> Option<String> {
    let was_in_doubt = std::mem::replace(&mut session.is_in_doubt, true);
    was_in_doubt.then(|| format!("bytes of {:?} without a status query after an unclear answer", session.request.name))
}

/// Nothing that a client of ours may do leads here.
fn forbidden(call: &Call) -> Option<String> {
    match &call.route {
        Route::DeleteObject { name, .. } => Some(format!("a DELETE of {name:?}")),
        Route::Unknown => Some(format!("{} {}, which is nothing", call.method, call.target)),
        _ => None,
    }
}
