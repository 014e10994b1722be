//! The chart of one resumable upload: from nothing to a finalized object, through anything that a network does.
//!
//! A session takes the bytes of one object in order, says how many it has persisted, and makes the object when it has
//! all. Every rule here follows from one fact: an answer may be lost while what it told has happened. The diagram is
//! `docs/statecharts.md`, drawn from the table.
//!
//! Non-obvious:
//! * After any doubt the session is asked first. Only what it says is persisted counts, never what was sent.
//! * That a name is taken says nothing of whom by: it may be this upload's own object, whose answer was lost. So the
//!   object is looked at, and the same bytes are the same object.
//! * A session that is gone may have made its object before it went.
//! * A session that made its object repeats that for a week, whatever has become of the object since. What a resumed one
//!   says is therefore looked at before it counts.
//! * An upload never overwrites: the store is asked to create.

use crate::backoff;
use crate::chart::kinds;
use core::time::Duration;

mod table;

/// What tells one object's bytes from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectSum {
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of all its bytes; `None` where the store does not say.
    pub crc32c: Option<u32>,
}

/// One upload of one sealed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The file's length.
    pub total_bytes: u64,
    /// CRC-32C of the file.
    pub crc32c: u32,
    /// How many bytes are sent at a time; `None`: all that is left.
    pub chunk_bytes: Option<u64>,
    /// How many sessions it may open before it is given up for now.
    pub sessions_max: u32,
    /// How many it has opened.
    pub sessions: u32,
    /// The most bytes that the present session may have been sent.
    pub sent_bytes: u64,
    /// How many tries in a row brought nothing.
    pub failures: u32,
    /// True if the present session was opened by an earlier upload of the same file.
    pub is_resumed: bool,
    /// Whether the store has refused the bytes for their checksum before.
    pub was_refused: bool,
    /// The state and what belongs to it.
    pub state: UploadState,
}

/// Where an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadState {
    /// Nothing is done yet.
    Idle,
    /// What lies under the object's name is being looked at.
    Looking {
        /// The store had answered that this is not allowed, which it also does where the name is taken.
        forbidden: bool,
    },
    /// A session is being opened.
    NoSession,
    /// Bytes are being sent.
    Open {
        /// What the session has, as it said itself.
        persisted_bytes: u64,
    },
    /// The session is being asked what it has.
    QueryingStatus {
        /// What it had when it last said so.
        persisted_bytes: u64,
    },
    /// The object exists, with the bytes that were to be stored.
    Finalized,
    /// Another object has the name.
    AlreadyExists,
    /// The bytes arrive with another checksum than the file was sealed with, time and again.
    Quarantined,
    /// The store refuses, and goes on refusing until somebody acts.
    Failed,
    /// No session lasts; it may be tried again later, from the start.
    GivenUp,
}

kinds! {
    /// The names of [`UploadState`].
    UploadStateKind of UploadState {
        Idle, Looking, NoSession, Open, QueryingStatus, Finalized, AlreadyExists, Quarantined, Failed, GivenUp,
    }
}

/// What can happen to an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadEvent {
    /// There is a file to upload.
    Started,
    /// There is a file to upload, and a session that was opened for the very same file earlier.
    Resumed,
    /// Nothing has the object's name.
    ObjectAbsent,
    /// Something has the object's name.
    ObjectFound {
        /// What the store says of it.
        object: ObjectSum,
    },
    /// A session was opened.
    Initiated,
    /// The session took bytes and wants more.
    ChunkAcknowledged {
        /// What it has.
        persisted_bytes: u64,
    },
    /// The session wants more, and does not say what it has.
    AcknowledgedNothing,
    /// The session was asked, and wants more.
    StatusAnswered {
        /// What it has; nothing where it does not say.
        persisted_bytes: u64,
    },
    /// The object exists, says the session.
    ObjectFinalized {
        /// What the store says of it.
        object: ObjectSum,
    },
    /// No answer, or one that says nothing: what was asked for may have happened.
    OutcomeUnknown,
    /// The session is over: expired, cancelled, or given up by the store.
    SessionGone,
    /// The token does not count any more.
    Unauthorised,
    /// The name is taken.
    PreconditionFailed,
    /// It is not allowed, or the name is taken and overwriting is not allowed.
    Forbidden,
    /// The bytes that arrived do not have the checksum that was declared.
    ChecksumRefused,
    /// The request is wrong: no such bucket or key, an impossible range.
    Refused,
    /// It is time to try again what failed.
    RetryDue,
}

kinds! {
    /// The names of [`UploadEvent`].
    UploadEventKind of UploadEvent {
        Started, Resumed, ObjectAbsent, ObjectFound, Initiated, ChunkAcknowledged, AcknowledgedNothing, StatusAnswered,
        ObjectFinalized, OutcomeUnknown, SessionGone, Unauthorised, PreconditionFailed, Forbidden, ChecksumRefused,
        Refused, RetryDue,
    }
}

/// What an upload asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadEffect {
    /// Look at what has the object's name.
    Look,
    /// Open a session, create-only.
    Initiate,
    /// Send these bytes of the file; none, at its end, asks for the object.
    Send {
        /// The first byte to send.
        from: u64,
        /// The byte after the last.
        until: u64,
    },
    /// Ask the session what it has.
    Query,
    /// Get another token.
    RefreshToken,
    /// Forget the session.
    DropSession,
    /// Try again later what failed; the more failures, the later.
    RetryLater {
        /// How many tries in a row brought nothing.
        failures: u32,
    },
}

kinds! {
    /// The names of [`UploadEffect`].
    UploadEffectKind of UploadEffect {
        DropSession, RefreshToken, RetryLater, Look, Initiate, Send, Query,
    }
}

impl Upload {
    /// An upload of a file of this length and checksum, in chunks or whole, that may open so many sessions.
    pub fn new(total_bytes: u64, crc32c: u32, chunk_bytes: Option<u64>, sessions_max: u32) -> Upload {
        Upload {
            total_bytes,
            crc32c,
            chunk_bytes,
            sessions_max,
            sessions: 0,
            sent_bytes: 0,
            failures: 0,
            is_resumed: false,
            was_refused: false,
            state: UploadState::Idle,
        }
    }

    /// How long to wait before what failed is tried again, as [`backoff::delay`] says. A
    /// session that is gone is not followed by another within a second: the store may have given it up for its load.
    pub fn retry_delay(&self, failures: u32, salt: u64) -> Duration {
        let delay = backoff::delay(failures, salt);
        let is_next_session = matches!(self.state, UploadState::NoSession) && self.sessions > 0;
        if is_next_session { delay.max(Duration::from_secs(1)) } else { delay }
    }

    /// Whether it has come to an end.
    pub fn has_ended(&self) -> bool {
        matches!(
            self.state,
            UploadState::Finalized
                | UploadState::AlreadyExists
                | UploadState::Quarantined
                | UploadState::Failed
                | UploadState::GivenUp
        )
    }
}
