//! What goes wrong on purpose, seen from the client and in the store.

use super::client::{Connection, Cut, Reply};
use super::{BUCKET, Gcs, KIB_256, MIB, bytes, persisted_of};
use crate::support::fake_gcs::{After, Fault, Kind};
use crate::wait_until;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// An upload of 1 MiB in one PUT.
const WHOLE: &str = "bytes 0-1048575/1048576";

#[track_caller]
pub(crate) fn has_object(gcs: &Gcs, expected: &[u8]) {
    let generations = gcs.fake.generations(BUCKET, "a");
    assert_eq!(generations.len(), 1);
    assert_eq!(generations[0].bytes(), expected);
}

/// The client waits in vain.
#[track_caller]
pub(crate) fn stalls(gcs: &Gcs, method: &str, target: &str, range: &str, body: &[u8]) -> Connection {
    let mut connection = Connection::open(gcs.fake.address()).expect("it listens");
    let length = body.len().to_string();
    connection.head(method, target, &[("Content-Length", &length), ("Content-Range", range)]).expect("sent");
    connection.send(body).expect("it fits into the buffers of the sockets");
    connection.set_patience(Duration::from_millis(200));
    let error = connection.reply().expect_err("nothing comes");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    connection
}

#[test]
fn a_reset_before_the_work() {
    let gcs = Gcs::start();
    let session = gcs.open_session("a", "");
    gcs.fake.arm(&[Kind::DataPut], Fault::Reset);
    let error = gcs.try_to_put(&session, "bytes 0-8/9", b"123456789").expect_err("reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(gcs.persisted(&session), 0, "the query is not hit");
    assert_eq!(gcs.put(&session, "bytes 0-8/9", b"123456789").status, 200, "only once");
    assert_eq!(gcs.fake.faults(|faults| faults.fired().to_vec()), [(Kind::DataPut, Fault::Reset)]);
}

#[test]
fn a_reset_in_the_body_leaves_whole_quanta() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    for (after, persisted) in [(0, 0), (KIB_256 - 1, 0), (KIB_256, 1), (3 * KIB_256 - 1, 2), (MIB, 4)] {
        let session = gcs.open_session("a", "");
        gcs.fake.arm(&[Kind::DataPut], Fault::ResetAfter(After::Request(after as u64)));
        gcs.try_to_put(&session, WHOLE, &all).expect_err("reset");
        assert_eq!(gcs.persisted(&session), (persisted * KIB_256) as u64, "after {after}");
        assert!(gcs.fake.objects(BUCKET).is_empty(), "also when everything has come");
    }
}

#[test]
fn what_comes_twice_is_counted() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    let session = gcs.open_session("a", "");
    gcs.fake.arm(&[Kind::DataPut], Fault::AnswerAfter(After::Request(KIB_256 as u64 + 1000), 503));
    assert_eq!(gcs.put(&session, WHOLE, &all).status, 503);
    let reply = gcs.put(&session, &format!("bytes {KIB_256}-{}/{MIB}", MIB - 1), &all[KIB_256..]);
    assert_eq!(reply.status, 200);
    // The server had read a thousand bytes beyond what it kept.
    assert_eq!(gcs.fake.counts().bytes_sent_twice, 1000);
    has_object(&gcs, &all);
}

#[test]
fn a_status_at_once_or_after_some_bytes() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    let mut shapes = Vec::new();
    for status in [503, 429, 408, 500, 502, 504, 403, 401] {
        let session = gcs.open_session("a", "");
        gcs.fake.arm(&[Kind::DataPut], Fault::Answer(status));
        let reply = gcs.put(&session, WHOLE, &all);
        assert_eq!(reply.status, status);
        shapes.push(reply.header("content-type").map(|kind| kind.split(';').next().expect("a type").to_owned()));
        assert_eq!(gcs.persisted(&session), 0);
        gcs.fake.arm(&[Kind::DataPut], Fault::AnswerAfter(After::Request(600_000), status));
        assert_eq!(gcs.put(&session, WHOLE, &all).status, status);
        assert_eq!(gcs.persisted(&session), 2 * KIB_256 as u64);
    }
    shapes.sort();
    shapes.dedup();
    assert_eq!(shapes.len(), 2, "bodies take turns: {shapes:?}");
}

