//! Each fault of the fake, one by one.

use super::{BUCKET, Gcs, MIB, object};
use crate::support::fake_gcs::{After, Fault, Kind};
use kafka_store::store::{ArchiveStore, CreateOutcome};
use std::time::Duration;

/// Stores one segment of 9 MiB while this goes wrong, in one request and in chunks; everything armed must have come.
#[track_caller]
fn survives(what: &str, kinds: &[Kind], in_order: &[Fault]) {
    for chunk in [None, Some(2 << 20)] {
        let gcs = Gcs::start();
        let store = gcs.store_with(|settings| {
            settings.chunk_bytes = chunk;
            settings.idle_timeout = Duration::from_millis(500);
        });
        let file = gcs.segment(3, 9 * MIB);
        gcs.fake.arm_sequence(kinds, in_order);
        let stat = gcs.store_patiently(&store, &file);
        gcs.check_stored(&file, &stat);
        assert_eq!(gcs.fake.faults(|faults| faults.to_come()), 0, "{what}, {chunk:?}: not all faults came");
    }
}

const KIB_256: u64 = 256 << 10;
const MIB_8: u64 = 8 << 20;

/// Google's own list for resumable uploads.
#[test]
fn googles_own_list() {
    survives("a reset, then 503", Kind::UPLOAD, &[Fault::Reset, Fault::Answer(503)]);
    survives("408", Kind::UPLOAD, &[Fault::Answer(408)]);
    survives("503 after 256 KiB", Kind::UPLOAD, &[Fault::AnswerAfter(After::Object(KIB_256), 503)]);
    let faults = [Fault::AnswerAfter(After::Object(MIB_8), 503), Fault::Answer(408)];
    survives("503 after 8 MiB, then 408", Kind::UPLOAD, &faults);
}

#[test]
fn every_request_of_an_upload_may_fail() {
    for kind in [Kind::Initiate, Kind::DataPut, Kind::Query] {
        // A query is only made after a doubt.
        let doubt: &[Fault] = &[Fault::ResetAfter(After::Object(MIB as u64))];
        for fault in [
            Fault::Reset,
            Fault::Answer(500),
            Fault::Answer(502),
            Fault::Answer(503),
            Fault::Answer(504),
            Fault::Answer(408),
            Fault::Answer(429),
            Fault::DropAnswer,
        ] {
            let gcs = Gcs::start();
            let store = gcs.store();
            let file = gcs.segment(3, 9 * MIB);
            if kind == Kind::Query {
                gcs.fake.arm_sequence(&[Kind::DataPut], doubt);
            }
            gcs.fake.arm(&[kind], fault);
            let stat = gcs.store_patiently(&store, &file);
            gcs.check_stored(&file, &stat);
            assert_eq!(gcs.fake.faults(|faults| faults.to_come()), 0, "{kind:?} {fault:?} did not come");
        }
    }
}

#[test]
fn looking_may_fail() {
    survives("the look", &[Kind::MetadataGet], &[Fault::Reset, Fault::Answer(503), Fault::DropAnswer]);
}

#[test]
fn connections_break_in_the_middle() {
    survives(
        "resets",
        &[Kind::DataPut],
        &[
            Fault::ResetAfter(After::Object(MIB as u64 + 5)),
            Fault::ResetAfter(After::Object(3 * MIB as u64 + 100)),
            Fault::ResetAfter(After::Object(MIB_8)),
        ],
    );
}

#[test]
fn what_stalls_is_given_up() {
    survives("nothing is read", &[Kind::DataPut], &[Fault::Stall]);
    survives("nothing more is read", &[Kind::DataPut], &[Fault::StallAfter(After::Object(MIB as u64))]);
    survives("the answer stalls", &[Kind::Initiate], &[Fault::StallAnswer]);
    survives("the last answer stalls", &[Kind::DataPut], &[Fault::StallFinalAnswer]);
}

