//! What a test sees and does besides HTTP.

use super::FakeGcs;
use super::content::Content;
use super::faults::{Fault, Faults};
use super::object::{ObjectRequest, StoredObject};
use super::request::Kind;
use super::session::Fate;
use super::settings::Settings;
use super::state::{Counts, Seen};
use super::upload::lock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A session, as it is now.
#[derive(Clone, Debug)]
pub(crate) struct SessionView {
    pub(crate) uri: String,
    pub(crate) name: String,
    pub(crate) persisted_bytes: u64,
    /// Bytes that came before in the same session.
    pub(crate) received_twice: u64,
    pub(crate) is_open: bool,
    /// The generation that it made.
    pub(crate) finalized: Option<i64>,
}

impl FakeGcs {
    /// Chooses how the server behaves from now on.
    pub(crate) fn set(&self, choose: impl FnOnce(&mut Settings)) {
        choose(&mut self.server.lock().settings);
    }

    /// Arms or disarms faults.
    pub(crate) fn faults<T>(&self, arm: impl FnOnce(&mut Faults) -> T) -> T {
        arm(&mut self.server.lock().faults)
    }

    /// One fault, for the next request of one of the kinds to which it applies.
    pub(crate) fn arm(&self, kinds: &[Kind], fault: Fault) {
        self.faults(|faults| faults.arm(kinds, fault));
    }

    /// Several faults: each waits until the one before has come.
    pub(crate) fn arm_sequence(&self, kinds: &[Kind], in_order: &[Fault]) {
        self.faults(|faults| faults.arm_sequence(kinds, in_order));
    }

    /// Puts the server's clock forward.
    pub(crate) fn put_clock_forward(&self, by: Duration) {
        self.server.lock().clock.put_forward(by);
    }

    /// Accepts a bearer token.
    pub(crate) fn accept_token(&self, token: &str) {
        self.server.lock().tokens.insert(token.to_owned(), None);
    }

    /// Forgets all tokens: they are answered by 401.
    pub(crate) fn revoke_tokens(&self) {
        self.server.lock().tokens.clear();
    }

    /// All tokens that were ever issued or accepted, and not revoked.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.server.lock().tokens.keys().cloned().collect()
    }

    /// How many tokens were issued.
    pub(crate) fn tokens_issued(&self) -> u64 {
        self.server.lock().tokens_issued
    }

    /// Credentials of a user whose tokens come from this server.
    pub(crate) fn authorized_user(&self) -> String {
        serde_json::json!({
            "type": "authorized_user",
            "client_id": "archiver.apps.googleusercontent.com",
            "client_secret": "a secret of the tests",
            "refresh_token": "1//a refresh token of the tests",
            "token_uri": format!("{}/token", self.base_url()),
        })
        .to_string()
    }

    /// How often and how much, so far.
    pub(crate) fn counts(&self) -> Counts {
        self.server.lock().counts.clone()
    }

    /// What every request was and got, in the order of arrival.
    pub(crate) fn journal(&self) -> Vec<Seen> {
        self.server.lock().journal.clone()
    }

    /// What a client of ours must never do, in words.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.server.lock().violations.clone()
    }

    /// Every generation that ever was in a bucket, in the order of creation.
    #[track_caller]
    pub(crate) fn all_generations(&self, bucket: &str) -> Vec<Arc<StoredObject>> {
        self.server.lock().buckets.get(bucket).expect("a bucket of this server").generations.clone()
    }

    /// Every generation that ever was of a name.
    #[track_caller]
    pub(crate) fn generations(&self, bucket: &str, name: &str) -> Vec<Arc<StoredObject>> {
        self.all_generations(bucket).into_iter().filter(|object| object.name == name).collect()
    }

    /// The object that is there under a name.
    #[track_caller]
    pub(crate) fn object(&self, bucket: &str, name: &str) -> Option<Arc<StoredObject>> {
        self.server.lock().buckets.get(bucket).expect("a bucket of this server").live.get(name).cloned()
    }

    /// All objects that are there, by name.
    #[track_caller]
    pub(crate) fn objects(&self, bucket: &str) -> BTreeMap<String, Arc<StoredObject>> {
        self.server.lock().buckets.get(bucket).expect("a bucket of this server").live.clone()
    }

    /// All sessions that ever were.
    pub(crate) fn sessions(&self) -> Vec<SessionView> {
        let sessions: Vec<_> = self.server.lock().sessions.values().cloned().collect();
        sessions.iter().map(|session| self.view(&lock(session))).collect()
    }

    fn view(&self, session: &super::session::Session) -> SessionView {
        SessionView {
            uri: format!("{}{}", self.base_url(), session.target),
            name: session.request.name.clone(),
            persisted_bytes: session.persisted_bytes(),
            received_twice: session.received_twice,
            is_open: matches!(session.fate, Fate::Open),
            finalized: match &session.fate {
                Fate::Finalized(object) => Some(object.generation),
                _ => None,
            },
        }
    }

    /// The sessions that are open.
    pub(crate) fn open_sessions(&self) -> usize {
        self.sessions().iter().filter(|session| session.is_open).count()
    }

    /// Somebody else writes an object, whatever is there.
    pub(crate) fn put_object(&self, bucket: &str, name: &str, bytes: &[u8], metadata: &[(&str, &str)]) -> i64 {
        let content = Content::from(bytes.to_vec());
        let checksums = content.checksums();
        let request = ObjectRequest {
            bucket: bucket.to_owned(),
            name: name.to_owned(),
            metadata: metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..ObjectRequest::default()
        };
        let mut state = self.server.lock();
        let object = state.put(&request, content, checksums);
        object.generation
    }

    /// Changes an object in place, as a broken disk would: what is known of it stays as it was.
    #[track_caller]
    pub(crate) fn spoil_object(&self, bucket: &str, name: &str, change: impl FnOnce(&mut StoredObject)) {
        let mut state = self.server.lock();
        let bucket = state.buckets.get_mut(bucket).expect("a bucket of this server");
        let mut object = StoredObject::clone(bucket.live.get(name).expect("it is there"));
        change(&mut object);
        bucket.live.insert(name.to_owned(), Arc::new(object));
    }

    /// Somebody else deletes an object. The name is free then; its generations stay in the view.
    #[track_caller]
    pub(crate) fn delete_object(&self, bucket: &str, name: &str) {
        let mut state = self.server.lock();
        let bucket = state.buckets.get_mut(bucket).expect("a bucket of this server");
        bucket.live.remove(name).expect("it is there");
    }

    /// Somebody brings a deleted object back, from its soft-deleted or noncurrent version: the same bytes and metadata, in
    /// a new generation.
    #[track_caller]
    pub(crate) fn restore_object(&self, bucket: &str, name: &str) {
        let deleted = self.generations(bucket, name).pop().expect("it was there once");
        let mut state = self.server.lock();
        assert!(!state.buckets[bucket].live.contains_key(name), "{name} is there");
        state.put_again(bucket, &deleted);
    }
}
