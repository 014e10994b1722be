//! `--topic`: names, and patterns for topics that may come later.
//!
//! Patterns have one dialect, that of the `regex` crate, and are resolved here: Kafka's clients and brokers, each of which
//! has a dialect of its own, are given names alone.

use kafka_store_statecharts::topic::{InvalidTopicName, TopicName};
use regex::Regex;
use std::collections::BTreeSet;
use std::fmt;

/// What is archived.
#[derive(Clone, Default)]
pub struct Subscription {
    names: Vec<TopicName>,
    patterns: Vec<Pattern>,
}

/// A pattern, with the expression that finds the topics that exist already.
#[derive(Clone)]
struct Pattern {
    text: String,
    expression: Regex,
}

/// Topics of Kafka's own, which no pattern means.
const INTERNAL: [&str; 4] = ["__cluster_metadata", "__consumer_offsets", "__share_group_state", "__transaction_state"];

/// Why a text is not a topic or a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// An empty name between commas.
    #[error("{0:?} names an empty topic")]
    Empty(String),
    /// Not a name.
    #[error(transparent)]
    Name(#[from] InvalidTopicName),
    /// Not a regular expression.
    #[error("{text:?} is no pattern: {reason}")]
    Pattern {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Subscription {
    /// Of these topics.
    pub fn of(names: impl IntoIterator<Item = TopicName>) -> Subscription {
        let mut subscription = Subscription { names: names.into_iter().collect(), patterns: Vec::new() };
        subscription.names.sort_unstable();
        subscription.names.dedup();
        subscription
    }

    /// Reads `--topic` values: `a`, `a,b`, or one pattern that begins with `^` (and may hold commas). All that is
    /// wrong is told.
    ///
    /// # Errors
    /// One for each name or pattern that is none.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Subscription, Vec<SubscriptionError>> {
        let (mut names, mut patterns, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for text in texts {
            if text.starts_with('^') {
                match Regex::new(text) {
                    Ok(expression) => patterns.push(Pattern { text: text.to_owned(), expression }),
                    Err(error) => {
                        // The last line says what; those before it draw where.
                        let reason = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                        errors.push(SubscriptionError::Pattern { text: text.to_owned(), reason });
                    }
                }
                continue;
            }
            for name in text.split(',').map(str::trim) {
                match TopicName::new(name) {
                    Ok(topic) => names.push(topic),
                    Err(_) if name.is_empty() => errors.push(SubscriptionError::Empty(text.to_owned())),
                    Err(error) => errors.push(error.into()),
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Subscription { patterns, ..Subscription::of(names) })
    }

    /// The topics named, sorted, each once.
    pub fn names(&self) -> &[TopicName] {
        &self.names
    }

    /// Whether topics may come and go.
    pub fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// Names and patterns as they were given.
    pub fn to_strings(&self) -> Vec<String> {
        let names = self.names.iter().map(ToString::to_string);
        names.chain(self.patterns.iter().map(|pattern| pattern.text.clone())).collect()
    }

    /// Whether a pattern means this topic.
    pub fn matches(&self, topic: &TopicName) -> bool {
        !INTERNAL.contains(&topic.as_str())
            && self.patterns.iter().any(|pattern| pattern.expression.is_match(topic.as_str()))
    }

    /// Names of all topics meant, of those that exist: the ones named, and those that a pattern matches.
    pub fn resolve<'a>(&self, existing: impl IntoIterator<Item = &'a TopicName>) -> BTreeSet<TopicName> {
        let matched = existing.into_iter().filter(|topic| self.matches(topic)).cloned();
        self.names.iter().cloned().chain(matched).collect()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.to_strings()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_patterns_kept() {
        let subscription = Subscription::parse(["b,a", "^x{1,2}$", "a"]).expect("right");
        assert_eq!(subscription.to_strings(), ["a", "b", "^x{1,2}$"]);
        let topic = |name| TopicName::new(name).expect("legal");
        assert!(subscription.matches(&topic("xx")) && !subscription.matches(&topic("xxx")));
        assert!(!Subscription::parse(["^.*"]).expect("right").matches(&topic("__consumer_offsets")));
    }

    /// librdkafka takes POSIX expressions, in which `\d` is the letter d.
    #[test]
    fn patterns_are_resolved_to_names_in_one_dialect() {
        let subscription = Subscription::parse([r"^evt-\d+$", "a"]).expect("right");
        let existing = ["evt-1", "evt-22", "evt-d", "evt-", "b"].map(|name| TopicName::new(name).expect("legal"));
        let names: Vec<String> = subscription.resolve(&existing).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a", "evt-1", "evt-22"]);
    }

    #[test]
    fn everything_wrong_is_told() {
        let errors = Subscription::parse(["a,,b", "c d", "^("]).expect_err("wrong");
        assert_eq!(errors.len(), 3, "{errors:?}");
    }
}
