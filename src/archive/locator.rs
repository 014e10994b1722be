//! The locator as the actors see it. What is transient is retried as long as it lasts, and holds no thread meanwhile.

use super::locate::{LocatorParams, Unanswered, begins_without_record};
use super::second_look::Doubt;
use crate::blocking::BlockingPool;
use kafka_store_actors::figures::Figures;
use kafka_store_actors::ports::{
    Blocked, BrokenLog, Cause, ChainLocator, Clock, Coverage, Located, PortFuture, TopicAnswer,
};
use kafka_store_statecharts::anchor::{Anchor, Proof};
use kafka_store_statecharts::backoff;
use kafka_store_statecharts::failure::Port;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::{TopicName, TopicPartition};
use slog::warn;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long after the first look a second one must find the same.
const SECOND_LOOK: Duration = Duration::from_secs(60);

/// Finds where chains go on.
#[derive(Clone, Debug)]
pub struct Locator {
    params: Arc<LocatorParams>,
    pool: BlockingPool,
    figures: Arc<Figures>,
    clock: Arc<dyn Clock>,
    starts: Arc<Starts>,
    /// [`SECOND_LOOK`], but for tests.
    second_look: Duration,
}

/// Position and anchor of the partitions whose fetching was to begin without a record to compare. What a log start beyond the
/// anchor explains elsewhere, it does not explain there.
#[derive(Debug, Default)]
struct Starts(Mutex<BTreeMap<TopicPartition, (Offset, Option<Anchor>)>>);

impl Starts {
    fn note(&self, partition: &TopicPartition, position: Offset, anchor: Option<Anchor>, proof: Proof) {
        let mut starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if begins_without_record(proof) {
            starts.insert(partition.clone(), (position, anchor));
        } else {
            starts.remove(partition);
        }
    }

    fn began_without_record(&self, partition: &TopicPartition, broken: &BrokenLog) -> bool {
        let starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        starts.get(partition) == Some(&(broken.position, broken.anchor))
    }
}

impl Locator {
    /// A locator whose questions are asked on the pool's threads.
    pub fn new(params: LocatorParams, pool: BlockingPool, figures: Arc<Figures>, clock: Arc<dyn Clock>) -> Locator {
        Locator { params: Arc::new(params), pool, figures, clock, starts: Arc::default(), second_look: SECOND_LOOK }
    }

    /// Asks on a thread of the pool until there is an answer, waiting longer each time.
    async fn ask<T: Send + 'static>(
        &self,
        partition: &TopicPartition,
        what: &'static str,
        question: impl Fn(&LocatorParams, &TopicPartition) -> Result<T, Unanswered> + Clone + Send + 'static,
    ) -> Result<T, Unanswered> {
        let mut failures = 0;
        loop {
            let (params, asked, question) = (Arc::clone(&self.params), partition.clone(), question.clone());
            let failure = match self.pool.run(move || question(&params, &asked)).await {
                Err(Unanswered::ForNow(failure)) => failure,
                answer => {
                    if failures > 0 {
                        self.figures.recovered(partition, &Port::ALL);
                    }
                    return answer;
                }
            };
            failures += 1;
            let delay = backoff::delay(failures, backoff::salt(partition.to_string().bytes()));
            warn!(self.params.log, "question not answered yet; retrying"; "attempt" => failures + 1,
                "class" => failure.class.as_str(), "reason" => failure.advice(), "in_seconds" => delay.as_secs_f64(),
                "what" => what, "partition" => %partition);
            let wall_ms = self.clock.now().wall_ms;
            self.figures.troubled(partition, &failure, failures, wall_ms);
            tokio::time::sleep(delay).await;
        }
    }

    async fn locate_twice(self, partition: TopicPartition, from: Option<Offset>) -> Result<Located, Blocked> {
        let mut doubted: Option<Box<Doubt>> = None;
        loop {
            let before = doubted.take();
            let question = move |params: &LocatorParams, partition: &TopicPartition| {
                params.locate(partition, from).map_err(|unanswered| match unanswered {
                    Unanswered::Doubted(doubt) if before.as_ref().is_some_and(|before| doubt.confirms(before)) => {
                        params.record_doubt(&doubt)
                    }
                    unanswered => unanswered,
                })
            };
            match self.ask(&partition, "where the chain goes on", question).await {
                Ok(located) => {
                    self.starts.note(&partition, located.position, located.last_record, located.proof);
                    return Ok(located);
                }
                Err(Unanswered::Doubted(doubt)) => {
                    warn!(self.params.log, "the log seems to be of another history; looking again";
                        "reason" => doubt.reason(), "in_seconds" => self.second_look.as_secs(), "partition" => %partition);
                    doubted = Some(doubt);
                    tokio::time::sleep(self.second_look).await;
                }
                Err(unanswered) => return Err(blocked(unanswered)),
            }
        }
    }
}

fn blocked(unanswered: Unanswered) -> Blocked {
    Blocked { reason: unanswered.reason() }
}

impl ChainLocator for Locator {
    fn locate(&self, partition: &TopicPartition, from: Option<Offset>) -> PortFuture<Result<Located, Blocked>> {
        Box::pin(self.clone().locate_twice(partition.clone(), from))
    }

    fn examine(&self, partition: &TopicPartition, broken: BrokenLog) -> PortFuture<Result<Cause, Blocked>> {
        let (locator, partition) = (self.clone(), partition.clone());
        let began_without_record = self.starts.began_without_record(&partition, &broken);
        Box::pin(async move {
            let question = move |params: &LocatorParams, partition: &TopicPartition| {
                params.examine(partition, broken, began_without_record)
            };
            let cause = locator.ask(&partition, "why the log does not continue", question).await.map_err(blocked)?;
            if let Cause::Unchanged { proof } = cause {
                locator.starts.note(&partition, broken.position, broken.anchor, proof);
            }
            Ok(cause)
        })
    }

    fn topics(&self, topics: Vec<TopicName>) -> PortFuture<BTreeMap<TopicName, TopicAnswer>> {
        let params = Arc::clone(&self.params);
        self.pool.run(move || params.topics(&topics))
    }

    fn coverage(&self, partition: &TopicPartition, target: Offset) -> PortFuture<Result<Coverage, Blocked>> {
        let (params, partition) = (Arc::clone(&self.params), partition.clone());
        // Once: it is looked at again and again, and what was not answered is out of date by then.
        self.pool.run(move || params.coverage(&partition, target).map_err(blocked))
    }
}

#[cfg(test)]
mod tests;
