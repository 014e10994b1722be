//! What the store refuses for good is told with what is missing, and is not tried again.

use super::{BUCKET, Gcs, MIB};
use crate::support::fake_gcs::{Fault, Kind, Permissions};
use kafka_store::store::{ArchiveStore, CreateOutcome, GcsStore, StoreErrorKind};

#[track_caller]
fn is_refused(gcs: &Gcs, store: &GcsStore, words: &[&str]) {
    let error = store.create_segment(&gcs.segment(3, MIB)).expect_err("it is refused");
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn a_right_that_is_missing_is_named() {
    let gcs = Gcs::start();
    let store = gcs.store();
    gcs.fake.set(|settings| settings.permissions.create = false);
    is_refused(&gcs, &store, &["the right storage.objects.create (in roles/storage.objectCreator)", "bucket archive"]);
    assert_eq!(gcs.fake.counts().of(Kind::Initiate), 1, "it is not asked again");
    gcs.fake.set(|settings| settings.permissions = Permissions { get: false, ..Permissions::all() });
    is_refused(&gcs, &store, &["the right storage.objects.get (in roles/storage.objectViewer)"]);
    gcs.fake.set(|settings| settings.permissions = Permissions { list: false, ..Permissions::all() });
    let error = GcsStore::open(&gcs.settings()).expect_err("it is refused");
    assert!(error.to_string().contains("the right storage.objects.list"), "{error}");
}

/// objectCreator and objectViewer are all that is needed, whichever of 403 and 412 comes first.
#[test]
fn the_documented_rights_are_enough() {
    for forbidden_first in [false, true] {
        let gcs = Gcs::start();
        gcs.fake.set(|settings| {
            settings.permissions = Permissions::creator_and_viewer();
            settings.forbidden_before_precondition = forbidden_first;
            settings.precondition_at_initiation = forbidden_first;
        });
        let store = gcs.store();
        let file = gcs.segment(3, MIB);
        // The first answer is lost, and another session meets the object: it is the same one.
        gcs.fake.arm_sequence(Kind::SESSION, &[Fault::DropFinalAnswer, Fault::Answer(410)]);
        let stat = gcs.store_patiently(&store, &file);
        gcs.check_stored(&file, &stat);
        let other = gcs.segment(4, MIB);
        gcs.fake.put_object(BUCKET, &super::object(&other), b"other bytes", &[]);
        assert_eq!(store.create_segment(&other).expect("it looks"), CreateOutcome::AlreadyExists);
    }
}

#[test]
fn a_bucket_that_is_missing_is_named() {
    let gcs = Gcs::start();
    let mut settings = gcs.settings();
    settings.url = "gs://elsewhere".parse().expect("legal");
    let error = GcsStore::open(&settings).expect_err("there is none");
    assert!(error.to_string().contains("is there a bucket elsewhere?"), "{error}");
}

/// A rate limit is a 403 too, and passes.
#[test]
fn a_store_that_nobody_answers_for_is_not_refused() {
    let gcs = Gcs::start();
    let store = gcs.store();
    gcs.fake.go_down();
    let error = store.create_segment(&gcs.segment(3, MIB)).expect_err("nobody answers");
    assert!(error.is_transient(), "{error}");
    gcs.fake.come_back();
    let stat = gcs.store_patiently(&store, &gcs.segment(3, MIB));
    gcs.check_stored(&gcs.segment(3, MIB), &stat);
}

/// Fails if a spool file that lost its end is tried again and again, as if the network were at fault.
#[test]
fn a_spool_file_that_is_cut_is_not_tried_again() {
    let gcs = Gcs::start();
    let store = gcs.store();
    let file = gcs.segment(3, 4 * MIB);
    std::fs::File::options().write(true).open(&file.path).and_then(|file| file.set_len(MIB as u64)).expect("cut");
    let error = store.create_segment(&file).expect_err("it is not whole");
    assert_eq!(error.kind(), StoreErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("its spool file cannot be read"), "{error}");
    assert_eq!(gcs.fake.counts().of(Kind::DataPut), 1);
    assert_eq!(gcs.fake.objects(BUCKET).len(), 0);
}
