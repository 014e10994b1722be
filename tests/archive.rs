//! The daemon against a real broker: what it archives is what the log holds.

mod support;

use support::broker::{Broker, Record};
use support::daemon::Daemon;

fn numbered(count: usize) -> Vec<Record> {
    (0..count)
        .map(|number| Record {
            key: Some(format!("key {number}").into_bytes()),
            value: Some(format!("{{\"value\": {number}, \"text\": \"some text that makes it longer\"}}").into_bytes()),
            timestamp: 1_700_000_000_000 + number as i64 * 10,
            headers: Vec::new(),
        })
        .collect()
}

#[test]
fn smoke() {
    let broker = Broker::get();
    let topic = broker.create_topic("smoke", 4, &[]);
    for partition in 0..4 {
        broker.produce(&topic, partition, &numbered(5_000), &[]);
    }
    let archive = tempfile::tempdir().expect("a directory").keep();
    let output = Daemon::new(&broker, &[&topic], &topic, &archive).args(&["--file-size", "100k", "-vv"]).until_end();
    println!("{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", archive.display());
    println!("{:?}", broker.committed(&topic, &topic, 0));
}
