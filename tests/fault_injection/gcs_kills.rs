//! Killed again and again, while the store fails in every way that it has.

use crate::support::broker::Broker;
use crate::support::bucket::{BUCKET, Bucket};
use crate::support::daemon::Running;
use crate::support::fake_gcs::{After, FakeGcs, Fault, Kind};
use crate::support::records::{assert_same, logged_from};
use crate::support::seed::Chance;
use crate::support::traffic::Traffic;
use crate::support::wait_until;
use kafka_store::avro::verify;
use kafka_store_statecharts::name::SegmentName;
use std::time::Duration;

const PARTITIONS: i32 = 3;
/// At least; as many more as it takes until as many faults and segments have come by.
const KILLS: usize = 15;

#[test]
fn killed_while_the_store_fails_it_loses_doubles_and_changes_nothing() {
    let mut chance = Chance::from_seed();
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-kill", PARTITIONS, &[]);
    let bucket = Bucket::new();
    let daemon = || {
        let daemon = bucket.patient_daemon(&broker, &topic, "1s").session_timeout_ms(1_000);
        daemon.args(&["--file-size", "60k", "--file-records", "100"])
    };
    arm(&bucket.fake, chance.next());
    let fired = || bucket.fake.faults(|faults| faults.fired().len());
    let enough_was_tried = || fired() > KILLS && bucket.segments().len() > KILLS;
    let traffic_chance = Chance::fixed(chance.next());
    let produced = Traffic::new(&broker, &topic, PARTITIONS).during(traffic_chance, || {
        for kill in 0..4 * KILLS {
            if kill >= KILLS && enough_was_tried() {
                break;
            }
            let mut running = daemon().spawn();
            wait_for_the_moment(&mut running, &mut chance, &bucket);
            assert!(running.is_running(), "it ended by itself. Its log:\n{}", running.log());
            running.kill();
            println!("kill {kill}: {} segments", bucket.segments().len());
            check_commits(&broker, &topic, &bucket);
        }
    });
    println!("{} faults", fired());
    assert!(enough_was_tried(), "hardly anything was tried");
    daemon().until_end();
    bucket.check();
    let archive = bucket.download();
    println!("{}", archive.check());
    let mut archived = archive.all_records();
    for (partition, produced) in (0..).zip(produced) {
        let archived = archived.remove(&(topic.clone(), partition)).unwrap_or_default();
        assert_same("the archive and what was produced", &archived, &logged_from(0, &produced));
    }
    for object in bucket.fake.all_generations(BUCKET) {
        assert_eq!(object.checksums, object.content.checksums(), "{}", object.name);
    }
}

fn arm(fake: &FakeGcs, seed: u64) {
    let data: &[Kind] = &[Kind::DataPut];
    fake.faults(|faults| {
        for (number, (kinds, fault, per_mille)) in [
            (Kind::UPLOAD, Fault::Reset, 20),
            (Kind::UPLOAD, Fault::Answer(503), 30),
            (Kind::UPLOAD, Fault::Answer(408), 10),
            (Kind::SESSION, Fault::SessionGone, 10),
            (data, Fault::ResetAfter(After::Request(3_000)), 30),
            (data, Fault::StallAfter(After::Request(1_000)), 10),
            (Kind::UPLOAD, Fault::DropAnswer, 20),
            (Kind::SESSION, Fault::DropFinalAnswer, 50),
            (Kind::SESSION, Fault::GarbledFinal, 30),
            (Kind::SESSION, Fault::WrongFinalCrc32c, 10),
            (&[Kind::MetadataGet, Kind::MediaGet, Kind::List], Fault::Answer(503), 20),
            (&[Kind::MediaGet], Fault::BreakMedia(2_000), 30),
        ]
        .into_iter()
        .enumerate()
        {
            faults.arm_chance(kinds, fault, per_mille, seed.wrapping_add(number as u64));
        }
    });
}

/// Some die young, most while they store segments.
fn wait_for_the_moment(running: &mut Running, chance: &mut Chance, bucket: &Bucket) {
    if chance.below(5) > 0 {
        running.wait_for("chain located");
    }
    if chance.below(3) > 0 {
        let (before, more) = (bucket.segments().len(), 1 + chance.below(6) as usize);
        wait_until("segments more", || bucket.segments().len() >= before + more || !running.is_running());
    }
    // Not to wait for something: any moment will do, and all of them should come.
    std::thread::sleep(Duration::from_micros(chance.below(200_000)));
}

/// What is committed is the end of a segment that is there.
#[track_caller]
fn check_commits(broker: &Broker, topic: &str, bucket: &Bucket) {
    for partition in 0..PARTITIONS {
        let Some((committed, metadata)) = broker.committed(topic, topic, partition) else { continue };
        let start = metadata.strip_prefix("kafka-store/1 segment=").expect("our metadata");
        let start: i64 = start.parse().expect("a number");
        let object = bucket.segments().remove(&format!("{topic}/{partition:06}/{start:020}")).expect("it is stored");
        let start = SegmentName::parse_file_name(&format!("{start:020}")).expect("an offset");
        let verified = verify(&*object.bytes(), start).expect("it is whole");
        assert_eq!(verified.range.next_offset().get(), committed, "partition {partition}");
    }
}
