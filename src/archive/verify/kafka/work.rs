//! The records of many partitions, a few concurrently.

use super::ends::KafkaTail;
use super::judge::judge;
use super::merge::RecordComparison;
use super::records::RecordsCheck;
use super::{AgainstKafka, AgainstKafkaError};
use crate::archive::parallel_map;
use crate::archive::verify::content::ChainContent;
use crate::archive::verify::problem::{Problem, ProblemKind};
use crate::archive::verify::{Watch, Work};
use crate::avro::Isolation;
use crate::kafka::{LogError, LogReader};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Readers, each with what it has fetched ahead and a record of any size: more would help little and take memory.
const READERS_MAX: usize = 4;

/// A chain whose records are compared, and where the outcome is kept.
pub(super) struct Subject<'a> {
    pub(super) chain: &'a ChainName,
    pub(super) content: &'a ChainContent,
    /// The end of the chain up to which an operator decided that differences do not count.
    pub(super) accepted_to: Offset,
    pub(super) tail: &'a mut KafkaTail,
}

/// The comparison of all chains' records.
pub(super) struct RecordsJob<'a> {
    pub(super) against: &'a AgainstKafka<'a>,
    pub(super) watch: &'a dyn Watch,
}

/// Outcome for one chain.
#[derive(Default)]
struct Compared {
    records: Option<RecordComparison>,
    problems: Vec<Problem>,
}

impl RecordsJob<'_> {
    /// Compares; false if it was interrupted.
    pub(super) fn run(
        &self,
        subjects: &mut [Subject<'_>],
        problems: &mut Vec<Problem>,
    ) -> Result<bool, AgainstKafkaError> {
        if subjects.is_empty() {
            return Ok(true);
        }
        self.watch.begin(self.work(subjects));
        let readers = Readers { against: self.against, idle: Mutex::default() };
        // The user's wish to stop, and the first failure.
        let (failure, failed) = (Mutex::new(None), AtomicBool::new(false));
        let compared = parallel_map(subjects, self.against.threads.min(READERS_MAX), |subject| {
            if failed.load(Ordering::Relaxed) {
                return None;
            }
            match self.compare(subject, &readers) {
                Ok(compared) => Some(compared),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    None
                }
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => {}
            Some(LogError::Kafka(error)) => return Err(error.into()),
            Some(LogError::Stopped | LogError::Unreadable(_)) => return Ok(false),
        }
        for (subject, mut compared) in subjects.iter_mut().zip(compared.into_iter().flatten()) {
            subject.tail.records = compared.records;
            problems.append(&mut compared.problems);
        }
        Ok(true)
    }

    fn work(&self, subjects: &[Subject<'_>]) -> Work {
        if !self.against.is_deep {
            return Work::Partitions(subjects.len() as u64);
        }
        let bytes = |subject: &Subject<'_>| subject.content.spans.iter().map(|span| span.bytes).sum::<u64>();
        Work::Bytes(subjects.iter().map(bytes).sum())
    }

    fn compare(&self, subject: &Subject<'_>, readers: &Readers<'_>) -> Result<Compared, LogError> {
        let AgainstKafka { store, stop, is_deep, .. } = *self.against;
        let Subject { chain, content, accepted_to, tail } = subject;
        // The original tool had no transactions to read uncommitted.
        let isolation = content.log.isolation.unwrap_or(Isolation::ReadCommitted);
        let mut reader = readers.take(isolation)?;
        let advance = |bytes| {
            if is_deep {
                self.watch.advance(bytes);
            }
        };
        let mut check = RecordsCheck {
            store,
            chain,
            content,
            reader: &mut reader,
            stop,
            advance: &advance,
            accepted_to: *accepted_to,
            unreadable: Vec::new(),
        };
        let found = if is_deep { check.compare_all() } else { check.compare_last() };
        let unreadable = check.unreadable;
        if !is_deep {
            self.watch.advance(1);
        }
        let mut compared = Compared::default();
        compared.problems.extend(unreadable.iter().map(|(name, error)| Problem::unreadable(store, name, error)));
        match found {
            Ok(found) => {
                readers.give_back(isolation, reader);
                compared.problems.extend(judge(chain, &found, tail));
                compared.records = Some(found);
            }
            // The reader may be in the midst of anything.
            Err(LogError::Unreadable(message)) => {
                let message = format!("Kafka's log cannot be compared: {message}");
                compared.problems.push(Problem::of_chain(ProblemKind::LogUnreadable, chain, message));
            }
            Err(error) => return Err(error),
        }
        Ok(compared)
    }
}

/// Readers that nobody uses right now.
struct Readers<'a> {
    against: &'a AgainstKafka<'a>,
    idle: Mutex<Vec<(Isolation, LogReader)>>,
}

impl Readers<'_> {
    fn take(&self, isolation: Isolation) -> Result<LogReader, LogError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.iter().position(|(of, _)| *of == isolation) {
            Some(index) => Ok(idle.swap_remove(index).1),
            None => Ok(self.against.readers.open(isolation)?),
        }
    }

    fn give_back(&self, isolation: Isolation, reader: LogReader) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((isolation, reader));
    }
}
