//! The properties of librdkafka that `-X` sets.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

/// The properties, each once. None of them is one that the daemon itself has to set.
///
/// `Debug` shows passwords and keys as `<redacted>`: it may go into a log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaProperties(BTreeMap<String, String>);

/// Why a property is refused. No text of these shows a value: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// No `=`, or nothing before it. The argument is not shown, as it may be a mistyped password.
    #[error("-X takes key=value: one that was given has no key or no =")]
    NotKeyValue,
    /// The promise of the archive, or a flag, or the budget of memory depends on it.
    #[error("-X {key} is refused: {reason}")]
    Refused {
        /// The property.
        key: String,
        /// Why, or which flag to use.
        reason: &'static str,
    },
    /// Two values for one property.
    #[error("-X {key} is given more than once: give it once")]
    Repeated {
        /// The property.
        key: String,
    },
    /// librdkafka has no such property, or it takes no such value.
    #[error("-X {key} is refused by librdkafka: {reason}")]
    Invalid {
        /// The property.
        key: String,
        /// What librdkafka says.
        reason: String,
    },
}

impl KafkaProperties {
    /// Reads `key=value` arguments. All that is wrong is told, not the first only.
    pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<KafkaProperties, Vec<PropertyError>> {
        let mut properties = BTreeMap::new();
        let mut errors = Vec::new();
        for argument in arguments {
            match parse_one(argument) {
                Ok((key, _)) if properties.contains_key(key) => {
                    errors.push(PropertyError::Repeated { key: key.to_owned() });
                }
                Ok((key, value)) => {
                    properties.insert(key.to_owned(), value.to_owned());
                }
                Err(error) => errors.push(error),
            }
        }
        let properties = KafkaProperties(properties);
        if properties.has_consumer_protocol() {
            let clashes = CLASSIC_ONLY.iter().filter(|(key, _)| properties.0.contains_key(*key));
            errors.extend(clashes.map(|(key, reason)| PropertyError::Refused { key: (*key).to_owned(), reason }));
        }
        if errors.is_empty() { Ok(properties) } else { Err(errors) }
    }

    /// Whether the group is to use Kafka's newer protocol (KIP-848), in which the broker assigns.
    pub fn has_consumer_protocol(&self) -> bool {
        self.0.get("group.protocol").is_some_and(|value| value.eq_ignore_ascii_case("consumer"))
    }

    /// Every property with its value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl fmt::Debug for KafkaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(key, value)| (key, if is_secret(key) { "<redacted>" } else { value }));
        f.debug_map().entries(shown).finish()
    }
}

fn parse_one(argument: &str) -> Result<(&str, &str), PropertyError> {
    let (key, value) = argument.split_once('=').ok_or(PropertyError::NotKeyValue)?;
    let key = key.trim();
    if key.is_empty() {
        return Err(PropertyError::NotKeyValue);
    }
    if let Some((_, reason)) = REFUSED.iter().find(|(keys, _)| keys.contains(&key)) {
        return Err(PropertyError::Refused { key: key.to_owned(), reason });
    }
    let probe = ClientConfig::new().set(key, value).create_native_config();
    match probe {
        Ok(_) => Ok((key, value)),
        Err(KafkaError::ClientConfig(_, reason, _, _)) if !is_secret(key) => {
            Err(PropertyError::Invalid { key: key.to_owned(), reason })
        }
        Err(_) => Err(PropertyError::Invalid { key: key.to_owned(), reason: "it does not take this value".to_owned() }),
    }
}

/// Whether a property's value must not be shown. Generous: a certificate is hidden with its key.
fn is_secret(key: &str) -> bool {
    const MARKS: &[&str] =
        &["assertion", "credential", "jaas", "oauthbearer.config", "password", "pem", "private", "secret", "token"];
    MARKS.iter().any(|mark| key.contains(mark))
}

