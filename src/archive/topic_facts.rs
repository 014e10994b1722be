//! What brokers say of topics, asked once for all partitions that want to know it at the same time.
//!
//! An answer about a topic names each of its partitions. With a thousand of them, a thousand questions at the start
//! and at the end would take longer than to archive what they hold.

use crate::kafka::ffi::{Client, KafkaError};
use kafka_store_statecharts::topic::{TopicId, TopicName};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a broker may take. These are good things to have, not worth a delay.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// So many times as long as the last question took, the next one waits for others whom its answer can serve, too: where
/// hundreds of partitions of a topic end their segments each second, asking takes at most a tenth of the time.
const PAUSE_FACTOR: u32 = 10;
/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What is known of topics, and since when.
#[derive(Debug, Default)]
pub struct TopicFacts {
    ids: AskedOnce<Option<TopicId>>,
    retentions: AskedOnce<Option<u64>>,
}

impl TopicFacts {
    /// The topic's id, where the brokers have one, by an answer to a question that was not asked before `not_before`.
    pub(super) fn id(
        &self,
        client: &Client,
        topic: &TopicName,
        not_before: Instant,
    ) -> Result<Option<TopicId>, KafkaError> {
        self.ids.get(topic, not_before, || client.topic_id(topic, ANSWER_TIME))
    }

    /// How long the topic keeps records, in ms, where it removes them by time.
    pub(super) fn retention_ms(
        &self,
        client: &Client,
        topic: &TopicName,
        not_before: Instant,
    ) -> Result<Option<u64>, KafkaError> {
        self.retentions.get(topic, not_before, || {
            let value = client.topic_setting(topic, "retention.ms", ANSWER_TIME)?;
            Ok(value.and_then(|value| value.parse().ok())) // -1 is for ever.
        })
    }
}

/// The last answer for each topic.
type Answers<T> = BTreeMap<TopicName, Arc<Mutex<Option<Answer<T>>>>>;

#[derive(Debug)]
struct Answer<T> {
    asked: Instant,
    answered: Instant,
    answer: T,
}

impl<T> Answer<T> {
    /// When the next question may be asked.
    fn next_question(&self) -> Instant {
        let took = self.answered.saturating_duration_since(self.asked);
        self.answered + (PAUSE_FACTOR * took).min(PAUSE_MAX)
    }
}

/// Answers that several wait for and one asks for.
#[derive(Debug)]
struct AskedOnce<T>(Mutex<Answers<T>>);

impl<T> Default for AskedOnce<T> {
    fn default() -> AskedOnce<T> {
        AskedOnce(Mutex::default())
    }
}

impl<T: Clone> AskedOnce<T> {
    fn get<E>(&self, topic: &TopicName, not_before: Instant, ask: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let slot = {
            let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(answers.entry(topic.clone()).or_default())
        };
        // Who comes while another asks, or waits to ask, waits here for that answer.
        let mut known = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = known.as_ref() {
            if last.asked >= not_before {
                return Ok(last.answer.clone());
            }
            std::thread::sleep(last.next_question().saturating_duration_since(Instant::now()));
        }
        let asked = Instant::now();
        let answer = ask()?;
        *known = Some(Answer { asked, answered: Instant::now(), answer: answer.clone() });
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_serves_who_asks_before_it_was_asked_for() {
        let (once, topic) = (AskedOnce::<u32>::default(), TopicName::new("orders").expect("legal"));
        let early = Instant::now();
        let ask = |answer: u32| move || Ok::<_, ()>(answer);
        assert_eq!(once.get(&topic, early, || Err("no broker")), Err("no broker"));
        assert_eq!(once.get(&topic, early, ask(1)), Ok(1));
        assert_eq!(once.get(&topic, early, ask(2)), Ok(1));
        assert_eq!(once.get(&TopicName::new("other").expect("legal"), early, ask(3)), Ok(3));
        // What happened after the question was asked, its answer does not know.
        assert_eq!(once.get(&topic, Instant::now(), ask(4)), Ok(4));
    }

    #[test]
    fn a_question_soon_after_another_waits_for_others_to_share_it() {
        let (once, topic) = (AskedOnce::<u32>::default(), TopicName::new("orders").expect("legal"));
        let asked = std::sync::atomic::AtomicU32::new(0);
        let ask = || {
            std::thread::sleep(Duration::from_millis(5)); // So long it takes.
            Ok::<_, ()>(asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
        };
        let start = Instant::now();
        assert_eq!(once.get(&topic, start, ask), Ok(0));
        let after_first = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                // Each of them wants an answer to a question that was not asked yet.
                scope.spawn(|| assert_eq!(once.get(&topic, after_first, ask), Ok(1)));
            }
        });
        assert!(start.elapsed() >= Duration::from_millis(5) * (1 + PAUSE_FACTOR), "it waited");
    }
}