#[test]
fn a_lost_final_answer() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    let session = gcs.open_session("a", "");
    gcs.fake.arm(Kind::SESSION, Fault::DropFinalAnswer);
    assert_eq!(gcs.put(&session, &format!("bytes 0-{}/{MIB}", KIB_256 - 1), &all[..KIB_256]).status, 308);
    let rest = format!("bytes {KIB_256}-{}/{MIB}", MIB - 1);
    let error = gcs.try_to_put(&session, &rest, &all[KIB_256..]).expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "without a byte, and no reset");
    has_object(&gcs, &all);
    assert_eq!(gcs.put(&session, "bytes */*", b"").status, 200);
}

#[test]
fn a_final_answer_that_cannot_be_read() {
    for fault in [Fault::GarbledFinal, Fault::CutFinal] {
        let gcs = Gcs::start();
        let session = gcs.open_session("a", "");
        gcs.fake.arm(&[Kind::DataPut], fault);
        let body = match gcs.try_to_put(&session, "bytes 0-8/9", b"123456789") {
            Ok(reply) => {
                assert_eq!((fault, reply.status), (Fault::GarbledFinal, 200));
                reply.body
            }
            Err(error) => {
                let cut = error.get_ref().and_then(|inner| inner.downcast_ref::<Cut>()).expect("the body is cut");
                assert_eq!((fault, cut.reply.status), (Fault::CutFinal, 200));
                assert_eq!(cut.error.kind(), ErrorKind::UnexpectedEof);
                cut.reply.body.clone()
            }
        };
        assert!(body.len() > 100 && serde_json::from_slice::<serde_json::Value>(&body).is_err());
        has_object(&gcs, b"123456789");
        assert_eq!(gcs.put(&session, "bytes */*", b"").json()["size"], "9");
    }
}

#[test]
fn a_final_answer_that_lies() {
    let right = ("9", "4waSgw==", "JfnnlDI7RTiF9RgfG2JNCw==");
    for (fault, wrong) in [
        (Fault::WrongFinalSize, ("10", right.1, right.2)),
        (Fault::WrongFinalCrc32c, (right.0, "AAAAAA==", right.2)),
        (Fault::WrongFinalMd5, (right.0, right.1, "AAAAAAAAAAAAAAAAAAAAAA==")),
    ] {
        let gcs = Gcs::start();
        let session = gcs.open_session("a", "");
        gcs.fake.arm(Kind::SESSION, fault);
        let said = |reply: Reply| {
            let resource = reply.json();
            ["size", "crc32c", "md5Hash"].map(|field| resource[field].as_str().expect("a text").to_owned())
        };
        assert_eq!(said(gcs.put(&session, "bytes 0-8/9", b"123456789")), [wrong.0, wrong.1, wrong.2]);
        assert_eq!(said(gcs.put(&session, "bytes */*", b"")), [right.0, right.1, right.2]);
        has_object(&gcs, b"123456789");
    }
}

#[test]
fn a_308_without_a_range_or_with_too_much() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    let session = gcs.open_session("a", "");
    gcs.fake.arm(Kind::SESSION, Fault::NoRange);
    assert_eq!(gcs.persisted(&session), 0, "an honest answer: nothing is persisted, and the fault waits");
    let reply = gcs.put(&session, &format!("bytes 0-{}/{MIB}", KIB_256 - 1), &all[..KIB_256]);
    assert_eq!((reply.status, reply.header("range")), (308, None));
    assert_eq!(gcs.persisted(&session), KIB_256 as u64);
    gcs.fake.arm(Kind::SESSION, Fault::AckMore(1));
    let reply = gcs.put(&session, &format!("bytes {KIB_256}-{}/{MIB}", 2 * KIB_256 - 1), &all[KIB_256..2 * KIB_256]);
    assert_eq!((reply.status, persisted_of(&reply)), (308, 2 * KIB_256 as u64 + 1));
    assert_eq!(gcs.persisted(&session), 2 * KIB_256 as u64);
}

