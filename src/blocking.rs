//! Threads for calls that block: file systems, brokers' answers. Actors' threads make none of them.

use crossbeam_channel::Sender;
use kafka_store_actors::ports::PortFuture;
use std::sync::Arc;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads that take jobs in turn. They end when the last clone of the pool is dropped.
#[derive(Clone, Debug)]
pub struct BlockingPool {
    jobs: Arc<Sender<Job>>,
}

impl BlockingPool {
    /// A pool of `threads`, named for a person who looks at the process.
    pub fn new(name: &str, threads: usize) -> BlockingPool {
        // What waits is bounded by its callers: a walk and an upload for each partition at the most.
        let (jobs, waiting) = crossbeam_channel::unbounded::<Job>();
        for _ in 0..threads {
            let waiting = waiting.clone();
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || waiting.iter().for_each(|job| job()))
                .expect("the system starts one more thread");
        }
        BlockingPool { jobs: Arc::new(jobs) }
    }

    /// Runs a call on one of the threads.
    pub fn run<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> PortFuture<T> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            // The one who asked may be gone.
            let _ = answer.send(call());
        });
        self.jobs.send(job).expect("the threads live as long as the pool");
        Box::pin(async move { answered.await.expect("a call that panics ends the process") })
    }
}
