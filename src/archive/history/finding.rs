//! One finding, as a store keeps it.

use crate::archive::origin_object::leader_epoch_of;
use kafka_store_statecharts::anchor::{Anchor, Evidence};
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::name::{ChainName, RESERVED, SegmentName};
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::topic::TopicId;
use serde_json::{Map, Value, json};
use std::fmt;

/// Kafka's log is not the one that a chain was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The chain.
    pub chain: ChainName,
    /// The offset after the chain's last segment, or its origin if it has none.
    pub end: Offset,
    /// Number of the finding at this end of the chain, from 1 on.
    pub number: u32,
    /// The cluster's id, where its brokers have one.
    pub cluster_id: Option<String>,
    /// The archive's side.
    pub archived: Archived,
    /// Kafka's side.
    pub log: LogFound,
    /// What an operator decided.
    pub choice: Option<Choice>,
}

/// What the archive says of the log that a chain was made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// The topic's id.
    pub topic_id: Option<TopicId>,
    /// The chain's last record.
    pub last_record: Option<Anchor>,
}

/// What was found in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFound {
    /// The topic's id.
    pub topic_id: Option<TopicId>,
    /// How the log differs.
    pub difference: Difference,
    /// Where the log starts.
    pub start: Offset,
    /// The high watermark.
    pub end: Offset,
    /// Epoch of the leader that answered.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// How a log differs from the one that a chain was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is another topic's.
    OtherTopic,
    /// Another record lies at the offset of the chain's last one.
    OtherRecord(LastRecord),
    /// It ends at or before the chain's last record.
    EndsAt(Offset),
    /// It does not reach the chain's end, or not in the leader epoch of the chain's last record.
    OutOfRange,
}

/// What an operator decided about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The histories are one: the chain is continued at its end, and what Kafka has below it is not archived.
    SameHistory,
}

/// The name of a finding's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FindingName {
    pub(super) chain: ChainName,
    end: Offset,
    number: u32,
}

/// The folder of all findings.
pub(super) fn folder() -> String {
    format!("{RESERVED}/histories")
}

impl fmt::Display for FindingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", folder(), self.chain.segment(self.end), self.number)
    }
}

impl FindingName {
    /// Reads a finding's name back; `None` for anything else.
    pub(super) fn parse(name: &str) -> Option<FindingName> {
        let mut parts = name.strip_prefix(&folder())?.strip_prefix('/')?.split('/');
        let (topic, partition, end, number) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let name = FindingName {
            chain: ChainName::parse(topic, partition)?,
            end: SegmentName::parse_file_name(end)?,
            number: number.parse().ok()?,
        };
        // One spelling only.
        (parts.next().is_none() && name.number > 0 && name.number.to_string() == number).then_some(name)
    }
}

impl From<Evidence> for Difference {
    fn from(evidence: Evidence) -> Difference {
        match evidence {
            Evidence::OutOfRange => Difference::OutOfRange,
            Evidence::Differs(found) => Difference::OtherRecord(found),
            Evidence::EndsAt(offset) => Difference::EndsAt(offset),
        }
    }
}

impl Choice {
    const SAME_HISTORY: &str = "same-history";

    pub(super) fn encode(self) -> Vec<u8> {
        let Choice::SameHistory = self;
        format!("{}\n", json!({ "format": 1, "choice": Choice::SAME_HISTORY })).into_bytes()
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Choice> {
        let object: Value = serde_json::from_slice(bytes).ok()?;
        let is_known = object["format"].as_i64()? == 1 && object["choice"].as_str()? == Choice::SAME_HISTORY;
        is_known.then_some(Choice::SameHistory)
    }
}

impl Finding {
    pub(super) fn object_name(&self) -> FindingName {
        FindingName { chain: self.chain.clone(), end: self.end, number: self.number }
    }

    /// The name of its object.
    pub fn name(&self) -> String {
        self.object_name().to_string()
    }

    /// The name of the object that says what was decided.
    pub(super) fn choice_name(&self) -> String {
        format!("{}.choice", self.name())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut object = json!({ "format": 1, "end": self.end.get(), "log": self.log.encode() });
        if let Some(id) = &self.cluster_id {
            object["cluster_id"] = Value::from(id.as_str());
        }
        if let Some(id) = self.archived.topic_id {
            object["topic_id"] = Value::from(id.to_string());
        }
        if let Some(Anchor { offset, record }) = self.archived.last_record {
            let mut last = encode_record(&record);
            last.insert("offset".to_owned(), Value::from(offset.get()));
            object["last_record"] = Value::from(last);
        }
        format!("{object}\n").into_bytes()
    }

    pub(super) fn parse(name: &FindingName, bytes: &[u8]) -> Option<Finding> {
        let object: Value = serde_json::from_slice(bytes).ok()?;
        if object["format"].as_i64()? != 1 || offset_of(&object["end"])? != name.end {
            return None;
        }
        let last = &object["last_record"];
        let last_record = match last {
            Value::Null => None,
            last => Some(Anchor { offset: offset_of(&last["offset"])?, record: parse_record(last)? }),
        };
        Some(Finding {
            chain: name.chain.clone(),
            end: name.end,
            number: name.number,
            cluster_id: object["cluster_id"].as_str().map(str::to_owned),
            archived: Archived { topic_id: topic_id_of(&object), last_record },
            log: LogFound::parse(&object["log"])?,
            choice: None,
        })
    }

