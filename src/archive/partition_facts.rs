//! What brokers say of partitions, asked at once for all that want to know it at the same time.
//!
//! A walk asks four times. With a thousand partitions that was four thousand requests, which took more of the brokers' time
//! and of ours than all that was fetched meanwhile.

use crate::kafka::ffi::{Client, Committed, KafkaError, LogEnd, LogPosition};
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long brokers may take to answer one question.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The questions about partitions that are being asked.
#[derive(Debug, Default)]
pub struct PartitionFacts {
    committed: AskedTogether<Option<Committed>>,
    log_start: AskedTogether<LogPosition>,
    last_stable: AskedTogether<LogPosition>,
    high_watermark: AskedTogether<LogPosition>,
}

impl PartitionFacts {
    /// What the group has committed for the partition.
    pub(super) fn committed(
        &self,
        client: &Client,
        partition: &TopicPartition,
    ) -> Result<Option<Committed>, KafkaError> {
        let answer = self.committed.get(partition, |partitions| client.committed(partitions, ANSWER_TIME))?;
        Ok(answer.flatten())
    }

    /// Where the partition's log begins or ends; `None` if the brokers do not say.
    pub(super) fn log_end(
        &self,
        client: &Client,
        partition: &TopicPartition,
        end: LogEnd,
    ) -> Result<Option<LogPosition>, KafkaError> {
        let asked = match end {
            LogEnd::Start => &self.log_start,
            LogEnd::LastStable => &self.last_stable,
            LogEnd::HighWatermark => &self.high_watermark,
        };
        asked.get(partition, |partitions| client.log_positions(partitions, end, ANSWER_TIME))
    }
}

/// What was answered for each partition of a question.
type Answers<T> = BTreeMap<TopicPartition, T>;

/// One question at a time, for all who have come while the one before was being answered. So each is asked after somebody
/// wanted to know, never before.
#[derive(Debug)]
struct AskedTogether<T> {
    state: Mutex<State<T>>,
    answered: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// The number of the next question.
    next: u64,
    /// Whom that is about.
    waiting: Vec<TopicPartition>,
    /// Somebody asks one.
    is_asking: bool,
    /// Answers that not all have taken yet.
    given: BTreeMap<u64, Given<T>>,
}

#[derive(Debug)]
struct Given<T> {
    answers: Result<Arc<Answers<T>>, KafkaError>,
    asked_for: usize,
    taken: usize,
}

impl<T> Default for AskedTogether<T> {
    fn default() -> AskedTogether<T> {
        let state = State { next: 0, waiting: Vec::new(), is_asking: false, given: BTreeMap::new() };
        AskedTogether { state: Mutex::new(state), answered: Condvar::new() }
    }
}

