//! A line, read back.

use super::key;
use serde_json::{Map, Value};

/// What a line says.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) instance: String,
    pub(super) said: Said,
}

#[derive(Debug)]
pub(super) enum Said {
    Started(Started),
    Transition(Moved),
    Ended { exit_code: u64 },
}

/// What an instance's first line says that others are judged by.
#[derive(Clone, Debug)]
pub(super) struct Started {
    pub(super) version: String,
    pub(super) charts: String,
    pub(super) cluster: Option<String>,
    pub(super) store: String,
    pub(super) indexed: bool,
}

/// A transition.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) chart: String,
    pub(super) partition: Option<PartitionKey>,
    pub(super) epoch: Option<u64>,
    pub(super) start: Option<u64>,
    pub(super) upload: Option<u64>,
    pub(super) from: String,
    pub(super) event: String,
    pub(super) to: String,
    data: Map<String, Value>,
}

/// A partition, and which of its chains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartitionKey {
    pub(super) topic: String,
    pub(super) partition: u64,
    pub(super) lineage: u64,
}

/// What a spool file or an object holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) final_offset: u64,
    pub(super) record_count: u64,
    pub(super) file_bytes: u64,
    /// `None` for a file of the original tool.
    pub(super) content_hash: Option<String>,
}

impl Content {
    pub(super) fn next_offset(&self) -> u64 {
        self.final_offset.saturating_add(1)
    }
}

/// What all lines begin with.
pub(super) const LINE_START: &[u8] = b"{\"sequence\":";

impl Entry {
    /// Reads a line; the error says what is wrong with it.
    pub(super) fn parse(line: &[u8]) -> Result<Entry, String> {
        let mut map: Map<String, Value> = serde_json::from_slice(line).map_err(|error| format!("no JSON: {error}"))?;
        let sequence = number(&map, key::SEQUENCE)?;
        let instance = take_text(&mut map, key::INSTANCE)?;
        let chart = take_text(&mut map, key::CHART)?;
        let event = take_text(&mut map, key::EVENT)?;
        let said = match (chart.as_str(), event.as_str()) {
            (key::INSTANCE_CHART, key::STARTED) => Said::Started(Started {
                version: take_text(&mut map, key::VERSION)?,
                charts: take_text(&mut map, key::CHARTS)?,
                cluster: take_text(&mut map, key::CLUSTER).ok(),
                store: take_text(&mut map, key::STORE)?,
                indexed: map.get(key::INDEXED).and_then(Value::as_bool).ok_or_else(|| lacks(key::INDEXED))?,
            }),
            (key::INSTANCE_CHART, key::ENDED) => Said::Ended { exit_code: number(&map, key::EXIT_CODE)? },
            _ => Said::Transition(Moved::parse(map, chart, event)?),
        };
        Ok(Entry { sequence, instance, said })
    }
}

impl Moved {
    fn parse(mut map: Map<String, Value>, chart: String, event: String) -> Result<Moved, String> {
        let partition = match take_text(&mut map, key::TOPIC) {
            Ok(topic) => Some(PartitionKey {
                topic,
                partition: number(&map, key::PARTITION)?,
                lineage: number(&map, key::LINEAGE).unwrap_or(1),
            }),
            Err(_) => None,
        };
        Ok(Moved {
            chart,
            partition,
            epoch: number(&map, key::EPOCH).ok(),
            start: number(&map, key::START_OFFSET).ok(),
            upload: number(&map, key::UPLOAD).ok(),
            from: take_text(&mut map, key::FROM)?,
            event,
            to: take_text(&mut map, key::TO)?,
            data: map,
        })
    }

    pub(super) fn position(&self) -> Result<u64, String> {
        number(&self.data, key::POSITION)
    }

    pub(super) fn final_offset(&self) -> Result<u64, String> {
        number(&self.data, key::FINAL_OFFSET)
    }

    pub(super) fn next_offset(&self) -> Result<u64, String> {
        number(&self.data, key::NEXT_OFFSET)
    }

    pub(super) fn record_count(&self) -> Result<u64, String> {
        number(&self.data, key::RECORD_COUNT)
    }

    pub(super) fn content(&self) -> Result<Content, String> {
        let content_hash = match self.data.get(key::CONTENT_HASH) {
            Some(Value::Null) => None,
            Some(Value::String(hash)) => Some(hash.clone()),
            _ => return Err(lacks(key::CONTENT_HASH)),
        };
        Ok(Content {
            final_offset: self.final_offset()?,
            record_count: self.record_count()?,
            file_bytes: number(&self.data, key::FILE_BYTES)?,
            content_hash,
        })
    }
}

fn number(map: &Map<String, Value>, key: &str) -> Result<u64, String> {
    map.get(key).and_then(Value::as_u64).ok_or_else(|| lacks(key))
}

fn take_text(map: &mut Map<String, Value>, key: &str) -> Result<String, String> {
    match map.get_mut(key).map(Value::take) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(lacks(key)),
    }
}

fn lacks(key: &str) -> String {
    format!("it has no {key:?}, or not as it should be")
}
