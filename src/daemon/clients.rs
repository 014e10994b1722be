//! The clients of a daemon.

use crate::avro::Isolation;
use crate::config::DaemonConfig;
use crate::kafka::ffi::Client;
use crate::kafka::{self, ClientMaker, ClientSettings};
use std::sync::Arc;
use std::time::Duration;

/// Which records are archived.
pub(super) const ISOLATION: Isolation = Isolation::ReadCommitted;

/// Makes clients; they join no group before they subscribe.
///
/// The member of the group and the one that is asked are two: a broker answers one request of a connection after the
/// other, and the fetch of a partition that is caught up keeps it for half a second. A thousand walks would wait so.
pub(super) fn maker(config: &DaemonConfig) -> ClientMaker {
    ClientMaker::new(kafka::properties(&ClientSettings {
        brokers: &config.brokers,
        group: &config.group,
        isolation: ISOLATION,
        memory: config.memory,
        starts_often: config.spool.limit_bytes.is_some() || config.until_end.is_some(),
        given: &config.kafka_properties,
    }))
}

/// Throws away what the client that is asked has to say: the other one says the same, and is heard.
pub(super) fn forget_events_of(client: &Arc<Client>) {
    let client = Arc::downgrade(client);
    let forget = move || {
        while let Some(client) = client.upgrade() {
            drop(client.next_event(Duration::from_millis(500)));
        }
    };
    std::thread::Builder::new().name("kafka-ask".to_owned()).spawn(forget).expect("the system starts one more thread");
}
