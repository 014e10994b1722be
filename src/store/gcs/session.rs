//! Resumable sessions, and what is kept of them so that another process can go on.
//!
//! A journal is a file in the process's own directory, readable by its user alone, durable before the first byte is
//! sent. When the process is killed its successor claims the file, and uses it if it has built the very same segment
//! again: segments are made of their records alone, so it usually has.

use crate::store::{InstanceDir, SegmentFile, StoreError, attribute};
use serde_json::{Value, json};
use slog::{Logger, info, warn};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A session must end within a week of its beginning. One that is nearly that old is not worth asking.
const OLDEST: Duration = Duration::from_secs(6 * 24 * 3600);

/// The address of a session. Whoever has it can write into the session without saying who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SessionUri(String);

impl SessionUri {
    pub(super) fn new(text: &str) -> SessionUri {
        SessionUri(text.to_owned())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// Identity of an upload: the same segment, byte for byte, under the same name of the same service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UploadIdentity {
    /// The service: a session of a rehearsal must not be resumed in its stead, nor the other way round.
    endpoint: String,
    object: String,
    bytes: u64,
    crc32c: u32,
    content_hash: String,
    writer: String,
}

impl UploadIdentity {
    /// The reason why an upload cannot be resumed by another under the same name.
    fn difference(&self, other: &UploadIdentity) -> &'static str {
        if self.endpoint != other.endpoint {
            "it was begun at another endpoint"
        } else if self != other {
            "it is of other bytes"
        } else {
            "it is too old, or one of several"
        }
    }

    pub(super) fn of(file: &SegmentFile, endpoint: &str, location: String) -> UploadIdentity {
        let text = |key: &str| file.attributes.get(key).cloned().unwrap_or_default();
        UploadIdentity {
            endpoint: endpoint.to_owned(),
            object: location,
            bytes: file.bytes,
            crc32c: file.crc32c,
            content_hash: text(attribute::CONTENT_HASH),
            writer: text(attribute::WRITER),
        }
    }
}

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) uri: SessionUri,
    identity: UploadIdentity,
    initiated: SystemTime,
    journal: Option<PathBuf>,
}

impl Session {
    fn encode(&self) -> String {
        let UploadIdentity { endpoint, object, bytes, crc32c, content_hash, writer } = &self.identity;
        let initiated = self.initiated.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let journal = json!({
            "format": 2, "endpoint": endpoint, "object": object, "bytes": bytes, "crc32c": crc32c,
            "content_blake3": content_hash, "writer": writer, "if_generation_match": 0, "initiated": initiated, "session": self.uri.0,
        });
        format!("{journal}\n")
    }

    fn parse(text: &str, journal: PathBuf) -> Option<Session> {
        let value: Value = serde_json::from_str(text).ok()?;
        if value["format"].as_u64()? != 2 || value["if_generation_match"].as_u64()? != 0 {
            return None;
        }
        let words = |key: &str| value[key].as_str().map(str::to_owned);
        Some(Session {
            uri: SessionUri(words("session")?),
            identity: UploadIdentity {
                endpoint: words("endpoint")?,
                object: words("object")?,
                bytes: value["bytes"].as_u64()?,
                crc32c: u32::try_from(value["crc32c"].as_u64()?).ok()?,
                content_hash: words("content_blake3")?,
                writer: words("writer")?,
            },
            initiated: UNIX_EPOCH + Duration::from_secs(value["initiated"].as_u64()?),
            journal: Some(journal),
        })
    }

    fn is_too_old(&self) -> bool {
        // A clock that was set back says nothing: the service knows.
        self.initiated.elapsed().is_ok_and(|age| age > OLDEST)
    }
}

/// The open sessions that nobody is using at the moment.
#[derive(Debug)]
pub struct Sessions {
    /// Where their journals are; `None`: nowhere, and none outlives the process.
    directory: Option<Arc<InstanceDir>>,
    waiting: Mutex<Vec<Session>>,
    log: Logger,
}

impl Sessions {
    /// Sessions that end with the process.
    pub fn in_memory(log: &Logger) -> Sessions {
        Sessions { directory: None, waiting: Mutex::default(), log: log.clone() }
    }

