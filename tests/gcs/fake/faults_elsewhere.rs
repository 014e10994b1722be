//! What goes wrong on purpose besides data PUTs: with every other kind of request.

use super::client::{Connection, Cut};
use super::faults::{has_object, stalls};
use super::{BUCKET, Gcs, JSON, KIB_256, MIB, bytes};
use crate::support::fake_gcs::{After, Fault, Kind};
use std::io::ErrorKind;
use std::time::Duration;

#[test]
fn faults_hit_every_kind() {
    let gcs = Gcs::start();
    gcs.fake.put_object(BUCKET, "there", b"123456789", &[]);
    let get = |target: &str| gcs.get(target).status;
    let object = format!("/storage/v1/b/{BUCKET}/o/there");
    let media = format!("{object}?alt=media");
    let listing = format!("/storage/v1/b/{BUCKET}/o");
    let bucket = format!("/storage/v1/b/{BUCKET}");
    for (kind, target) in
        [(Kind::MetadataGet, &object), (Kind::MediaGet, &media), (Kind::List, &listing), (Kind::BucketGet, &bucket)]
    {
        gcs.fake.arm(&[kind], Fault::Answer(503));
        for other in [&object, &media, &listing, &bucket].into_iter().filter(|other| *other != target) {
            assert_eq!(get(other), 200);
        }
        assert_eq!((get(target), get(target)), (503, 200));
        gcs.fake.arm(&[kind], Fault::DropAnswer);
        let error = gcs.try_to_ask("GET", target, &[], b"").expect_err("closed without a byte");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        gcs.fake.arm(&[kind], Fault::Reset);
        let error = gcs.try_to_ask("GET", target, &[], b"").expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        stalls_then_goes_on(&gcs, kind, target);
    }
    let initiation = Gcs::initiation("a");
    gcs.fake.arm(&[Kind::Initiate], Fault::DropAnswer);
    gcs.try_to_ask("POST", &initiation, &[JSON], b"{}").expect_err("closed without a byte");
    assert_eq!(gcs.fake.open_sessions(), 1, "it is there, and nobody knows its URI");
    gcs.fake.arm(&[Kind::Initiate], Fault::Answer(503));
    assert_eq!(gcs.ask("POST", &initiation, &[JSON], b"{}").status, 503);
    gcs.fake.arm(&[Kind::Query], Fault::Answer(503));
    let session = gcs.open_session("a", "");
    assert_eq!((gcs.put(&session, "bytes */*", b"").status, gcs.persisted(&session)), (503, 0));
    assert_eq!(gcs.fake.faults(|faults| faults.to_come()), 0);
}

fn stalls_then_goes_on(gcs: &Gcs, kind: Kind, target: &str) {
    gcs.fake.arm(&[kind], Fault::Stall);
    stalls(gcs, "GET", target, "", b"");
    assert_eq!(gcs.get(target).status, 200);
}

#[test]
fn faults_hit_uploads_in_one_request_cancellations_and_tokens() {
    let gcs = Gcs::start();
    let media =
        |name: &str| format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}&ifGenerationMatch=0");
    let all = bytes(MIB);
    let in_the_body = After::Request(KIB_256 as u64);
    gcs.fake.arm(&[Kind::InsertMedia], Fault::AnswerAfter(in_the_body, 503));
    assert_eq!(gcs.ask("POST", &media("a"), &[], &all).status, 503);
    gcs.fake.arm(&[Kind::InsertMedia], Fault::ResetAfter(in_the_body));
    gcs.try_to_ask("POST", &media("a"), &[], &all).expect_err("reset");
    assert!(gcs.fake.objects(BUCKET).is_empty(), "all or nothing");
    gcs.fake.arm(&[Kind::InsertMedia], Fault::DropFinalAnswer);
    gcs.try_to_ask("POST", &media("a"), &[], &all).expect_err("closed without a byte");
    has_object(&gcs, &all);
    gcs.fake.arm(&[Kind::InsertMedia], Fault::GarbledFinal);
    let reply = gcs.ask("POST", &media("b"), &[], b"1");
    assert!(reply.status == 200 && serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());

    let session = gcs.open_session("c", "");
    gcs.fake.arm(&[Kind::Cancel], Fault::Answer(503));
    assert_eq!((gcs.ask("DELETE", &session, &[], b"").status, gcs.fake.open_sessions()), (503, 1));
    gcs.fake.arm(&[Kind::Cancel], Fault::DropAnswer);
    gcs.try_to_ask("DELETE", &session, &[], b"").expect_err("closed without a byte");
    assert_eq!(gcs.fake.open_sessions(), 0);
    gcs.fake.arm(&[Kind::Token], Fault::Reset);
    gcs.try_to_ask("POST", "/token", &[], b"").expect_err("reset");
    assert_eq!(gcs.fake.tokens_issued(), 0);
}

#[test]
fn reading_that_breaks_stalls_or_lies() {
    let gcs = Gcs::start();
    let all = bytes(3 * MIB);
    gcs.fake.put_object(BUCKET, "a", &all, &[]);
    let target = format!("/storage/v1/b/{BUCKET}/o/a?alt=media");
    for after in [0, 1, 2 * MIB + 1] {
        gcs.fake.arm(&[Kind::MediaGet], Fault::BreakMedia(after as u64));
        let error = gcs.try_to_ask("GET", &target, &[], b"").expect_err("it breaks");
        let cut = error.get_ref().and_then(|inner| inner.downcast_ref::<Cut>()).expect("the body is cut");
        assert_eq!((cut.reply.status, cut.error.kind()), (200, ErrorKind::UnexpectedEof));
        assert_eq!(cut.reply.header("content-length"), Some("3145728"));
        assert!(cut.reply.body == all[..after], "exactly the bytes before: {} of {after}", cut.reply.body.len());
    }
    gcs.fake.arm(&[Kind::MediaGet], Fault::StallMedia(MIB as u64));
    let mut connection = Connection::open(gcs.fake.address()).expect("it listens");
    connection.head("GET", &target, &[]).expect("sent");
    connection.wait_for(MIB).expect("so much comes");
    connection.set_patience(Duration::from_millis(200));
    let error = connection.reply().expect_err("it stalls");
    let cut = error.get_ref().and_then(|inner| inner.downcast_ref::<Cut>()).expect("the body is cut");
    assert_eq!((cut.error.kind(), cut.reply.body.len()), (ErrorKind::WouldBlock, MIB));
    gcs.fake.arm(&[Kind::MediaGet], Fault::FlipMediaBit(77));
    let mut flipped = all.clone();
    flipped[77] ^= 1;
    assert!(gcs.get(&target).body == flipped);
    let right = gcs.get(&target).header("x-goog-hash").expect("always").to_owned();
    gcs.fake.arm(&[Kind::MediaGet], Fault::WrongHash);
    assert_ne!(gcs.get(&target).header("x-goog-hash"), Some(right.as_str()));
    assert!(gcs.get(&target).body == all);
}