impl<T: Clone> AskedTogether<T> {
    /// The answer for a partition; `None` if there was one without it.
    ///
    /// # Errors
    /// If it was not answered for this partition. What several asked together, each then asks alone: one of them may be the
    /// reason.
    fn get(
        &self,
        partition: &TopicPartition,
        ask: impl Fn(&[TopicPartition]) -> Result<Answers<T>, KafkaError>,
    ) -> Result<Option<T>, KafkaError> {
        let mut state = self.lock();
        let number = state.next;
        state.waiting.push(partition.clone());
        state = self
            .answered
            .wait_while(state, |state| state.is_asking && !state.given.contains_key(&number))
            .unwrap_or_else(PoisonError::into_inner);
        if !state.given.contains_key(&number) {
            let partitions = std::mem::take(&mut state.waiting);
            state.next += 1;
            state.is_asking = true;
            drop(state);
            let answers = ask(&partitions).map(Arc::new);
            state = self.lock();
            state.is_asking = false;
            state.given.insert(number, Given { answers, asked_for: partitions.len(), taken: 0 });
            self.answered.notify_all();
        }
        let (answers, asked_for) = state.take(number);
        drop(state);
        match answers {
            Ok(answers) => Ok(answers.get(partition).cloned()),
            Err(error) if asked_for == 1 => Err(error),
            Err(_) => Ok(ask(std::slice::from_ref(partition))?.remove(partition)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// A question's answers, and for how many it was asked. The last of them takes it away.
    fn take(&mut self, number: u64) -> (Result<Arc<Answers<T>>, KafkaError>, usize) {
        let given = self.given.get_mut(&number).expect("it is there until the last has taken it");
        given.taken += 1;
        let (answers, asked_for) = (given.answers.clone(), given.asked_for);
        if given.taken == asked_for {
            self.given.remove(&number);
        }
        (answers, asked_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_store_statecharts::topic::{PartitionId, TopicName};
    use std::sync::Barrier;

    const THREADS: i32 = 8;

    fn partition(number: i32) -> TopicPartition {
        let topic = TopicName::new("orders").expect("legal");
        TopicPartition { topic, partition: PartitionId::new(number).expect("not negative") }
    }

    /// Waits until so many others wait for the next question.
    fn until_others_wait<T>(together: &AskedTogether<T>, count: usize) {
        while together.state.lock().expect("nobody panics").waiting.len() < count {
            std::thread::yield_now();
        }
    }

    /// Asks from each of eight threads, the first of which asks alone while all others come. Says what each got, and how many
    /// each question was about.
    fn ask_together(
        answer: impl Fn(&[TopicPartition]) -> Result<Answers<i32>, KafkaError> + Sync,
    ) -> (Vec<Result<Option<i32>, KafkaError>>, Vec<usize>) {
        let (together, asked) = (AskedTogether::<i32>::default(), Mutex::new(Vec::new()));
        let first_asks = Barrier::new(2);
        let ask = |partitions: &[TopicPartition]| {
            let number = {
                let mut asked = asked.lock().expect("nobody panics");
                asked.push(partitions.len());
                asked.len()
            };
            if number == 1 {
                first_asks.wait();
                until_others_wait(&together, THREADS as usize - 1);
            }
            answer(partitions)
        };
        let got = std::thread::scope(|scope| {
            let mut threads = vec![scope.spawn(|| together.get(&partition(0), ask))];
            first_asks.wait();
            let (together, ask) = (&together, &ask);
            threads.extend((1..THREADS).map(|number| scope.spawn(move || together.get(&partition(number), ask))));
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(together.state.lock().expect("nobody panics").given.is_empty(), "all is taken");
        (got, asked.into_inner().expect("nobody panics"))
    }

    fn numbers(partitions: &[TopicPartition]) -> Answers<i32> {
        partitions.iter().map(|partition| (partition.clone(), partition.partition.get())).collect()
    }

    #[test]
    fn who_comes_while_one_asks_is_asked_for_together() {
        let (got, asked) = ask_together(|partitions| Ok(numbers(partitions)));
        assert_eq!(got, (0..THREADS).map(|number| Ok(Some(number))).collect::<Vec<_>>());
        assert_eq!(asked, [1, THREADS as usize - 1]);
    }

    #[test]
    fn one_partition_without_an_answer_takes_none_from_the_others() {
        let failed = || KafkaError { name: "_LEADER".to_owned(), text: "no leader".to_owned() };
        let (got, asked) = ask_together(|partitions| match partitions.contains(&partition(3)) {
            true => Err(failed()),
            false => Ok(numbers(partitions)),
        });
        let one = |number| if number == 3 { Err(failed()) } else { Ok(Some(number)) };
        assert_eq!(got, (0..THREADS).map(one).collect::<Vec<_>>());
        assert_eq!(asked.len(), 2 + THREADS as usize - 1, "{asked:?}");
    }

    #[test]
    fn an_answer_may_say_nothing_of_a_partition() {
        let together = AskedTogether::<i32>::default();
        assert_eq!(together.get(&partition(0), |_| Ok(Answers::new())), Ok(None));
    }
}
