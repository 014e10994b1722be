//! Reading partitions from given offsets on, outside of a group: nothing is joined, nothing is committed.

mod batch;
mod readers;

pub use batch::LoggedRecord;
pub use readers::LogReaders;

use super::ffi::{Client, Delivered, EventKind, FetchedRecord, KafkaError, LogEnd, PartitionOffset, PartitionProblem};
use super::{blocked, canonical};
use crate::avro::Isolation;
use batch::Batch;
use kafka_store_statecharts::offset::{LeaderEpoch, Offset};
use kafka_store_statecharts::topic::TopicPartition;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Limit for one question to a broker.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// Limit for silence. A broker sends a record of 100 MB as one answer, in whose midst nothing is seen.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Interval at which a reader that waits looks whether it is to stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// Records are handed over in batches of this many bytes. A larger record is a batch of its own.
const BATCH_BYTES: usize = 256 * 1024;
/// Restarts at one position before the partition is called unreadable.
const RESTARTS_MAX: u32 = 3;

/// Reads one partition at a time.
#[derive(Debug)]
pub struct LogReader {
    client: Client,
    isolation: Isolation,
    reading: Option<Reading>,
    batch: Batch,
    /// The last thing that librdkafka said of its brokers: it explains silence.
    last_notice: Option<String>,
}

