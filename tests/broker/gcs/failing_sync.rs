//! A mirror, or the file that an upload is written down in, on a disk whose syncs fail.

use crate::support::archive::Archive;
use crate::support::broker::Broker;
use crate::support::bucket::Bucket;
use crate::support::failing_sync::{EIO, FailingSync};
use crate::support::records::numbered;

const NOT_DURABLE: i32 = 71;

/// Fails if a segment is committed that the mirror lost: half of the file that is linked into it is zeros.
#[test]
fn a_mirror_whose_sync_failed_is_filled_from_the_bucket() {
    for is_directory in [false, true] {
        let broker = Broker::get();
        let topic = broker.create_topic("gcs-sync-mirror", 1, &[]);
        let pattern = if is_directory { format!("{topic}/000000") } else { ",000000,".to_owned() };
        broker.produce(&topic, 0, &numbered(0..1_000), &[]);
        let (bucket, mirror, disk) = (Bucket::new(), Archive::new(), FailingSync::new());
        let daemon = bucket.mirrored_daemon(&broker, &topic, &mirror);
        disk.under(daemon, &pattern, 1, EIO).until_end_with_code(NOT_DURABLE);
        assert_eq!(disk.failed().len(), 1, "{pattern}");
        assert_eq!(bucket.segments().len(), 1, "{pattern}");
        assert_eq!(broker.committed(&topic, &topic, 0), None, "{pattern}");
        bucket.mirrored_daemon(&broker, &topic, &mirror).until_end();
        bucket.is_mirrored_in(&mirror);
        bucket.check();
        println!("{}", mirror.check());
    }
}

#[test]
fn an_upload_whose_journal_is_not_durable_is_begun_again() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-sync-journal", 1, &[]);
    broker.produce(&topic, 0, &numbered(0..1_000), &[]);
    let (bucket, disk) = (Bucket::new(), FailingSync::new());
    disk.under(bucket.daemon(&broker, &topic, &topic), ".session", 1, EIO).until_end_with_code(NOT_DURABLE);
    assert_eq!((disk.failed().len(), bucket.segments().len()), (1, 0));
    bucket.daemon(&broker, &topic, &topic).until_end();
    assert_eq!(bucket.segments().len(), 1);
    bucket.check();
}
