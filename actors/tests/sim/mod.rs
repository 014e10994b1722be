//! A simulated world around the real actors: one thread, virtual time, one seed.

mod kafka;
mod log;
pub(crate) mod outages;
mod plan;
mod ports;
mod prng;
pub(crate) mod run;
mod spool;
pub(crate) mod world;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use world::World;

/// The world, as one process meets it.
#[derive(Clone)]
pub(crate) struct Sim {
    world: Arc<Mutex<World>>,
    started: Instant,
    started_ms: u64,
}

impl Sim {
    /// For a process that starts now.
    fn new(world: &Arc<Mutex<World>>) -> Sim {
        let started_ms = world.lock().unwrap_or_else(PoisonError::into_inner).started_ms;
        Sim { world: Arc::clone(world), started: Instant::now(), started_ms }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.started_ms + self.started.elapsed().as_millis() as u64
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sim")
    }
}
