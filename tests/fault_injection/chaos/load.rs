//! Producers that write all the time, whatever happens to the brokers.

use super::course::Course;
use crate::support::broker::{Acknowledged, Broker, flush, send};
use crate::support::records::{MORNING_MS, Record, record};
use crate::support::seed::Chance;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::{Duration, Instant};

/// The pace of the traffic.
const PACE: Duration = Duration::from_millis(100);
/// Records that brokers have not acknowledged, beyond which nothing more is sent.
const UNACKNOWLEDGED: i32 = 5_000;
/// How long one call of a transactional producer may take.
const ONE_CALL: Duration = Duration::from_secs(10);
/// How long the last transaction may take to end, once the faults have.
const AT_THE_END: Duration = Duration::from_secs(120);

/// Produces to all partitions of a topic, each record once and in order; the answer is what was acknowledged, by partition:
/// in the end, everything.
pub(super) fn records(
    course: &Course,
    mut chance: Chance,
    broker: &Broker,
    topic: &str,
    partitions: usize,
) -> Vec<Vec<Record>> {
    let producer = broker.producer(&[
        ("enable.idempotence", "true"),
        ("max.in.flight", "5"),
        ("message.send.max.retries", "2147483647"),
        ("message.timeout.ms", "0"),
        ("compression.type", "lz4"),
    ]);
    let mut produced = vec![Vec::new(); partitions];
    while course.lasts() {
        if producer.in_flight_count() < UNACKNOWLEDGED {
            let partition = usize::try_from(chance.below(partitions as u64)).expect("small");
            for _ in 0..chance.below(40) {
                let record = any_record(produced[partition].len() as u64, &mut chance);
                send(&producer, topic, partition as i32, &record);
                produced[partition].push(record);
            }
        }
        producer.poll(Duration::ZERO);
        std::thread::sleep(PACE);
    }
    flush(&producer);
    produced
}

fn any_record(number: u64, chance: &mut Chance) -> Record {
    let value = if chance.below(20) == 0 {
        None
    } else {
        let noise = usize::try_from(chance.below(600)).expect("small");
        Some([format!("{number} ").repeat(20).as_bytes(), &chance.bytes(noise)].concat())
    };
    record(Some(&number.to_be_bytes()), value.as_deref(), MORNING_MS + number as i64 * 20)
}

/// Writes transactions of which some are aborted; the answer is the keys of those that are known to be committed, by
/// partition. Others may be: of a producer that failed it is not known.
pub(super) fn transactions(
    course: &Course,
    mut chance: Chance,
    broker: &Broker,
    topic: &str,
    partitions: usize,
) -> Vec<Vec<u64>> {
    let mut committed = vec![Vec::new(); partitions];
    let mut next = 0;
    while course.lasts() {
        let Some(producer) = transactional(broker, topic) else { continue };
        while course.lasts() {
            let partition = usize::try_from(chance.below(partitions as u64)).expect("small");
            let keys: Vec<u64> = (next..next + 1 + chance.below(30)).collect();
            next += keys.len() as u64;
            match transaction(&producer, topic, partition as i32, &keys, chance.below(4) > 0) {
                Ok(true) => committed[partition].extend(keys),
                Ok(false) => {}
                Err(_) => break,
            }
            std::thread::sleep(PACE);
        }
    }
    // Whatever the last one left open is aborted.
    let deadline = Instant::now() + AT_THE_END;
    while transactional(broker, topic).is_none() {
        assert!(Instant::now() < deadline, "the last transaction does not end");
    }
    committed
}

/// One that has taken over from those before; `None` if nobody answers.
fn transactional(broker: &Broker, topic: &str) -> Option<BaseProducer<Acknowledged>> {
    let id = format!("writes-{topic}");
    let settings = [
        ("transactional.id", id.as_str()),
        ("transaction.timeout.ms", "15000"),
        ("message.timeout.ms", "15000"),
        ("message.send.max.retries", "2147483647"),
        ("max.in.flight", "5"),
    ];
    let producer = broker.producer(&settings);
    producer.init_transactions(ONE_CALL).is_ok().then_some(producer)
}

/// True if it is committed, false if it is aborted.
fn transaction(
    producer: &BaseProducer<Acknowledged>,
    topic: &str,
    partition: i32,
    keys: &[u64],
    commits: bool,
) -> KafkaResult<bool> {
    producer.begin_transaction()?;
    for key in keys {
        let (key, value) = (key.to_be_bytes(), format!("{key} in a transaction"));
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).key(&key).payload(value.as_bytes());
        let record = record.timestamp(MORNING_MS + i64::from_be_bytes(key) * 20);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(ONE_CALL)?;
    if commits {
        producer.commit_transaction(ONE_CALL)?;
    } else {
        producer.abort_transaction(ONE_CALL)?;
    }
    Ok(commits)
}
