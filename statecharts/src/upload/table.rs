//! The rows of the upload chart, and what each does.

use super::{
    ObjectSum, Upload, UploadEffect, UploadEffectKind, UploadEvent, UploadEventKind, UploadState, UploadStateKind,
};
use crate::chart::{Chart, Guard, Now, Row};
use alloc::vec::Vec;

use UploadEffectKind as Do;
use UploadEventKind as On;
use UploadStateKind as In;

type Effects = Vec<UploadEffect>;

const SAME: Guard<Upload> = Guard { name: "the same bytes", holds: |upload, event| upload.is_same(event) };
const SAME_NOW: Guard<Upload> = Guard {
    name: "the same bytes, by a session of its own",
    holds: |upload, event| upload.is_same(event) && !upload.is_resumed,
};
const SAME_ONCE: Guard<Upload> = Guard {
    name: "the same bytes, by a resumed session",
    holds: |upload, event| upload.is_same(event) && upload.is_resumed,
};
const OTHER: Guard<Upload> = Guard { name: "other bytes", holds: |upload, event| !upload.is_same(event) };
const FIRST: Guard<Upload> =
    Guard { name: "first session", holds: |upload, _| !upload.is_forbidden() && upload.sessions == 0 };
const MORE: Guard<Upload> = Guard {
    name: "sessions left",
    holds: |upload, _| !upload.is_forbidden() && (1..upload.sessions_max).contains(&upload.sessions),
};
const NO_MORE: Guard<Upload> = Guard {
    name: "no sessions left",
    holds: |upload, _| !upload.is_forbidden() && upload.sessions > 0 && upload.sessions >= upload.sessions_max,
};
const FORBIDDEN: Guard<Upload> = Guard { name: "forbidden", holds: |upload, _| upload.is_forbidden() };
const PROGRESS: Guard<Upload> =
    Guard { name: "some is new", holds: |upload, event| upload.brings(event) == Some(true) };
const NO_PROGRESS: Guard<Upload> =
    Guard { name: "nothing is new", holds: |upload, event| upload.brings(event) == Some(false) };
const POSSIBLE: Guard<Upload> =
    Guard { name: "as sent at most", holds: |upload, event| upload.brings(event).is_some() };
const TOO_MUCH: Guard<Upload> =
    Guard { name: "more than was sent", holds: |upload, event| upload.brings(event).is_none() };
const FIRST_TIME: Guard<Upload> = Guard { name: "first time", holds: |upload, _| !upload.was_refused };
const AGAIN: Guard<Upload> = Guard { name: "again", holds: |upload, _| upload.was_refused };

impl Chart for Upload {
    type Event = UploadEvent;
    type Effect = UploadEffect;
    type StateKind = UploadStateKind;
    type EventKind = UploadEventKind;
    type EffectKind = UploadEffectKind;