    /// Sessions whose journals are kept in this directory, and those that it has claimed from processes that ended.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn kept_in(directory: Arc<InstanceDir>, log: &Logger) -> Result<Sessions, StoreError> {
        let mut waiting = Vec::new();
        for path in directory.journals()? {
            let session = std::fs::read_to_string(&path).ok().and_then(|text| Session::parse(&text, path.clone()));
            match session {
                Some(session) if !session.is_too_old() => waiting.push(session),
                // Torn while it was written, or of no use any more: nothing had been sent, or it is too late.
                _ => remove(&path),
            }
        }
        if !waiting.is_empty() {
            info!(log, "uploads of an earlier process found"; "sessions" => waiting.len());
        }
        Ok(Sessions { directory: Some(directory), waiting: Mutex::new(waiting), log: log.clone() })
    }

    /// The session of this very upload, if there is one. Those of other bytes or endpoints under its name are of no use, and
    /// dropped.
    pub(super) fn take(&self, identity: &UploadIdentity) -> Option<Session> {
        let mut waiting = self.lock();
        let of_object: Vec<usize> =
            (0..waiting.len()).rev().filter(|index| waiting[*index].identity.object == identity.object).collect();
        let mut found = None;
        for index in of_object {
            let session = waiting.swap_remove(index);
            if found.is_none() && session.identity == *identity && !session.is_too_old() {
                found = Some(session);
            } else {
                let why = session.identity.difference(identity);
                info!(self.log, "saved upload session cannot be resumed, starting over"; "object" => &identity.object,
                    "reason" => why);
                self.forget(session);
            }
        }
        found
    }

    /// A new session; its journal is durable when this returns, if it can be at all.
    pub(super) fn begin(&self, uri: SessionUri, identity: UploadIdentity) -> Session {
        let mut session = Session { uri, identity, initiated: SystemTime::now(), journal: None };
        if let Some(directory) = &self.directory {
            match directory.create_journal(session.encode().as_bytes()) {
                Ok(path) => session.journal = Some(path),
                // The upload is as good without; only a successor cannot go on.
                Err(error) => warn!(self.log, "an upload is not written down"; "reason" => %error),
            }
        }
        session
    }

    /// Keeps a session for the next try.
    pub(super) fn put_back(&self, session: Session) {
        self.lock().push(session);
    }

    /// Forgets a session that is of no use any more.
    pub(super) fn forget(&self, session: Session) {
        if let Some(path) = &session.journal {
            remove(path);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(journal: &std::path::Path) {
    // What stays is found useless by whoever claims it.
    let _ = std::fs::remove_file(journal);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn identity(bytes: u64) -> UploadIdentity {
        UploadIdentity {
            endpoint: "http://x".to_owned(),
            object: "gs://bucket/t/000000/1".to_owned(),
            bytes,
            crc32c: 7,
            content_hash: "ab".to_owned(),
            writer: "kafka-store 1".to_owned(),
        }
    }

    fn log() -> Logger {
        Logger::root(slog::Discard, slog::o!())
    }

    /// Fails if a journal of other bytes is used, if one is used twice, or if others than its user could read it.
    #[test]
    fn a_successor_goes_on_only_with_the_very_same_segment() {
        let root = tempfile::tempdir().expect("a directory");
        let first = Arc::new(InstanceDir::create(root.path()).expect("it is ours"));
        let sessions = Sessions::kept_in(Arc::clone(&first), &log()).expect("it is empty");
        let session = sessions.begin(SessionUri::new("http://x/?upload_id=secret"), identity(5));
        let path = session.journal.clone().expect("it is written down");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{session:?}").contains("secret"), "an address is a key");
        drop((session, sessions));
        first.remove();
        drop(first);

        let second = Arc::new(InstanceDir::create(root.path()).expect("it is ours"));
        second.clean_up_others(crate::store::KeepUnclean::No).expect("it is nobody's");
        let sessions = Sessions::kept_in(Arc::clone(&second), &log()).expect("it can be read");
        let found = sessions.take(&identity(5)).expect("the same segment");
        assert_eq!(found.uri.expose(), "http://x/?upload_id=secret");
        assert!(sessions.take(&identity(5)).is_none(), "it is in use");
        sessions.put_back(found);
        assert!(sessions.take(&identity(6)).is_none(), "other bytes");
        assert!(sessions.take(&identity(5)).is_none(), "and what was begun for others is dropped");
        assert_eq!(second.journals().expect("it can be read"), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_session_that_is_nearly_a_week_old_is_not_used() {
        let sessions = Sessions::in_memory(&log());
        let mut session = sessions.begin(SessionUri::new("http://x"), identity(5));
        session.initiated = SystemTime::now() - OLDEST - Duration::from_secs(1);
        sessions.put_back(session);
        assert!(sessions.take(&identity(5)).is_none());
    }
}
