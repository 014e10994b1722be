//! Questions that several wait for and one asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A question waits this many times as long as the last one took, for others whom its answer can serve: where hundreds of
/// partitions of a topic end their segments each second, asking takes at most a tenth of the time.
const PAUSE_FACTOR: u32 = 10;
/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// The last answer to each question.
type Answers<K, T> = BTreeMap<K, Arc<Mutex<Option<Answer<T>>>>>;

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

/// Answers to questions, which `K` tells apart.
#[derive(Debug)]
pub(super) struct AskedOnce<K, T>(Mutex<Answers<K, T>>);

impl<K, T> Default for AskedOnce<K, T> {
    fn default() -> AskedOnce<K, T> {
        AskedOnce(Mutex::default())
    }
}

impl<K: Ord + Clone, T: Clone> AskedOnce<K, T> {
    /// An answer to a question that was not asked before `not_before`.
    pub(super) fn get<E>(&self, question: &K, not_before: Instant, ask: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let slot = self.slot(question);
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

    /// Forgets an answer that is known to be out of date.
    pub(super) fn forget(&self, question: &K) {
        *self.slot(question).lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn slot(&self, question: &K) -> Arc<Mutex<Option<Answer<T>>>> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(answers.entry(question.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_store_statecharts::topic::TopicName;

    #[test]
    fn an_answer_serves_who_asks_before_it_was_asked_for() {
        let (once, topic) = (AskedOnce::<TopicName, u32>::default(), TopicName::new("orders").expect("legal"));
        let early = Instant::now();
        let ask = |answer: u32| move || Ok::<_, ()>(answer);
        assert_eq!(once.get(&topic, early, || Err("no broker")), Err("no broker"));
        assert_eq!(once.get(&topic, early, ask(1)), Ok(1));
        assert_eq!(once.get(&topic, early, ask(2)), Ok(1));
        assert_eq!(once.get(&TopicName::new("other").expect("legal"), early, ask(3)), Ok(3));
        // What happened after the question was asked, its answer does not know.
        assert_eq!(once.get(&topic, Instant::now(), ask(4)), Ok(4));
        once.forget(&topic);
        assert_eq!(once.get(&topic, early, ask(5)), Ok(5));
    }

    #[test]
    fn a_question_soon_after_another_waits_for_others_to_share_it() {
        let (once, topic) = (AskedOnce::<TopicName, u32>::default(), TopicName::new("orders").expect("legal"));
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