    const NAME: &'static str = "upload";
    const INITIAL: In = In::Idle;
    const TABLE: &'static [Row<Upload>] = &[
        Row::new(In::Idle, On::Started, None, In::Looking, &[Do::Look], look),
        Row::new(In::Idle, On::Resumed, None, In::QueryingStatus, &[Do::Query], resume),
        Row::new(In::Looking, On::ObjectAbsent, Some(FIRST), In::NoSession, &[Do::Initiate], initiate),
        Row::new(In::Looking, On::ObjectAbsent, Some(MORE), In::NoSession, &[Do::RetryLater], initiate_later),
        Row::new(In::Looking, On::ObjectAbsent, Some(NO_MORE), In::GivenUp, &[], give_up),
        Row::new(In::Looking, On::ObjectAbsent, Some(FORBIDDEN), In::Failed, &[], fail),
        Row::new(In::Looking, On::ObjectFound, Some(SAME), In::Finalized, &[], finalize),
        Row::new(In::Looking, On::ObjectFound, Some(OTHER), In::AlreadyExists, &[], concede),
        Row::new(In::Looking, On::OutcomeUnknown, None, In::Looking, &[Do::RetryLater], retry_later),
        Row::new(In::Looking, On::Unauthorised, None, In::Looking, &[Do::RefreshToken, Do::RetryLater], refresh),
        Row::new(In::Looking, On::Forbidden, None, In::Failed, &[], fail),
        Row::new(In::Looking, On::Refused, None, In::Failed, &[], fail),
        Row::new(In::Looking, On::RetryDue, None, In::Looking, &[Do::Look], retry),
        Row::new(In::NoSession, On::Initiated, None, In::Open, &[Do::Send], open),
        Row::new(In::NoSession, On::OutcomeUnknown, None, In::NoSession, &[Do::RetryLater], retry_later),
        Row::new(In::NoSession, On::Unauthorised, None, In::NoSession, &[Do::RefreshToken, Do::RetryLater], refresh),
        Row::new(In::NoSession, On::PreconditionFailed, None, In::Looking, &[Do::Look], look),
        Row::new(In::NoSession, On::Forbidden, None, In::Looking, &[Do::Look], look_whether_forbidden),
        Row::new(In::NoSession, On::Refused, None, In::Failed, &[], fail),
        Row::new(In::NoSession, On::RetryDue, None, In::NoSession, &[Do::Initiate], retry),
        Row::new(In::Open, On::ChunkAcknowledged, Some(PROGRESS), In::Open, &[Do::Send], send_on),
        Row::new(
            In::Open,
            On::ChunkAcknowledged,
            Some(NO_PROGRESS),
            In::QueryingStatus,
            &[Do::RetryLater],
            query_later,
        ),
        Row::new(
            In::Open,
            On::ChunkAcknowledged,
            Some(TOO_MUCH),
            In::Looking,
            &[Do::DropSession, Do::Look],
            drop_and_look,
        ),
        Row::new(In::Open, On::AcknowledgedNothing, None, In::QueryingStatus, &[Do::RetryLater], query_later),
        Row::new(In::Open, On::OutcomeUnknown, None, In::QueryingStatus, &[Do::RetryLater], query_later),
        Row::new(
            In::Open,
            On::Unauthorised,
            None,
            In::QueryingStatus,
            &[Do::RefreshToken, Do::RetryLater],
            refresh_and_query,
        ),
        Row::new(In::Open, On::ObjectFinalized, Some(SAME_NOW), In::Finalized, &[Do::DropSession], drop_and_finalize),
        Row::new(
            In::Open,
            On::ObjectFinalized,
            Some(SAME_ONCE),
            In::Looking,
            &[Do::DropSession, Do::Look],
            drop_and_look,
        ),
        Row::new(In::Open, On::ObjectFinalized, Some(OTHER), In::Looking, &[Do::DropSession, Do::Look], drop_and_look),
        Row::new(In::Open, On::SessionGone, None, In::Looking, &[Do::DropSession, Do::Look], drop_and_look),
        Row::new(In::Open, On::PreconditionFailed, None, In::Looking, &[Do::DropSession, Do::Look], drop_and_look),
        Row::new(
            In::Open,
            On::Forbidden,
            None,
            In::Looking,
            &[Do::DropSession, Do::Look],
            drop_and_look_whether_forbidden,
        ),
        Row::new(In::Open, On::Refused, None, In::Looking, &[Do::DropSession, Do::Look], drop_and_look),
        Row::new(
            In::Open,
            On::ChecksumRefused,
            Some(FIRST_TIME),
            In::NoSession,
            &[Do::DropSession, Do::RetryLater],
            begin_anew,
        ),
        Row::new(In::Open, On::ChecksumRefused, Some(AGAIN), In::Quarantined, &[Do::DropSession], quarantine),
        Row::new(In::QueryingStatus, On::StatusAnswered, Some(POSSIBLE), In::Open, &[Do::Send], send_on),
        Row::new(
            In::QueryingStatus,
            On::StatusAnswered,
            Some(TOO_MUCH),
            In::Looking,
            &[Do::DropSession, Do::Look],
            drop_and_look,
        ),
        Row::new(In::QueryingStatus, On::OutcomeUnknown, None, In::QueryingStatus, &[Do::RetryLater], retry_later),
        Row::new(
            In::QueryingStatus,
            On::Unauthorised,
            None,
            In::QueryingStatus,
            &[Do::RefreshToken, Do::RetryLater],
            refresh,
        ),
        Row::new(In::QueryingStatus, On::RetryDue, None, In::QueryingStatus, &[Do::Query], retry),
        Row::new(
            In::QueryingStatus,
            On::ObjectFinalized,
            Some(SAME_NOW),
            In::Finalized,
            &[Do::DropSession],
            drop_and_finalize,
        ),
        Row::new(
            In::QueryingStatus,
            On::ObjectFinalized,
            Some(SAME_ONCE),
            In::Looking,
            &[Do::DropSession, Do::Look],
            drop_and_look,
        ),
        Row::new(
            In::QueryingStatus,
            On::ObjectFinalized,
            Some(OTHER),
            In::Looking,
            &[Do::DropSession, Do::Look],
            drop_and_look,
        ),
        Row::new(In::QueryingStatus, On::SessionGone, None, In::Looking, &[Do::DropSession, Do::Look], drop_and_look),
        Row::new(
            In::QueryingStatus,
            On::PreconditionFailed,
            None,
            In::Looking,
            &[Do::DropSession, Do::Look],
            drop_and_look,
        ),
        Row::new(
            In::QueryingStatus,
            On::Forbidden,
            None,
            In::Looking,
            &[Do::DropSession, Do::Look],
            drop_and_look_whether_forbidden,
        ),
        Row::new(In::QueryingStatus, On::Refused, None, In::Looking, &[Do::DropSession, Do::Look], drop_and_look),
        Row::new(
            In::QueryingStatus,
            On::ChecksumRefused,
            Some(FIRST_TIME),
            In::NoSession,
            &[Do::DropSession, Do::RetryLater],
            begin_anew,
        ),
        Row::new(In::QueryingStatus, On::ChecksumRefused, Some(AGAIN), In::Quarantined, &[Do::DropSession], quarantine),
    ];
    /// One thing is asked at a time, and each answer is waited for.
    const STALE: &'static [(In, On)] = &[];

    fn state(&self) -> In {
        self.state.kind()
    }

    fn event_kind(event: &UploadEvent) -> On {
        event.kind()
    }

    fn effect_kind(effect: &UploadEffect) -> Do {
        effect.kind()
    }
}

