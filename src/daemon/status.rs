//! What the status page of a daemon is given.

use super::text;
use crate::config::DaemonConfig;
use crate::index::MysqlIndex;
use crate::kafka::ffi::{Client, LogEnd};
use crate::kafka::{Heartbeat, Member};
use crate::status::{About, Outside};
use crate::store::UploadTransitions;
use kafka_store_actors::figures::Trouble;
use kafka_store_statecharts::failure::{Class, Port};
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

/// Kafka, as both clients of the daemon see it, the bucket, and the index.
#[derive(Debug)]
pub(super) struct ShownOutside {
    /// The member of the group.
    pub(super) member: Member,
    /// The one that is asked.
    pub(super) asked: Arc<Client>,
    pub(super) heartbeat: Arc<Heartbeat>,
    pub(super) uploads: UploadTransitions,
    pub(super) index: Option<MysqlIndex>,
    pub(super) log: Logger,
}

impl Outside for ShownOutside {
    fn last_high_watermark(&self, partition: &TopicPartition) -> Option<Offset> {
        self.member.with(|client| client.high_watermark(partition)).flatten()
    }

    fn high_watermarks(&self, partitions: &[TopicPartition]) -> BTreeMap<TopicPartition, Offset> {
        self.asked
            .known_log_ends(partitions, LogEnd::HighWatermark, ANSWER_TIME)
            .inspect_err(|error| debug!(self.log, "ends of logs not known"; "reason" => %error))
            .unwrap_or_default()
    }

    fn failures(&self) -> BTreeMap<(Port, Class), u64> {
        let of_index = self.index.as_ref().map(MysqlIndex::failures).unwrap_or_default();
        let of_index = of_index.into_iter().map(|(class, count)| ((Port::Index, class), count));
        let of_uploads = self.uploads.failures().into_iter().map(|(class, count)| ((Port::Store, class), count));
        of_index.chain(of_uploads).collect()
    }

    fn trouble(&self, wall_ms: i64) -> Option<Trouble> {
        let (error, since) = self.index.as_ref()?.trouble()?;
        let since_ms = wall_ms - i64::try_from(since.as_millis()).unwrap_or(0);
        Some(Trouble { failure: error.failure(), failures: 1, since_ms })
    }

    fn since_last_poll(&self) -> Duration {
        self.heartbeat.since_last()
    }
}