/// Fails if a slow answer is taken for none: bytes that move are a sign of life.
#[test]
fn a_slow_answer_is_an_answer() {
    let gcs = Gcs::start();
    let store = gcs.store_with(|settings| settings.idle_timeout = Duration::from_secs(5));
    let file = gcs.segment(3, MIB);
    gcs.fake.arm(&[Kind::DataPut], Fault::Delay(Duration::from_millis(700)));
    let CreateOutcome::Created(stat) = store.create_segment(&file).expect("stored") else { panic!("the name is free") };
    gcs.check_stored(&file, &stat);
    assert_eq!(gcs.fake.counts().of(Kind::Query), 0, "there was no doubt");
}

/// The object is there, and nobody was told.
#[test]
fn the_final_answer_may_be_lost_or_garbled() {
    survives("lost", &[Kind::DataPut], &[Fault::DropFinalAnswer]);
    survives("no JSON", &[Kind::DataPut], &[Fault::GarbledFinal]);
    survives("cut off", &[Kind::DataPut], &[Fault::CutFinal]);
    survives("lost, and lost again", Kind::SESSION, &[Fault::DropFinalAnswer, Fault::DropFinalAnswer]);
}

/// Fails if a commit could follow from an answer that is not what was sent.
#[test]
fn a_final_answer_that_contradicts_is_not_believed() {
    survives("another size", &[Kind::DataPut], &[Fault::WrongFinalSize]);
    survives("another checksum", &[Kind::DataPut], &[Fault::WrongFinalCrc32c]);
}

#[test]
fn a_session_that_wants_more_without_a_range_is_asked() {
    let gcs = Gcs::start();
    let store = gcs.store_with(|settings| settings.chunk_bytes = Some(2 << 20));
    let file = gcs.segment(3, 9 * MIB);
    gcs.fake.arm(&[Kind::DataPut], Fault::NoRange);
    let stat = gcs.store_patiently(&store, &file);
    gcs.check_stored(&file, &stat);
    assert_eq!(gcs.fake.counts().of(Kind::Query), 1, "asked once");
    assert_eq!(gcs.fake.counts().bytes_sent_twice, 0, "nothing is sent blindly");
}

/// More than was sent is somebody else's: the session is left alone, and another one opened.
#[test]
fn a_session_that_has_more_than_was_sent_is_dropped() {
    let gcs = Gcs::start();
    let store = gcs.store_with(|settings| settings.chunk_bytes = Some(2 << 20));
    let file = gcs.segment(3, 9 * MIB);
    gcs.fake.arm(&[Kind::DataPut], Fault::AckMore(1 << 20));
    let stat = gcs.store_patiently(&store, &file);
    gcs.check_stored(&file, &stat);
    assert_eq!(gcs.fake.counts().of(Kind::Initiate), 2);
}

#[test]
fn sessions_may_go() {
    for status in [404, 410, 499] {
        survives(&format!("{status}"), Kind::SESSION, &[Fault::Answer(status)]);
    }
    survives("for good", Kind::SESSION, &[Fault::SessionGone]);
    survives("gone after a break", Kind::SESSION, &[Fault::ResetAfter(After::Object(MIB as u64)), Fault::SessionGone]);
}

/// Three sessions in a row are gone: the call gives up, and the next one stores it.
#[test]
fn sessions_are_not_opened_without_end() {
    let gcs = Gcs::start();
    let store = gcs.store();
    let file = gcs.segment(3, MIB);
    gcs.fake.arm_sequence(&[Kind::DataPut], &[Fault::SessionGone; 3]);
    let error = store.create_segment(&file).expect_err("it gives up");
    assert!(error.is_transient(), "{error}");
    assert_eq!(gcs.fake.counts().of(Kind::Initiate), 3);
    let stat = gcs.store_patiently(&store, &file);
    gcs.check_stored(&file, &stat);
}