#[test]
fn less_is_persisted_than_was_sent() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    let session = gcs.open_session("a", "");
    gcs.fake.arm(&[Kind::DataPut], Fault::PersistOnly(3 * KIB_256 as u64 - 1));
    let reply = gcs.put(&session, &format!("bytes 0-{}/*", MIB - 1), &all);
    assert_eq!((reply.status, persisted_of(&reply)), (308, 2 * KIB_256 as u64));
    // Also where the last chunk was sent: a 308 comes, and no object.
    gcs.fake.arm(&[Kind::DataPut], Fault::PersistOnly(KIB_256 as u64));
    let rest = |from: usize| format!("bytes {from}-{}/{MIB}", MIB - 1);
    let reply = gcs.put(&session, &rest(2 * KIB_256), &all[2 * KIB_256..]);
    assert_eq!((reply.status, persisted_of(&reply)), (308, 3 * KIB_256 as u64));
    // Or nothing at all of it, and nothing of the first chunk.
    gcs.fake.arm(&[Kind::DataPut], Fault::PersistOnly(0));
    let reply = gcs.put(&session, &rest(3 * KIB_256), &all[3 * KIB_256..]);
    assert_eq!((reply.status, persisted_of(&reply)), (308, 3 * KIB_256 as u64));
    assert!(gcs.fake.objects(BUCKET).is_empty());
    assert_eq!(gcs.put(&session, &rest(3 * KIB_256), &all[3 * KIB_256..]).status, 200);
    has_object(&gcs, &all);
    assert!(gcs.fake.violations().is_empty(), "these answers are clear: {:?}", gcs.fake.violations());
}

#[test]
fn an_answer_before_the_body_closes_the_connection() {
    let gcs = Gcs::start();
    let session = gcs.open_session("a", "");
    gcs.fake.arm(&[Kind::DataPut], Fault::AnswerAndClose(503));
    let mut connection = Connection::open(gcs.fake.address()).expect("it listens");
    connection.head("PUT", &session, &[("Content-Range", WHOLE), ("Content-Length", "1048576")]).expect("sent");
    let reply = connection.reply().expect("before the body");
    assert_eq!((reply.status, reply.header("connection")), (503, Some("close")));
    connection.reply().expect_err("and nothing more");
    assert_eq!((gcs.persisted(&session), gcs.fake.counts().bytes_received), (0, 0));
}

#[test]
fn a_session_that_dies() {
    let gcs = Gcs::start();
    let session = gcs.open_session("a", "");
    gcs.fake.arm(Kind::SESSION, Fault::SessionGone);
    assert_eq!(gcs.put(&session, "bytes 0-8/9", b"123456789").status, 410);
    assert_eq!(gcs.put(&session, "bytes */*", b"").status, 410, "for good");
    assert!(gcs.fake.objects(BUCKET).is_empty());
    assert_eq!(gcs.fake.open_sessions(), 0);
}

