//! The index as the actors see it: rows go to one thread, which writes those that wait together.

use super::error::{IndexError, IndexErrorKind};
use super::row::RowValues;
use super::write::RowOutcome;
use super::{IndexResult, MysqlIndex};
use crossbeam_channel::{Receiver, Sender};
use kafka_store_actors::ports::{IndexAnswer, IndexFailure, IndexRow, PortFuture, SegmentIndex};
use tokio::sync::oneshot;

/// The most rows of one transaction. More would hold their chains' locks for long.
const ROWS_MAX: usize = 128;

/// Writes rows on a thread of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct IndexWriter {
    // What waits is bounded by its callers: one row for each partition.
    waiting: Sender<Job>,
}

#[derive(Debug)]
struct Job {
    row: IndexRow,
    answer: oneshot::Sender<Result<IndexAnswer, IndexFailure>>,
}

impl IndexWriter {
    /// Starts the thread.
    pub fn start(index: MysqlIndex) -> IndexWriter {
        let (waiting, jobs) = crossbeam_channel::unbounded();
        std::thread::Builder::new()
            .name("index".to_owned())
            .spawn(move || write_what_comes(&index, &jobs))
            .expect("the system starts one more thread");
        IndexWriter { waiting }
    }
}

impl SegmentIndex for IndexWriter {
    fn write_row(&self, row: IndexRow) -> PortFuture<Result<IndexAnswer, IndexFailure>> {
        let (answer, answered) = oneshot::channel();
        self.waiting.send(Job { row, answer }).expect("the thread lives as long as this");
        Box::pin(async move { answered.await.expect("a call that panics ends the process") })
    }
}

/// One transaction after the other: alone while the index keeps up, many rows together when it lags.
fn write_what_comes(index: &MysqlIndex, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(ROWS_MAX - 1));
        write_batch(index, batch);
    }
}

fn write_batch(index: &MysqlIndex, batch: Vec<Job>) {
    let mut rows: Vec<(RowValues, _)> = Vec::with_capacity(batch.len());
    for Job { row, answer } in batch {
        rows.push((RowValues::of(&row), answer));
    }
    // In one order, whichever daemon writes: then two of them do not wait for each other's rows.
    rows.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    let (rows, answers): (Vec<RowValues>, Vec<_>) = rows.into_iter().unzip();
    match index.write(&rows) {
        Ok(outcomes) => answers.into_iter().zip(outcomes).for_each(|(answer, outcome)| give(answer, Ok(outcome))),
        // One of them does not fit: each by itself, then.
        Err(error) if rows.len() > 1 && error.kind() == IndexErrorKind::Row => {
            answers.into_iter().zip(&rows).for_each(|(answer, row)| give(answer, write_alone(index, row)));
        }
        Err(error) => answers.into_iter().for_each(|answer| give(answer, Err(failure(&error)))),
    }
}

fn write_alone(index: &MysqlIndex, row: &RowValues) -> Result<RowOutcome, IndexFailure> {
    let written: IndexResult<Vec<RowOutcome>> = index.write(std::slice::from_ref(row));
    match written {
        Ok(mut outcomes) => Ok(outcomes.pop().expect("an outcome for each row")),
        Err(error) => Err(failure(&error)),
    }
}

fn failure(error: &IndexError) -> IndexFailure {
    IndexFailure { reason: error.to_string() }
}

fn give(answer: oneshot::Sender<Result<IndexAnswer, IndexFailure>>, outcome: Result<RowOutcome, IndexFailure>) {
    let given = outcome.map(|outcome| match outcome {
        RowOutcome::Written | RowOutcome::WasThere => IndexAnswer::Written,
        RowOutcome::Conflicts(reason) => IndexAnswer::Conflicts { reason },
    });
    // The one who asked may be gone, with its partition; the row is in the table all the same.
    let _ = answer.send(given);
}