/// The next thing in a log.
#[derive(Clone, Copy, Debug)]
pub enum LogFront<'a> {
    /// A record.
    Record(LoggedRecord<'a>),
    /// Nothing more: the log ends before this offset, or all that was asked for has been read.
    End(Offset),
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Reading was interrupted.
    #[error("interrupted")]
    Stopped,
    /// This partition cannot be read; others may be.
    #[error("{0}")]
    Unreadable(String),
    /// The brokers do not answer.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

/// The partition that is being read.
#[derive(Debug)]
struct Reading {
    partition: TopicPartition,
    /// librdkafka's handle of the topic, once a record has shown it.
    topic_handle: Option<usize>,
    /// The next offset that is wanted.
    position: Offset,
    /// The first offset that is not wanted.
    until: Offset,
    log_start: Offset,
    end: Option<Offset>,
    restarts: u32,
}

/// Action that a delivery requires, taken after librdkafka's memory has been left.
enum Next {
    GoOn,
    Ended(Offset),
    OutOfRange,
}

impl LogReader {
    fn new(client: Client, isolation: Isolation) -> LogReader {
        LogReader { client, isolation, reading: None, batch: Batch::default(), last_notice: None }
    }

    /// Starts to read a partition from `from` on, up to the record before `until`. What was read before is dropped.
    ///
    /// # Errors
    /// If the brokers do not say where the log starts, or librdkafka refuses.
    pub fn start(&mut self, partition: &TopicPartition, from: Offset, until: Offset) -> Result<(), LogError> {
        self.batch.clear();
        let log_start = self.ask(partition, LogEnd::Start)?;
        let position = from.max(log_start);
        let mut reading = Reading {
            partition: partition.clone(),
            topic_handle: None,
            position,
            until,
            log_start,
            end: None,
            restarts: 0,
        };
        if until <= position {
            reading.end = Some(until);
            self.reading = Some(reading);
            return Ok(());
        }
        self.assign(partition, position)?;
        self.reading = Some(reading);
        Ok(())
    }

    /// The log's start, as far as it is known. It moves on while records expire.
    pub fn log_start(&self) -> Offset {
        self.reading.as_ref().map_or_else(Offset::default, |reading| reading.log_start)
    }

    /// The next record, which stays in front until it is [taken](LogReader::pop). Waits for it.
    ///
    /// # Errors
    /// If the partition cannot be read, the brokers do not answer, or `stop` is set.
    pub fn front(&mut self, stop: &AtomicBool) -> Result<LogFront<'_>, LogError> {
        if self.batch.is_empty() {
            self.fill(stop)?;
        }
        Ok(match (self.batch.front(), &self.reading) {
            (Some(record), _) => LogFront::Record(record),
            (None, Some(Reading { end: Some(end), .. })) => LogFront::End(*end),
            (None, _) => unreachable!("a batch is empty only at the end"),
        })
    }

    /// Asks the partition's leader whether its log still is the one that the leader of `epoch` had up to `offset`
    /// (KIP-320). `None` if that cannot be known: the log does not reach from before the offset up to it.
    ///
    /// # Errors
    /// As [`LogReader::front`].
    pub fn has_history(
        &mut self,
        partition: &TopicPartition,
        offset: Offset,
        epoch: LeaderEpoch,
        stop: &AtomicBool,
    ) -> Result<Option<bool>, LogError> {
        let reaches = |log_start: Offset, end: Offset| log_start <= offset && offset <= end;
        if !reaches(self.ask(partition, LogEnd::Start)?, self.ask(partition, LogEnd::HighWatermark)?) {
            return Ok(None);
        }
        // Only what is fetched can be moved.
        self.start(partition, offset, Offset::MAX)?;
        self.front(stop)?;
        self.batch.clear();
        let to = PartitionOffset { partition: partition.clone(), offset };
        self.client.seek_in_epoch(&to, epoch, ANSWER_TIME)?;
        if let Some(reading) = &mut self.reading {
            (reading.position, reading.end) = (offset, None);
        }
        let heard = Instant::now();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(LogError::Stopped);
            }
            match self.take_next(LOOK_INTERVAL)? {
                None if heard.elapsed() > SILENCE_MAX => return Err(self.silent()),
                Some(Next::OutOfRange) => {
                    let (log_start, end) =
                        (self.ask(partition, LogEnd::Start)?, self.ask(partition, LogEnd::HighWatermark)?);
                    return Ok(reaches(log_start, end).then_some(false));
                }
                Some(Next::Ended(_)) => return Ok(Some(true)),
                _ if self.batch.has_records() => return Ok(Some(true)),
                _ => {}
            }
        }
    }

    /// Takes the record that is in front.
    pub fn pop(&mut self) {
        self.batch.pop();
    }

    /// Reads on until there is a record or the end.
    fn fill(&mut self, stop: &AtomicBool) -> Result<(), LogError> {
        self.batch.clear();
        let mut heard = Instant::now();
        while self.reading.as_ref().is_some_and(|reading| reading.end.is_none()) {
            if stop.load(Ordering::Relaxed) {
                return Err(LogError::Stopped);
            }
            let has_some = self.batch.has_records();
            match self.take_next(if has_some { Duration::ZERO } else { LOOK_INTERVAL })? {
                None if has_some => return Ok(()),
                None if heard.elapsed() > SILENCE_MAX => return Err(self.silent()),
                None => {}
                Some(next) => {
                    heard = Instant::now();
                    self.follow(next)?;
                    if self.batch.bytes.len() >= BATCH_BYTES {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes one delivery; `None` if none came within the time.
    fn take_next(&mut self, timeout: Duration) -> Result<Option<Next>, LogError> {
        let LogReader { client, reading, batch, last_notice, .. } = self;
        let Some(reading) = reading else { return Ok(None) };
        let mut next = Ok(Next::GoOn);
        let came = client.next_delivered(timeout, &mut |delivered| {
            next = match delivered {
                Delivered::Record(record) => reading.take(&record, batch),
                Delivered::Event(kind) => reading.notice(kind, last_notice),
            };
        });
        next.map(|next| came.then_some(next))
    }

    fn follow(&mut self, next: Next) -> Result<(), LogError> {
        match next {
            Next::GoOn => Ok(()),
            Next::Ended(at) => self.ended(at),
            Next::OutOfRange => self.out_of_range(),
        }
    }

    /// The end of what a fetch could see. A new leader may show it too early until it knows its own high watermark; the
    /// answer to ListOffsets waits for that (KIP-207).
    fn ended(&mut self, at: Offset) -> Result<(), LogError> {
        let Some(Reading { partition, until, .. }) = &self.reading else { return Ok(()) };
        let (partition, until) = (partition.clone(), *until);
        let is_end = at >= until || self.ask(&partition, self.visible_end())? <= at;
        if let Some(reading) = self.reading.as_mut().filter(|_| is_end) {
            reading.end = Some(at);
        }
        Ok(())
    }

    /// The position lies outside of the log: records expired, or the log was cut.
    fn out_of_range(&mut self) -> Result<(), LogError> {
        let Some(reading) = &self.reading else { return Ok(()) };
        let (partition, position) = (reading.partition.clone(), reading.position);
        let (log_start, end) = (self.ask(&partition, LogEnd::Start)?, self.ask(&partition, LogEnd::HighWatermark)?);
        let Some(reading) = &mut self.reading else { return Ok(()) };
        reading.log_start = log_start;
        if end < position {
            reading.end = Some(end);
            return Ok(());
        }
        if position < log_start {
            reading.position = log_start;
            reading.restarts = 0;
        } else if reading.restarts < RESTARTS_MAX {
            reading.restarts += 1;
        } else {
            return Err(LogError::Unreadable(format!(
                "offset {position} of {partition} is out of range for its leader, although the log reaches from \
                 {log_start} to {end}"
            )));
        }
        if reading.until <= reading.position {
            reading.end = Some(reading.until);
            return Ok(());
        }
        let position = reading.position;
        self.assign(&partition, position)
    }

    fn assign(&self, partition: &TopicPartition, offset: Offset) -> Result<(), LogError> {
        // What was assigned before must have stopped, or librdkafka stops it twice and aborts. The first answer of its
        // main thread shows that it has ordered the stop, the second that it has heard of its end.
        self.client.unassign()?;
        self.client.await_main_thread();
        self.client.await_main_thread();
        Ok(self.client.assign(&[PartitionOffset { partition: partition.clone(), offset }])?)
    }

    fn visible_end(&self) -> LogEnd {
        match self.isolation {
            Isolation::ReadCommitted => LogEnd::LastStable,
            Isolation::ReadUncommitted => LogEnd::HighWatermark,
        }
    }

    fn ask(&self, partition: &TopicPartition, end: LogEnd) -> Result<Offset, KafkaError> {
        let ends = self.client.log_ends(std::slice::from_ref(partition), end, ANSWER_TIME)?;
        Ok(ends.get(partition).copied().unwrap_or_default())
    }

    fn silent(&self) -> LogError {
        let (partition, position) = match &self.reading {
            Some(reading) => (reading.partition.to_string(), reading.position.to_string()),
            None => Default::default(),
        };
        let notice = self.last_notice.as_ref().map(|notice| format!("; librdkafka says: {notice}")).unwrap_or_default();
        let text = format!(
            "no broker sent anything of {partition} from {position} on for {} s{notice}",
            SILENCE_MAX.as_secs()
        );
        LogError::Kafka(KafkaError { name: "_TIMED_OUT".to_owned(), text })
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        // Nothing can be done about a client that does not stop fetching; it is about to be destroyed.
        let _ = self.client.unassign();
    }
}

impl Reading {
    fn take(&mut self, record: &FetchedRecord<'_>, batch: &mut Batch) -> Result<Next, LogError> {
        let Some(offset) = Offset::new(record.offset()).filter(|offset| *offset >= self.position) else {
            return Ok(Next::GoOn);
        };
        if !self.is_ours(record) {
            return Ok(Next::GoOn);
        }
        if offset >= self.until {
            return Ok(Next::Ended(self.until));
        }
        canonical::append(record, offset, &mut batch.bytes).map_err(|error| {
            LogError::Unreadable(format!("the record at offset {offset} of {} cannot be read: {error}", self.partition))
        })?;
        batch.mark(offset, record.leader_epoch());
        self.position = offset.next();
        self.restarts = 0;
        Ok(if self.position == self.until { Next::Ended(self.until) } else { Next::GoOn })
    }

    fn is_ours(&mut self, record: &FetchedRecord<'_>) -> bool {
        if record.partition() != self.partition.partition.get() {
            return false;
        }
        match self.topic_handle {
            Some(handle) => handle == record.topic_handle(),
            None => {
                let is_ours = record.topic() == self.partition.topic.as_str();
                self.topic_handle = is_ours.then(|| record.topic_handle());
                is_ours
            }
        }
    }

    fn notice(&mut self, kind: EventKind, last_notice: &mut Option<String>) -> Result<Next, LogError> {
        match kind {
            EventKind::PartitionEnd(partition, at) if partition == self.partition => {
                let at = Offset::new(at).unwrap_or(self.position).max(self.position);
                self.position = at;
                Ok(Next::Ended(at))
            }
            EventKind::PartitionFailed(problem) if problem.partition == self.partition => self.failed(&problem),
            EventKind::Fatal(error) => Err(error.into()),
            EventKind::Notice(error) => {
                *last_notice = Some(error.to_string());
                Ok(Next::GoOn)
            }
            _ => Ok(Next::GoOn),
        }
    }

    fn failed(&self, problem: &PartitionProblem) -> Result<Next, LogError> {
        if blocked::is_out_of_range(problem) {
            return Ok(Next::OutOfRange);
        }
        let PartitionProblem { error, .. } = problem;
        Err(LogError::Unreadable(format!(
            "{} cannot be read from offset {} on: {error}",
            self.partition, self.position
        )))
    }
}