/// A store that does not answer: the call comes back, says what it saw, and goes on with the same session when the
/// store is back.
#[test]
fn a_store_that_is_down_for_a_while_costs_nothing() {
    let gcs = Gcs::start();
    let store = gcs.store();
    let file = gcs.segment(3, 9 * MIB);
    gcs.fake.arm(&[Kind::DataPut], Fault::ResetAfter(After::Object(4 * MIB as u64)));
    gcs.fake.faults(|faults| faults.arm_times(&[Kind::Query], Fault::Reset, 20));
    let error = store.create_segment(&file).expect_err("it does not answer");
    assert!(error.is_transient(), "{error}");
    let text = error.to_string();
    assert!(text.contains("gs://archive/prefix/orders") && text.contains("it may pass by itself"), "{text}");
    assert!(!text.contains("upload_id"), "a session's address is a key: {text}");
    gcs.fake.faults(|faults| faults.disarm());
    let CreateOutcome::Created(stat) = store.create_segment(&file).expect("stored") else { panic!("the name is free") };
    gcs.check_stored(&file, &stat);
    let counts = gcs.fake.counts();
    assert_eq!(counts.of(Kind::Initiate), 1, "one session for both calls");
    assert!(counts.bytes_sent_twice < 256 * 1024, "sent twice: {}", counts.bytes_sent_twice);
}

/// Fails if an answer that was lost counts as somebody else's object.
#[test]
fn an_object_of_the_same_bytes_is_ours() {
    let gcs = Gcs::start();
    let store = gcs.store();
    let file = gcs.segment(3, MIB);
    let CreateOutcome::Created(first) = store.create_segment(&file).expect("stored") else {
        panic!("the name is free")
    };
    let CreateOutcome::Created(second) = store.create_segment(&file).expect("stored") else { panic!("same bytes") };
    assert_eq!(first.generation, second.generation);
    gcs.check_stored(&file, &second);
    assert_eq!(gcs.fake.counts().of(Kind::Initiate), 1, "nothing is sent a second time");
}

#[test]
fn other_bytes_under_the_name_are_never_replaced() {
    for at_initiation in [false, true] {
        let gcs = Gcs::start();
        gcs.fake.set(|settings| settings.precondition_at_initiation = at_initiation);
        let store = gcs.store();
        let (file, other) = (gcs.segment(3, MIB), b"somebody else's".to_vec());
        // Before the look, and between the look and the last byte.
        let name = object(&file);
        gcs.fake.put_object(BUCKET, &name, &other, &[]);
        assert_eq!(store.create_segment(&file).expect("it looks"), CreateOutcome::AlreadyExists);
        assert_eq!(gcs.fake.counts().of(Kind::Initiate), 0, "the look saves the upload");
        let file = gcs.segment(4, MIB);
        gcs.fake.arm(&[Kind::Initiate], Fault::Delay(Duration::from_millis(500)));
        let outcome = std::thread::scope(|scope| {
            let storing = scope.spawn(|| store.create_segment(&file));
            while gcs.fake.counts().of(Kind::Initiate) == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            gcs.fake.put_object(BUCKET, &object(&file), &other, &[]);
            storing.join().expect("no panic")
        });
        assert_eq!(outcome.expect("it looks"), CreateOutcome::AlreadyExists);
        assert_eq!(gcs.fake.generations(BUCKET, &object(&file)).len(), 1, "never overwritten");
    }
}

/// Bytes that change on their way are refused by the store, and sent once more in another session.
#[test]
fn a_checksum_that_is_refused_is_no_object() {
    let gcs = Gcs::start();
    let store = gcs.store();
    let mut file = gcs.segment(3, MIB);
    file.crc32c ^= 1;
    let error = store.create_segment(&file).expect_err("the bytes are not those that were sealed");
    assert_eq!(error.class(), kafka_store_statecharts::failure::Class::Lost, "{error}");
    assert!(error.to_string().contains("the spool file has changed since it was sealed"), "{error}");
    assert_eq!(gcs.fake.counts().of(Kind::Initiate), 2, "a fresh session, once");
    assert!(gcs.fake.objects(BUCKET).is_empty());
}
