//! A bucket of the fake of Google Cloud Storage, and daemons that archive into it.

use super::archive::Archive;
use super::broker::Broker;
use super::daemon::Daemon;
use super::fake_gcs::{FakeGcs, StoredObject};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

pub(crate) const BUCKET: &str = "archive";

/// A bucket, and a directory for the files of the daemons that store in it.
pub(crate) struct Bucket {
    pub(crate) fake: FakeGcs,
    pub(crate) spool: tempfile::TempDir,
}

impl Bucket {
    pub(crate) fn new() -> Bucket {
        Bucket { fake: FakeGcs::start(&[BUCKET]), spool: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A daemon that archives there, under a prefix.
    pub(crate) fn daemon(&self, broker: &Broker, topic: &str, group: &str) -> Daemon {
        self.daemon_at(broker, topic, group, "gs://archive/prefix").args(&["--gcs-idle-timeout", "2s"])
    }

    /// The same, which gives a request up after another time.
    pub(crate) fn patient_daemon(&self, broker: &Broker, topic: &str, idle: &str) -> Daemon {
        self.daemon_at(broker, topic, topic, "gs://archive/prefix").args(&["--gcs-idle-timeout", idle])
    }

    pub(crate) fn daemon_at(&self, broker: &Broker, topic: &str, group: &str, url: &str) -> Daemon {
        let spool = self.spool.path().to_str().expect("UTF-8");
        Daemon::without_store(broker, &[topic], group).args(&[
            "--gcloud-store-url",
            url,
            "--gcs-endpoint",
            self.fake.base_url(),
            "--spool-dir",
            spool,
        ])
    }

    /// The segments that are there, by name without the prefix.
    pub(crate) fn segments(&self) -> BTreeMap<String, Arc<StoredObject>> {
        let objects = self.fake.objects(BUCKET).into_iter();
        objects
            .filter_map(|(name, object)| Some((name.strip_prefix("prefix/")?.to_owned(), object)))
            .filter(|(name, _)| !name.starts_with("~kafka-store/"))
            .collect()
    }

    /// What must be true at the end of every test: no name was ever written to twice, and no request was one that a
    /// client must not make.
    #[track_caller]
    pub(crate) fn check(&self) {
        let mut names = BTreeMap::new();
        for object in self.fake.all_generations(BUCKET) {
            *names.entry(object.name.clone()).or_insert(0) += 1;
        }
        names.retain(|_, generations| *generations > 1);
        assert_eq!(names, BTreeMap::new(), "names with more than one generation");
        assert_eq!(self.fake.violations(), Vec::<String>::new());
    }

    /// A copy in a directory, for whoever reads only those. A plain copy is a whole archive.
    pub(crate) fn download(&self) -> Archive {
        let archive = Archive::new();
        copy(&self.segments(), archive.path());
        archive
    }
}

fn copy(objects: &BTreeMap<String, Arc<StoredObject>>, directory: &Path) {
    for (name, object) in objects {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(path, object.bytes()).expect("room for it");
    }
}