#[test]
fn stalls_at_every_point() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    let session = gcs.open_session("a", "");
    gcs.fake.arm(&[Kind::DataPut], Fault::Stall);
    stalls(&gcs, "PUT", &session, "bytes 0-262143/1048576", &all[..KIB_256]);
    assert_eq!(gcs.persisted(&session), 0);
    gcs.fake.arm(&[Kind::DataPut], Fault::StallAfter(After::Request(KIB_256 as u64)));
    stalls(&gcs, "PUT", &session, "bytes 0-524287/1048576", &all[..2 * KIB_256]);
    wait_until("a quantum is there", || gcs.persisted(&session) == KIB_256 as u64);
    gcs.fake.arm(&[Kind::DataPut], Fault::StallFinalAnswer);
    stalls(&gcs, "PUT", &session, "bytes 262144-1048575/1048576", &all[KIB_256..]);
    wait_until("the work is done", || gcs.fake.object(BUCKET, "a").is_some());
    has_object(&gcs, &all);
    gcs.fake.arm(&[Kind::Query], Fault::StallAnswer);
    stalls(&gcs, "PUT", &session, "bytes */*", b"");
    let delay = Duration::from_millis(150);
    gcs.fake.arm(&[Kind::Query], Fault::Delay(delay));
    let began = Instant::now();
    assert_eq!(gcs.put(&session, "bytes */*", b"").status, 200);
    assert!(began.elapsed() >= delay);
}

/// The list of resumable faults in Google's conformance tests.
#[test]
fn googles_own_list_can_be_said() {
    let mib_8 = 8 * MIB as u64;
    let lists: [&[Fault]; 4] = [
        &[Fault::Reset, Fault::Answer(503)],
        &[Fault::Answer(408)],
        &[Fault::AnswerAfter(After::Object(KIB_256 as u64), 503)],
        &[Fault::AnswerAfter(After::Object(mib_8), 503), Fault::Answer(408)],
    ];
    let all = bytes(9 * MIB);
    for list in lists {
        for chunk in [KIB_256, 2 * MIB, all.len()] {
            let gcs = Gcs::start();
            gcs.fake.arm_sequence(Kind::SESSION, list);
            let failures = upload(&gcs, &all, chunk);
            assert_eq!(failures, list.len(), "{list:?} in chunks of {chunk}");
            assert_eq!(gcs.fake.faults(|faults| (faults.fired().len(), faults.to_come())), (list.len(), 0));
            has_object(&gcs, &all);
        }
    }
}

/// Chance is repeatable.
#[test]
fn faults_by_chance_follow_their_seed() {
    let run = |seed: u64| {
        let gcs = Gcs::start();
        gcs.fake.faults(|faults| faults.arm_chance(Kind::SESSION, Fault::Answer(503), 300, seed));
        let failures = upload(&gcs, &bytes(9 * MIB), KIB_256);
        has_object(&gcs, &bytes(9 * MIB));
        (failures, gcs.fake.counts().of(Kind::DataPut), gcs.fake.counts().of(Kind::Query))
    };
    let (first, again, other) = (run(1), run(1), run(2));
    assert!(first.0 > 3, "some of dozens: {first:?}");
    assert_eq!(first, again);
    assert_ne!(first, other);
}

/// An upload that asks for the status after every failure; the answer is how many there were.
fn upload(gcs: &Gcs, all: &[u8], chunk: usize) -> usize {
    let session = gcs.open_session("a", "");
    let (mut next, mut failures) = (0, 0);
    loop {
        let end = all.len().min(next + chunk);
        let range = if next == all.len() {
            format!("bytes */{}", all.len())
        } else {
            format!("bytes {next}-{}/{}", end - 1, all.len())
        };
        match gcs.try_to_put(&session, &range, &all[next..end]) {
            Ok(reply) if reply.status == 200 => return failures,
            Ok(reply) if reply.status == 308 => next = persisted_of(&reply) as usize,
            _ => {
                failures += 1;
                assert!(failures < 1000, "it does not end");
                next = loop {
                    match gcs.try_to_put(&session, "bytes */*", b"") {
                        Ok(reply) if reply.status == 308 => break persisted_of(&reply) as usize,
                        Ok(reply) if reply.status == 200 => return failures,
                        _ => {
                            failures += 1;
                            assert!(failures < 1000, "it does not end");
                        }
                    }
                };
            }
        }
    }
}
