//! The index as the actors see it: rows go to one thread, which writes those that wait together.

use super::error::IndexErrorKind;
use super::row::RowValues;
use super::write::RowOutcome;
use super::{IndexResult, MysqlIndex};
use crossbeam_channel::{Receiver, Sender};
use kafka_store_actors::ports::{IndexRow, PortFuture};
use kafka_store_statecharts::failure::Failure;
use kafka_store_statecharts::name::ChainName;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// The most rows of one transaction. More would hold their chains' locks for long.
const ROWS_MAX: usize = 128;

/// Writes rows on a thread of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct IndexWriter {
    // What waits is bounded by its callers: one row for each partition.
    waiting: Sender<Job>,
    with_rows: Arc<ChainsWithRows>,
}

/// The chains that have had rows: one that has none any more has lost them.
#[derive(Debug, Default)]
struct ChainsWithRows(Mutex<BTreeSet<ChainName>>);

impl ChainsWithRows {
    fn insert(&self, chain: &ChainName) {
        let mut chains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !chains.contains(chain) {
            chains.insert(chain.clone());
        }
    }

    fn contains(&self, chain: &ChainName) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(chain)
    }
}

type Answer = oneshot::Sender<Result<RowOutcome, Failure>>;

#[derive(Debug)]
struct Job {
    row: IndexRow,
    answer: Answer,
}

impl IndexWriter {
    /// Starts the thread.
    pub fn start(index: MysqlIndex) -> IndexWriter {
        let (waiting, jobs) = crossbeam_channel::unbounded();
        let with_rows = Arc::new(ChainsWithRows::default());
        let known = Arc::clone(&with_rows);
        std::thread::Builder::new()
            .name("index".to_owned())
            .spawn(move || write_what_comes(&index, &known, &jobs))
            .expect("the system starts one more thread");
        IndexWriter { waiting, with_rows }
    }

    /// Remembers that a chain has rows.
    pub fn expect_rows(&self, chain: &ChainName) {
        self.with_rows.insert(chain);
    }

    /// Writes a row, and waits until the index answers.
    pub fn write(&self, row: IndexRow) -> PortFuture<Result<RowOutcome, Failure>> {
        let (answer, answered) = oneshot::channel();
        self.waiting.send(Job { row, answer }).expect("the thread lives as long as this");
        Box::pin(async move { answered.await.expect("a call that panics ends the process") })
    }
}

/// One transaction after the other: alone while the index keeps up, many rows together when it lags.
fn write_what_comes(index: &MysqlIndex, with_rows: &ChainsWithRows, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(ROWS_MAX - 1));
        write_batch(index, with_rows, batch);
    }
}

fn write_batch(index: &MysqlIndex, with_rows: &ChainsWithRows, batch: Vec<Job>) {
    let mut rows: Vec<(RowValues, _)> = Vec::with_capacity(batch.len());
    for Job { row, answer } in batch {
        rows.push((RowValues::of(&row), answer));
    }
    // In one order, whichever daemon writes: then two of them do not wait for each other's rows.
    rows.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    let (rows, answers): (Vec<RowValues>, Vec<Answer>) = rows.into_iter().unzip();
    let outcomes: Vec<Result<RowOutcome, Failure>> = match index.write_after(&rows, &|chain| with_rows.contains(chain))
    {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        // One of them does not fit: each by itself, then.
        Err(error) if rows.len() > 1 && error.kind() == IndexErrorKind::Row => {
            rows.iter().map(|row| write_alone(index, with_rows, row)).collect()
        }
        Err(error) => rows.iter().map(|_| Err(error.failure())).collect(),
    };
    for ((row, answer), outcome) in rows.iter().zip(answers).zip(outcomes) {
        if matches!(outcome, Ok(RowOutcome::Written | RowOutcome::WasThere)) {
            with_rows.insert(&row.name.chain);
        }
        // The one who asked may be gone, with its partition; the row is in the table all the same.
        let _ = answer.send(outcome);
    }
}

fn write_alone(index: &MysqlIndex, with_rows: &ChainsWithRows, row: &RowValues) -> Result<RowOutcome, Failure> {
    let written: IndexResult<Vec<RowOutcome>> =
        index.write_after(std::slice::from_ref(row), &|chain| with_rows.contains(chain));
    match written {
        Ok(mut outcomes) => Ok(outcomes.pop().expect("an outcome for each row")),
        Err(error) => Err(error.failure()),
    }
}
