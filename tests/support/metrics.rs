//! The metrics of a running daemon, as Prometheus's own parser reads them.

use super::daemon::{Daemon, Running};
use super::{http, wait_until};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

/// All of them, at one moment.
pub(crate) struct Metrics {
    families: Value,
    /// As they came.
    pub(crate) text: String,
}

impl Metrics {
    /// Those that a status page at this address shows.
    #[track_caller]
    pub(crate) fn of(address: &str) -> Metrics {
        let answer = http::get(address, "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
        let python = std::env::var_os("KAFKA_STORE_TEST_PYTHON")
            .expect("KAFKA_STORE_TEST_PYTHON is not set: run tests/run, or eval \"$(tests/services start)\" before");
        let mut parser = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/metrics.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        parser.stdin.take().expect("a pipe").write_all(answer.body.as_bytes()).expect("it reads");
        let output = parser.wait_with_output().expect("it ends");
        assert!(output.status.success(), "no metrics of Prometheus:\n{}", answer.body);
        Metrics { families: serde_json::from_slice(&output.stdout).expect("JSON"), text: answer.body }
    }

    /// The names of all.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.families.as_object().expect("an object").keys().map(String::as_str)
    }

    /// The one value that has these labels, if there is one.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let samples = self.families[name]["samples"].as_array()?;
        let fits = |sample: &&Value| labels.iter().all(|(label, value)| sample[0][label] == *value);
        let mut fitting = samples.iter().filter(fits);
        let found = fitting.next()?;
        assert!(fitting.next().is_none(), "{name} {labels:?} is more than one in\n{}", self.text);
        found[1].as_f64()
    }
}

/// A running daemon with a status page.
pub(crate) struct Shown {
    pub(crate) running: Running,
    pub(crate) address: String,
}

impl Shown {
    /// Of a daemon that takes a free port.
    pub(crate) fn start(daemon: Daemon) -> Shown {
        let mut running = daemon.args(&["--status-listen", "0"]).spawn();
        running.wait_for("status page, url: http://127.0.0.1:");
        let log = running.log();
        let url = log.split("status page, url: http://").nth(1).expect("it was said");
        let address = url.split('/').next().expect("it has an end").to_owned();
        Shown { running, address }
    }

    /// Waits until one figure of a partition has this value; then all of them.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, partition: &str, wanted: f64) -> Metrics {
        let (mut last, labels) = (None, [("partition", partition)]);
        wait_until(&format!("{name} of {partition} is {wanted}"), || {
            let metrics = Metrics::of(&self.address);
            let is_so = metrics.value(name, &labels) == Some(wanted);
            last = Some(metrics);
            is_so
        });
        last.expect("it was asked")
    }
}
