//! What a client must never do is found out, and what it may do is no violation.

use super::{BUCKET, Gcs, JSON, KIB_256, MIB, bytes};
use crate::support::fake_gcs::{After, Fault, Kind};

const FIRST: &str = "bytes 0-262143/1048576";
const REST: &str = "bytes 262144-1048575/1048576";

#[track_caller]
fn only_violation(gcs: &Gcs, words: &str) {
    let violations = gcs.fake.violations();
    assert!(violations.len() == 1 && violations[0].contains(words), "{violations:?}");
}

#[test]
fn writes_that_are_not_create_only() {
    for target in
        ["uploadType=resumable&name=a", "uploadType=media&name=a", "uploadType=media&name=a&ifGenerationMatch=7"]
    {
        let gcs = Gcs::start();
        gcs.ask("POST", &format!("/upload/storage/v1/b/{BUCKET}/o?{target}"), &[JSON], b"");
        only_violation(&gcs, "without ifGenerationMatch=0");
    }
    let gcs = Gcs::start();
    gcs.open_session("a", r#"{"contentEncoding": "gzip"}"#);
    only_violation(&gcs, "contentEncoding");
}

#[test]
fn deleting_and_paths_that_are_nothing() {
    let gcs = Gcs::start();
    gcs.fake.put_object(BUCKET, "a", b"1", &[]);
    assert_eq!(gcs.ask("DELETE", &format!("/storage/v1/b/{BUCKET}/o/a"), &[], b"").status, 405);
    only_violation(&gcs, "DELETE");
    assert!(gcs.fake.object(BUCKET, "a").is_some());
    let gcs = Gcs::start();
    gcs.fake.put_object(BUCKET, "orders/7", b"1", &[]);
    assert_eq!(gcs.get(&format!("/storage/v1/b/{BUCKET}/o/orders/7")).status, 404, "a plain slash is another path");
    only_violation(&gcs, "which is nothing");
}

/// After every unclear answer: bytes at once are a violation, a query and then bytes are none.
#[test]
fn bytes_after_an_unclear_answer() {
    let body = bytes(MIB);
    let middle = After::Request(100);
    let unclear = [
        Fault::Reset,
        Fault::Answer(503),
        Fault::Answer(429),
        Fault::Answer(408),
        Fault::ResetAfter(middle),
        Fault::AnswerAfter(middle, 500),
        Fault::DropAnswer,
        Fault::NoRange,
        // An honest 308 without a Range.
        Fault::PersistOnly(0),
    ];
    for fault in unclear {
        for asks in [false, true] {
            let gcs = Gcs::start();
            let session = gcs.open_session("a", "");
            gcs.fake.arm(&[Kind::DataPut], fault);
            // Whatever it is, it is not clear.
            let _ = gcs.try_to_put(&session, FIRST, &body[..KIB_256]);
            if asks {
                gcs.persisted(&session);
            }
            let _ = gcs.try_to_put(&session, FIRST, &body[..KIB_256]);
            assert_eq!(gcs.fake.violations().len(), usize::from(!asks), "{fault:?}: {:?}", gcs.fake.violations());
        }
    }
}

#[test]
fn a_query_that_fails_makes_nothing_clear() {
    let gcs = Gcs::start();
    let body = bytes(MIB);
    let session = gcs.open_session("a", "");
    gcs.fake.arm_sequence(Kind::SESSION, &[Fault::Reset, Fault::Answer(503)]);
    gcs.try_to_put(&session, FIRST, &body[..KIB_256]).expect_err("reset");
    assert_eq!(gcs.put(&session, "bytes */*", b"").status, 503);
    gcs.put(&session, FIRST, &body[..KIB_256]);
    only_violation(&gcs, "without a status query");
}

#[test]
fn bytes_for_a_session_that_claimed_too_much() {
    for kind in [Kind::DataPut, Kind::Query] {
        let gcs = Gcs::start();
        let body = bytes(MIB);
        let session = gcs.open_session("a", "");
        gcs.fake.arm(&[kind], Fault::AckMore(1));
        gcs.put(&session, FIRST, &body[..KIB_256]);
        let first_query = gcs.persisted(&session);
        assert_eq!(first_query, KIB_256 as u64 + u64::from(kind == Kind::Query));
        gcs.persisted(&session);
        assert!(gcs.fake.violations().is_empty());
        // No honest answer afterwards makes it good again.
        gcs.put(&session, REST, &body[KIB_256..]);
        only_violation(&gcs, "claimed more than was sent");
    }
}

#[test]
fn what_a_client_may_do() {
    let gcs = Gcs::start();
    let body = bytes(MIB);
    let session = gcs.open_session("a", "");
    // A token that is refused has done nothing: the same again with a new one is right.
    gcs.fake.arm(&[Kind::DataPut], Fault::Answer(401));
    assert_eq!(gcs.put(&session, FIRST, &body[..KIB_256]).status, 401);
    assert_eq!(gcs.put(&session, FIRST, &body[..KIB_256]).status, 308);
    assert_eq!(gcs.put(&session, "bytes 0-1048575/1048576", &body).status, 200, "the same bytes again");
    assert!(gcs.fake.violations().is_empty());
}

#[test]
fn other_bytes_in_the_same_place() {
    let gcs = Gcs::start();
    let body = bytes(MIB);
    let session = gcs.open_session("a", "");
    gcs.put(&session, FIRST, &body[..KIB_256]);
    let mut other = body.clone();
    other[KIB_256 - 1] ^= 1;
    gcs.put(&session, "bytes 0-1048575/1048576", &other);
    only_violation(&gcs, "other bytes");
    assert_eq!(gcs.fake.object(BUCKET, "a").expect("there").bytes(), body);
}

#[test]
fn the_journal_tells_what_came_and_what_was_answered() {
    let gcs = Gcs::start();
    let body = bytes(MIB);
    let session = gcs.open_session("a", "");
    gcs.fake.arm(&[Kind::DataPut], Fault::DropAnswer);
    gcs.try_to_put(&session, FIRST, &body[..KIB_256]).expect_err("no answer");
    gcs.persisted(&session);
    gcs.put(&session, REST, &body[KIB_256..]);
    let journal = gcs.fake.journal();
    let told: Vec<_> = journal.iter().map(|seen| (seen.kind, seen.content_range.as_deref(), seen.status)).collect();
    let expected = [
        (Kind::Initiate, None, Some(200)),
        (Kind::DataPut, Some(FIRST), None),
        (Kind::Query, Some("bytes */*"), Some(308)),
        (Kind::DataPut, Some(REST), Some(200)),
    ];
    assert_eq!(told, expected);
    assert!(journal.iter().all(|seen| seen.name.as_deref() == Some("a")));
}
