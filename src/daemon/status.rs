//! What the status page of a daemon is given.

use super::text;
use crate::config::DaemonConfig;
use crate::kafka::Heartbeat;
use crate::kafka::ffi::{Client, LogEnd};
use crate::status::{About, KafkaFigures};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicPartition;
use slog::{Logger, debug, info};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

/// How long brokers may take to say where logs end: whoever asked for the page waits for it.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Takes the address that `--status-listen` names.
pub(super) fn listen(config: &DaemonConfig, log: &Logger) -> Result<Option<TcpListener>, String> {
    let Some(address) = &config.status_listen else { return Ok(None) };
    let listener = TcpListener::bind(address).map_err(|error| {
        format!("--status-listen {address}: {error}; another program, or another daemon, may have it")
    })?;
    info!(log, "status page"; "url" => format!("http://{}/", listener.local_addr().map_err(text)?));
    Ok(Some(listener))
}

/// What does not change.
pub(super) fn about(config: &DaemonConfig, cluster: Option<String>, store: String) -> About {
    About {
        group: config.group.clone(),
        cluster,
        store,
        memory_limit_bytes: config.memory.limit_bytes,
        spool_limit_bytes: config.spool.limit_bytes.map(NonZeroU64::get),
    }
}

/// Kafka, as both clients of the daemon see it.
#[derive(Debug)]
pub(super) struct ShownKafka {
    /// The member of the group.
    pub(super) client: Arc<Client>,
    /// The one that is asked.
    pub(super) asked: Arc<Client>,
    pub(super) heartbeat: Arc<Heartbeat>,
    pub(super) log: Logger,
}

impl KafkaFigures for ShownKafka {
    fn last_high_watermark(&self, partition: &TopicPartition) -> Option<Offset> {
        self.client.high_watermark(partition)
    }

    fn high_watermarks(&self, partitions: &[TopicPartition]) -> Option<BTreeMap<TopicPartition, Offset>> {
        self.asked
            .log_ends(partitions, LogEnd::HighWatermark, ANSWER_TIME)
            .inspect_err(|error| debug!(self.log, "ends of logs not known"; "reason" => %error))
            .ok()
    }

    fn since_last_poll(&self) -> Duration {
        self.heartbeat.since_last()
    }
}