    /// What was found, in one sentence.
    pub fn summary(&self) -> String {
        let (end, cut) =
            (self.end, "it was cut and written again, as after a restored disk or an unclean leader election");
        let anchor = self.archived.last_record;
        match (self.log.difference, anchor) {
            (Difference::OtherTopic, _) => other_topic_reason(self.archived.topic_id, self.log.topic_id),
            (Difference::OtherRecord(found), Some(Anchor { offset, record })) if found.hash == record.hash => format!(
                "the archive's last record, at offset {offset}, was written in leader epoch {}, and Kafka's copy of it in \
                 epoch {}: {cut}",
                epoch(record.leader_epoch),
                epoch(found.leader_epoch)
            ),
            (Difference::OtherRecord(_), _) => format!(
                "Kafka's log has another record at offset {} than the archive: {cut}",
                end.previous().unwrap_or_default()
            ),
            (Difference::EndsAt(at), _) if at < end => {
                format!("the archive ends before {end}, and Kafka's log ended before {at}: it was cut")
            }
            _ if self.log.end < end => {
                format!("the archive ends before {end}, and Kafka's log ended before {}: it was cut", self.log.end)
            }
            (_, Some(Anchor { record: LastRecord { leader_epoch: Some(epoch), .. }, .. })) => {
                format!("Kafka's log does not reach offset {end} in leader epoch {}: {cut}", epoch.get())
            }
            _ => format!("Kafka's log did not reach offset {end}, where the archive ends: {cut}"),
        }
    }

    /// Why the partition is frozen, and the way out.
    pub(crate) fn reason(&self) -> String {
        let partition = &self.chain.topic_partition;
        format!(
            "{partition}: {}; nothing more is archived until an operator decides: kafka-store resolve --partition \
             {partition} explains the ways out ({})",
            self.summary(),
            self.name()
        )
    }
}

impl LogFound {
    fn encode(&self) -> Value {
        let mut log = json!({ "start": self.start.get(), "end": self.end.get() });
        if let Some(id) = self.topic_id {
            log["topic_id"] = Value::from(id.to_string());
        }
        if let Some(epoch) = self.leader_epoch {
            log["leader_epoch"] = Value::from(epoch.get());
        }
        log["evidence"] = Value::from(match self.difference {
            Difference::OtherTopic => "other-topic",
            Difference::OtherRecord(_) => "other-record",
            Difference::EndsAt(_) => "ends",
            Difference::OutOfRange => "out-of-range",
        });
        match self.difference {
            Difference::OtherRecord(found) => log["record"] = Value::from(encode_record(&found)),
            Difference::EndsAt(offset) => log["ends_at"] = Value::from(offset.get()),
            Difference::OtherTopic | Difference::OutOfRange => {}
        }
        log
    }

    fn parse(log: &Value) -> Option<LogFound> {
        let difference = match log["evidence"].as_str()? {
            "other-topic" => Difference::OtherTopic,
            "other-record" => Difference::OtherRecord(parse_record(&log["record"])?),
            "ends" => Difference::EndsAt(offset_of(&log["ends_at"])?),
            "out-of-range" => Difference::OutOfRange,
            _ => return None,
        };
        Some(LogFound {
            topic_id: topic_id_of(log),
            difference,
            start: offset_of(&log["start"])?,
            end: offset_of(&log["end"])?,
            leader_epoch: leader_epoch_of(log),
        })
    }
}

fn encode_record(record: &LastRecord) -> Map<String, Value> {
    let mut object = Map::from_iter([("hash".to_owned(), Value::from(record.hash.to_string()))]);
    if let Some(epoch) = record.leader_epoch {
        object.insert("leader_epoch".to_owned(), Value::from(epoch.get()));
    }
    object
}

fn parse_record(object: &Value) -> Option<LastRecord> {
    Some(LastRecord { hash: RecordHash::parse(object["hash"].as_str()?)?, leader_epoch: leader_epoch_of(object) })
}

fn offset_of(number: &Value) -> Option<Offset> {
    Offset::new(number.as_i64()?)
}

fn topic_id_of(object: &Value) -> Option<TopicId> {
    object["topic_id"].as_str().and_then(TopicId::parse)
}

/// What is said of a topic that was created again.
pub(in crate::archive) fn other_topic_reason(archived: Option<TopicId>, now: Option<TopicId>) -> String {
    format!(
        "the archive is of the topic with the id {}, and the topic has the id {} now: it was deleted and re-created",
        or_none(archived),
        or_none(now)
    )
}

fn or_none(id: Option<TopicId>) -> String {
    id.map_or_else(|| "(none)".to_owned(), |id| id.to_string())
}

fn epoch(epoch: Option<LeaderEpoch>) -> String {
    epoch.map_or_else(|| "(unknown)".to_owned(), |epoch| epoch.get().to_string())
}
