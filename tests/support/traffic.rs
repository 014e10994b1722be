//! Records that keep coming while a test does something to those who archive them.

use super::broker::{Broker, flush, send};
use super::records::{MORNING_MS, Record, record};
use super::seed::Chance;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Produces bursts of records to all partitions of a topic until it is told to stop.
pub(crate) struct Traffic<'a> {
    broker: &'a Broker,
    topic: &'a str,
    produced: Mutex<Vec<Vec<Record>>>,
    stop: AtomicBool,
}

impl<'a> Traffic<'a> {
    pub(crate) fn new(broker: &'a Broker, topic: &'a str, partitions: i32) -> Traffic<'a> {
        let produced = vec![Vec::new(); usize::try_from(partitions).expect("positive")];
        Traffic { broker, topic, produced: Mutex::new(produced), stop: AtomicBool::new(false) }
    }

    /// Produces while `what` runs, also until it fails; the answer is what was produced, by partition.
    pub(crate) fn during(self, chance: Chance, what: impl FnOnce()) -> Vec<Vec<Record>> {
        std::thread::scope(|scope| {
            scope.spawn(|| self.run(chance));
            let _stop = StopAtTheEnd(&self.stop);
            what();
        });
        self.produced.into_inner().expect("no panic")
    }

    fn run(&self, mut chance: Chance) {
        let producer = self.broker.producer(&[("linger.ms", "1"), ("compression.type", "lz4")]);
        let partitions = self.produced.lock().expect("no panic").len();
        while !self.stop.load(Ordering::Relaxed) {
            let partition = chance.below(partitions as u64) as usize;
            let known = self.produced.lock().expect("no panic")[partition].len();
            let records: Vec<Record> =
                (0..chance.below(60)).map(|number| any_record(known as u64 + number, &mut chance)).collect();
            records.iter().for_each(|record| send(&producer, self.topic, partition as i32, record));
            flush(&producer);
            self.produced.lock().expect("no panic")[partition].extend(records);
            // The pace of the traffic.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn any_record(number: u64, chance: &mut Chance) -> Record {
    let value = if chance.below(20) == 0 {
        None
    } else {
        let noise = chance.below(600) as usize;
        Some([format!("{number} ").repeat(20).as_bytes(), &chance.bytes(noise)].concat())
    };
    record(Some(&number.to_be_bytes()), value.as_deref(), MORNING_MS + number as i64 * 200)
}

/// Ends the traffic also when the test fails.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
