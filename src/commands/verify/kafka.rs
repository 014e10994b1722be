//! The client that is asked where Kafka's log and the group stand.

use super::VerifyArgs;
use crate::cli::Redacted;
use crate::commands::CommandError;
use crate::config::KafkaProperties;
use crate::exit::ExitCode;
use crate::kafka;
use crate::kafka::LogReaders;
use crate::kafka::ffi::Client;
use std::sync::Arc;
use std::time::Duration;

/// Limit for a broker's first answer.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// A group, and a client that may ask for it. It joins nothing.
pub(super) struct Group {
    client: Arc<Client>,
    readers: LogReaders,
    name: String,
}

impl Group {
    /// Makes the client that the flags ask for, if they do, and asks the brokers once: not only after all is read.
    pub(super) fn connect(args: &VerifyArgs) -> Result<Option<Group>, CommandError> {
        let (true, Some(brokers), Some(group)) = (args.against_kafka, &args.broker_list, &args.group) else {
            return Ok(None);
        };
        let given = KafkaProperties::parse(args.kafka_properties.iter().map(Redacted::expose)).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            CommandError::with_code(lines.join("; "), ExitCode::WrongUsage)
        })?;
        let properties = kafka::asking_properties(brokers, group, &given);
        let client = Client::new(properties.iter().map(|(name, value)| (&**name, &**value)))
            .map_err(|error| CommandError::new(error.to_string()))?;
        let client = Arc::new(client);
        forget_events_of(&client);
        client.topics(ANSWER_TIME).map(|topics| topics.into_keys().collect::<Vec<_>>()).map_err(|error| {
            CommandError::new(format!(
                "no broker of {brokers} answered within {} s: {error}; check --broker-list, the network and -X",
                ANSWER_TIME.as_secs()
            ))
        })?;
        let readers = LogReaders::new(brokers, group, &given);
        Ok(Some(Group { client, readers, name: group.clone() }))
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn readers(&self) -> &LogReaders {
        &self.readers
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Discards the client's unsolicited events, which would pile up otherwise.
fn forget_events_of(client: &Arc<Client>) {
    let client = Arc::downgrade(client);
    let forget = move || {
        while let Some(client) = client.upgrade() {
            drop(client.next_event(Duration::from_millis(100)));
        }
    };
    // Without the thread events pile up until the command ends, which is soon.
    let _ = std::thread::Builder::new().name("kafka-ask".to_owned()).spawn(forget);
}