/// What the guards ask.
impl Upload {
    fn is_same(&self, event: &UploadEvent) -> bool {
        let (UploadEvent::ObjectFound { object } | UploadEvent::ObjectFinalized { object }) = event else {
            return false;
        };
        *object == ObjectSum { bytes: self.total_bytes, crc32c: Some(self.crc32c) }
    }

    fn is_forbidden(&self) -> bool {
        matches!(self.state, UploadState::Looking { forbidden: true })
    }

    /// Whether an acknowledgement brings anything new; `None` if it speaks of bytes that were never sent.
    fn brings(&self, event: &UploadEvent) -> Option<bool> {
        match event {
            UploadEvent::ChunkAcknowledged { persisted_bytes } | UploadEvent::StatusAnswered { persisted_bytes } => {
                (*persisted_bytes <= self.sent_bytes).then_some(*persisted_bytes > self.persisted_bytes())
            }
            _ => None,
        }
    }

    fn persisted_bytes(&self) -> u64 {
        match self.state {
            UploadState::Open { persisted_bytes } | UploadState::QueryingStatus { persisted_bytes } => persisted_bytes,
            _ => 0,
        }
    }

    fn send(&mut self, from: u64, effects: &mut Effects) {
        let chunk = self.chunk_bytes.unwrap_or(u64::MAX);
        let until = from.saturating_add(chunk).min(self.total_bytes);
        self.sent_bytes = self.sent_bytes.max(until);
        self.state = UploadState::Open { persisted_bytes: from };
        effects.push(UploadEffect::Send { from, until });
    }

    fn fail_once_more(&mut self, effects: &mut Effects) {
        self.failures = self.failures.saturating_add(1);
        effects.push(UploadEffect::RetryLater { failures: self.failures });
    }
}

fn look(upload: &mut Upload, _: Now, _: UploadEvent, effects: &mut Effects) {
    upload.state = UploadState::Looking { forbidden: false };
    effects.push(UploadEffect::Look);
}

fn look_whether_forbidden(upload: &mut Upload, _: Now, _: UploadEvent, effects: &mut Effects) {
    upload.state = UploadState::Looking { forbidden: true };
    effects.push(UploadEffect::Look);
}

fn drop_and_look(upload: &mut Upload, now: Now, event: UploadEvent, effects: &mut Effects) {
    effects.push(UploadEffect::DropSession);
    look(upload, now, event, effects);
}

