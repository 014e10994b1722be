//! `kafka-store verify --against-kafka`, and what it said.

use super::broker::Broker;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Output of `kafka-store verify`.
pub(crate) struct Verified {
    code: Option<i32>,
    pub(crate) report: Value,
}

impl Verified {
    /// Verifies an archive, or a part of it, against its broker and the commits of its group.
    #[track_caller]
    pub(crate) fn against(broker: &Broker, group: &str, location: &Path, args: &[&str]) -> Verified {
        let output = Command::new(env!("CARGO_BIN_EXE_kafka-store"))
            .args(["verify", "--json", "--against-kafka", "--broker-list", &broker.address, "--group", group])
            .arg(location)
            .args(args)
            .output()
            .expect("it runs");
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        Verified { code: output.status.code(), report }
    }

    /// These kinds of problems, in this order, and no others.
    #[track_caller]
    pub(crate) fn finds(&self, kinds: &[&str]) -> &Verified {
        let problems = self.report["problems"].as_array().expect("problems").iter();
        let found: Vec<&str> = problems.map(|problem| problem["kind"].as_str().expect("a text")).collect();
        assert_eq!(found, kinds, "{:#}", self.report);
        assert_eq!(self.code, Some(if kinds.is_empty() { 0 } else { 65 }));
        self
    }

    /// These numbers of the comparison of the first partition's records.
    #[track_caller]
    pub(crate) fn counts(&self, numbers: &[(&str, i64)]) -> &Verified {
        let records = &self.report["kafka"][0]["records"];
        for (name, number) in numbers {
            assert_eq!(records[name], *number, "{name}: {:#}", self.report);
        }
        self
    }

    /// These words in a problem.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        let problems = self.report["problems"].to_string();
        assert!(problems.contains(words), "{words:?} is not in {:#}", self.report);
    }
}

/// Verifies that Kafka has every record that was archived, and the archive every one of Kafka's up to its end.
#[track_caller]
pub(crate) fn assert_same_as_kafka(broker: &Broker, group: &str, archive: &Path) -> Verified {
    let verified = Verified::against(broker, group, archive, &["--deep"]);
    verified.finds(&[]);
    Verified::against(broker, group, archive, &["--quick"]).finds(&[]);
    verified
}
