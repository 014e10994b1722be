//! One topic, its archive, and daemons that archive it.

use super::archive::Archive;
use super::broker::Broker;
use super::daemon::Daemon;
use super::records::numbered;

/// A topic with one partition of 1,000 records, and its archive, in segments of 500. The group is named as the topic.
pub(crate) struct Scene {
    pub(crate) broker: Broker,
    pub(crate) topic: String,
    pub(crate) archive: Archive,
}

impl Scene {
    pub(crate) fn new(name: &str) -> Scene {
        let broker = Broker::get();
        let topic = broker.create_topic(name, 1, &[]);
        broker.produce(&topic, 0, &numbered(0..1_000), &[]);
        Scene { broker, topic, archive: Archive::new() }
    }

    pub(crate) fn daemon(&self) -> Daemon {
        Daemon::new(&self.broker, &[&self.topic], &self.topic, self.archive.path())
            .args(&["--file-records", "500"])
            .never_seals_by_the_clock()
    }

    pub(crate) fn committed(&self) -> Option<i64> {
        self.broker.committed(&self.topic, &self.topic, 0).map(|(offset, _)| offset)
    }
}