/// The properties that clash with `group.protocol=consumer`, and what to do instead.
const CLASSIC_ONLY: &[(&str, &str)] = &[
    ("group.protocol.type", "it is for group.protocol=classic only: leave it out"),
    ("heartbeat.interval.ms", "with group.protocol=consumer the broker sets it: group.consumer.heartbeat.interval.ms"),
    ("partition.assignment.strategy", "with group.protocol=consumer the broker assigns: use group.remote.assignor"),
    ("session.timeout.ms", "with group.protocol=consumer the broker sets it: group.consumer.session.timeout.ms"),
];

/// The properties that `-X` does not set: names, with librdkafka's aliases, and the reason.
const REFUSED: &[(&[&str], &str)] = &[
    (&["bootstrap.servers", "metadata.broker.list"], "use --broker-list"),
    (&["group.id"], "use --group"),
    (&["auto.offset.reset"], "use --offset-reset, which speaks of a group's first start only"),
    (
        &["enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms"],
        "offsets are committed only after the file is stored",
    ),
    (
        &["enable.auto.offset.store", "offset.store.method", "offset.store.path", "offset.store.sync.interval.ms"],
        "offsets are committed only after the file is stored, and only in Kafka",
    ),
    (&["isolation.level"], "the archive holds committed records; mixing levels would change its files"),
    (&["enable.partition.eof"], "the daemon needs it to know when a partition is caught up"),
    (&["check.crcs"], "it is always on: a damaged record must never be archived"),
    (&["allow.auto.create.topics"], "it is always off: an archiver must not create the topics it reads"),
    (&["statistics.interval.ms"], "the daemon sets it for its own measurements"),
    (&["topic.blacklist"], "name the topics, or write a pattern that leaves them out"),
    (
        &[
            "queued.max.messages.kbytes",
            "queued.min.messages",
            "fetch.max.bytes",
            "fetch.message.max.bytes",
            "max.partition.fetch.bytes",
            "fetch.queue.backoff.ms",
            "receive.message.max.bytes",
            "message.max.bytes",
        ],
        "use --memory-limit: the sizes of fetching are derived from that budget of memory",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_kept_by_name() {
        let given = ["sasl.username=a=b", "client.id=", " debug=cgrp,topic"];
        let properties = KafkaProperties::parse(given).expect("valid");
        let kept: Vec<_> = properties.iter().collect();
        assert_eq!(kept, [("client.id", ""), ("debug", "cgrp,topic"), ("sasl.username", "a=b")]);
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let given =
            ["x", "=1", "group.id=g", "client.id=a", "client.id=b", "no.such.property=1", "socket.timeout.ms=x"];
        let lines: Vec<_> = KafkaProperties::parse(given).expect_err("wrong").iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "-X takes key=value: one that was given has no key or no =",
                "-X takes key=value: one that was given has no key or no =",
                "-X group.id is refused: use --group",
                "-X client.id is given more than once: give it once",
                "-X no.such.property is refused by librdkafka: No such configuration property: \"no.such.property\"",
                "-X socket.timeout.ms is refused by librdkafka: \
             Invalid value for configuration property \"socket.timeout.ms\"",
            ]
        );
    }

    #[test]
    fn secrets_are_never_shown() {
        for key in [
            "sasl.password",
            "ssl.key.password",
            "ssl.keystore.password",
            "ssl.key.pem",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
        ] {
            let properties = KafkaProperties(BTreeMap::from([(key.to_owned(), "hunter2".to_owned())]));
            assert_eq!(format!("{properties:?}"), format!("{{{key:?}: \"<redacted>\"}}"));
        }
        let mistyped = KafkaProperties::parse(["sasl.password:hunter2"]).expect_err("no =");
        assert!(!format!("{mistyped:?}").contains("hunter2"));
    }

    /// A property that librdkafka does not know would be refused anyway: it stands here by mistake.
    #[test]
    fn every_refused_property_exists() {
        for key in REFUSED.iter().flat_map(|(keys, _)| *keys) {
            let error = ClientConfig::new().set(*key, "no such value").create_native_config().err();
            let unknown = error.is_some_and(|error| error.to_string().contains("No such configuration"));
            assert!(!unknown, "{key}");
        }
    }
}
