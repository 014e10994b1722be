//! An archive looked at again and again: what was visible must stay as it is.

use super::archive::{Archive, Stamp};
use kafka_store::avro::verify;
use kafka_store_statecharts::offset::Offset;
use std::collections::BTreeMap;
use std::fs::File;

/// What was seen of a topic's segments so far, and must stay.
pub(crate) struct Seen<'a> {
    archive: &'a Archive,
    topic: &'a str,
    partitions: i32,
    /// By partition and start: what the file was, and the offset after its last record.
    segments: BTreeMap<(i32, i64), (Stamp, i64)>,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(archive: &'a Archive, topic: &'a str, partitions: i32) -> Seen<'a> {
        Seen { archive, topic, partitions, segments: BTreeMap::new() }
    }

    /// Looks at every file, also while others write; the answer is the end of each partition's chain.
    #[track_caller]
    pub(crate) fn look(&mut self) -> Vec<i64> {
        (0..self.partitions).map(|partition| self.look_at(partition)).collect()
    }

    #[track_caller]
    fn look_at(&mut self, partition: i32) -> i64 {
        // A directory that is written to may be listed with a new file and without an older one: only what was there
        // before the listing began must be in it.
        let last = self.archive.starts(self.topic, partition).pop();
        let mut starts = self.archive.starts(self.topic, partition);
        starts.retain(|start| Some(*start) <= last);
        for (seen_in, start) in self.segments.keys() {
            assert!(*seen_in != partition || starts.contains(start), "segment {start} of {partition} has vanished");
        }
        starts.into_iter().fold(0, |next_offset, start| {
            assert_eq!(start, next_offset, "partition {partition}: a hole or an overlap");
            let stamp = self.archive.stamp(&format!("{}/{partition:06}/{start:020}", self.topic));
            match self.segments.get(&(partition, start)) {
                Some((seen, end)) => {
                    assert_eq!(stamp, *seen, "segment {start} of {partition} has changed");
                    *end
                }
                None => {
                    let end = self.end_of_whole(partition, start);
                    self.segments.insert((partition, start), (stamp, end));
                    end
                }
            }
        })
    }

    #[track_caller]
    fn end_of_whole(&self, partition: i32, start: i64) -> i64 {
        let file = File::open(self.archive.segment(self.topic, partition, start)).expect("readable");
        match verify(file, Offset::new(start).expect("an offset")) {
            Ok(verified) => verified.range.next_offset().get(),
            Err(error) => panic!("segment {start} of {partition} is not whole: {error}"),
        }
    }

    /// The offset after the end of a segment that was seen.
    pub(crate) fn end_of(&self, partition: i32, start: i64) -> Option<i64> {
        self.segments.get(&(partition, start)).map(|(_, end)| *end)
    }

    /// How many segments were seen.
    pub(crate) fn count(&self) -> usize {
        self.segments.len()
    }
}