fn drop_and_look_whether_forbidden(upload: &mut Upload, now: Now, event: UploadEvent, effects: &mut Effects) {
    effects.push(UploadEffect::DropSession);
    look_whether_forbidden(upload, now, event, effects);
}

/// The session may have been sent everything: an earlier process knows, and it had the same bytes.
fn resume(upload: &mut Upload, _: Now, _: UploadEvent, effects: &mut Effects) {
    upload.sessions = 1;
    upload.is_resumed = true;
    upload.sent_bytes = upload.total_bytes;
    upload.state = UploadState::QueryingStatus { persisted_bytes: 0 };
    effects.push(UploadEffect::Query);
}

fn initiate(upload: &mut Upload, _: Now, _: UploadEvent, effects: &mut Effects) {
    upload.state = UploadState::NoSession;
    effects.push(UploadEffect::Initiate);
}

fn initiate_later(upload: &mut Upload, _: Now, _: UploadEvent, effects: &mut Effects) {
    upload.state = UploadState::NoSession;
    upload.fail_once_more(effects);
}

fn begin_anew(upload: &mut Upload, now: Now, event: UploadEvent, effects: &mut Effects) {
    upload.was_refused = true;
    effects.push(UploadEffect::DropSession);
    initiate_later(upload, now, event, effects);
}

fn open(upload: &mut Upload, _: Now, _: UploadEvent, effects: &mut Effects) {
    upload.sessions = upload.sessions.saturating_add(1);
    upload.is_resumed = false;
    upload.sent_bytes = 0;
    upload.send(0, effects);
}

fn send_on(upload: &mut Upload, _: Now, event: UploadEvent, effects: &mut Effects) {
    if let UploadEvent::ChunkAcknowledged { persisted_bytes } | UploadEvent::StatusAnswered { persisted_bytes } = event
    {
        if persisted_bytes > upload.persisted_bytes() {
            upload.failures = 0;
        }
        upload.send(persisted_bytes, effects);
    }
}

fn query_later(upload: &mut Upload, _: Now, event: UploadEvent, effects: &mut Effects) {
    let persisted_bytes = match event {
        UploadEvent::ChunkAcknowledged { persisted_bytes } => persisted_bytes,
        _ => upload.persisted_bytes(),
    };
    upload.state = UploadState::QueryingStatus { persisted_bytes };
    upload.fail_once_more(effects);
}

fn refresh_and_query(upload: &mut Upload, now: Now, event: UploadEvent, effects: &mut Effects) {
    effects.push(UploadEffect::RefreshToken);
    query_later(upload, now, event, effects);
}

fn refresh(upload: &mut Upload, _: Now, _: UploadEvent, effects: &mut Effects) {
    effects.push(UploadEffect::RefreshToken);
    upload.fail_once_more(effects);
}

fn retry_later(upload: &mut Upload, _: Now, _: UploadEvent, effects: &mut Effects) {
    upload.fail_once_more(effects);
}

fn retry(upload: &mut Upload, _: Now, _: UploadEvent, effects: &mut Effects) {
    match upload.state {
        UploadState::Looking { .. } => effects.push(UploadEffect::Look),
        UploadState::NoSession => effects.push(UploadEffect::Initiate),
        UploadState::QueryingStatus { .. } => effects.push(UploadEffect::Query),
        _ => {}
    }
}

fn finalize(upload: &mut Upload, _: Now, _: UploadEvent, _: &mut Effects) {
    upload.state = UploadState::Finalized;
}

fn drop_and_finalize(upload: &mut Upload, _: Now, _: UploadEvent, effects: &mut Effects) {
    upload.state = UploadState::Finalized;
    effects.push(UploadEffect::DropSession);
}

fn concede(upload: &mut Upload, _: Now, _: UploadEvent, _: &mut Effects) {
    upload.state = UploadState::AlreadyExists;
}

fn quarantine(upload: &mut Upload, _: Now, _: UploadEvent, effects: &mut Effects) {
    upload.state = UploadState::Quarantined;
    effects.push(UploadEffect::DropSession);
}

fn fail(upload: &mut Upload, _: Now, _: UploadEvent, _: &mut Effects) {
    upload.state = UploadState::Failed;
}

fn give_up(upload: &mut Upload, _: Now, _: UploadEvent, _: &mut Effects) {
    upload.state = UploadState::GivenUp;
}
