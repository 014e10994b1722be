//! The life of a seed: processes that are killed or stopped, then calm, then a run until the end.

use super::Sim;
use super::kafka::{self, Group};
use super::world::{Object, World};
use actix::{Actor, Addr, Arbiter, System};
use kafka_store_actors::budget::Budget;
use kafka_store_actors::consumer::{Consumer, ConsumerParams, Finished, LogSink};
use kafka_store_actors::indexer::Indexer;
use kafka_store_actors::messages::Drain;
use kafka_store_actors::partition_writer::{WriterContext, WriterSettings};
use kafka_store_actors::ports::{MirrorStores, Ports, SegmentIndex};
use kafka_store_actors::spool_account::SpoolAccount;
use kafka_store_actors::uploader::{Uploader, UploaderPool};
use kafka_store_statecharts::failure::Port;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicPartition;
use slog::{Discard, Logger, o};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// How long what is to happen may take once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long after its deletion every writer knows that the topic is gone.
const KNOWN_AFTER: Duration = Duration::from_secs(60);

/// What became of a seed.
pub(crate) struct Outcome {
    /// What the charts did, line by line.
    pub(crate) lines: Vec<String>,
    /// The transitions that were taken.
    pub(crate) taken: BTreeSet<String>,
    /// What must not have happened.
    pub(crate) violations: Vec<String>,
    /// How often what happened.
    pub(crate) seen: BTreeMap<&'static str, u64>,
    /// How often which failure met which state.
    pub(crate) met: BTreeMap<(Port, &'static str, &'static str), u64>,
    /// The chains at the end: a line for each object.
    pub(crate) chains: Vec<String>,
}

/// How a process ends.
enum Goal {
    /// Killed after so many milliseconds.
    Kill(u64),
    /// Stopped in good order after so many milliseconds.
    Stop(u64),
    /// All faults end after so many milliseconds; stopped when everything is archived.
    Calm(u64),
    /// The topic is deleted after so many milliseconds, and the store answers again when the process knows it.
    Depart(u64),
    /// `--until-end`, while everything goes wrong: killed if it has not ended after so many milliseconds.
    UntilEndOrKill(u64),
    /// `--until-end`.
    UntilEnd,
}

/// Runs one seed from its beginning to its end.
pub(crate) fn run(seed: u64) -> Outcome {
    run_world(World::new(seed))
}

/// Runs a world to its end.
pub(crate) fn run_world(world: World) -> Outcome {
    hear_of_panics();
    let world = Arc::new(Mutex::new(world));
    let goals = goals(&mut lock(&world));
    for goal in goals {
        live(&world, &goal);
        if !lock(&world).violations.is_empty() {
            break;
        }
    }
    let mut world = lock(&world);
    if world.violations.is_empty() {
        world.check_end();
    }
    Outcome {
        lines: std::mem::take(&mut world.lines),
        taken: std::mem::take(&mut world.taken),
        violations: std::mem::take(&mut world.violations),
        seen: std::mem::take(&mut world.seen),
        met: std::mem::take(&mut world.outages.met),
        chains: world.chains(),
    }
}

fn lock(world: &Mutex<World>) -> std::sync::MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn goals(world: &mut World) -> Vec<Goal> {
    let mut goals = Vec::new();
    for _ in 0..world.plan.lives {
        // At times long enough for the brokers to be asked about topics, and for a second look at a log.
        let longest_ms = *world.rng.one(&[12_000, 12_000, 12_000, 90_000]);
        let after_ms = world.rng.between(50, longest_ms);
        goals.push(match world.rng.between(0, 9) {
            0..=4 => Goal::Kill(after_ms),
            5..=7 => Goal::Stop(after_ms),
            _ => Goal::UntilEndOrKill(2 * after_ms),
        });
    }
    if world.plan.departs {
        goals.push(Goal::Depart(world.rng.between(60_000, 90_000)));
    }
    if world.plan.calm {
        goals.push(Goal::Calm(world.rng.between(1_000, 15_000)));
    }
    goals.push(Goal::UntilEnd);
    goals
}

/// One process.
fn live(world: &Arc<Mutex<World>>, goal: &Goal) {
    let system = System::with_tokio_rt(|| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().expect("a runtime")
    });
    PANICS.with_borrow_mut(|panics| *panics = Some(Vec::new()));
    let lived_ms = system.block_on(async {
        let sim = Sim::new(world);
        if let Goal::UntilEnd = goal {
            sim.lock().faults = false;
        }
        let process = Process::start(&sim, matches!(goal, Goal::UntilEnd | Goal::UntilEndOrKill(_)));
        process.reach(&sim, goal).await;
        sim.now_ms() - sim.started_ms
    });
    // Whatever the process had under way ends here, as with a kill.
    drop(system);
    let mut world = lock(world);
    world.started_ms += lived_ms + 1_000;
    let panics = PANICS.with_borrow_mut(Option::take).unwrap_or_default();
    world.violations.extend(panics);
}

/// The actors, and what a test asks them.
struct Process {
    consumer: Addr<Consumer>,
    finished: oneshot::Receiver<Finished>,
    budget: Arc<Budget>,
    spool: Arc<SpoolAccount>,
}

impl Process {
    fn start(sim: &Sim, until_end: bool) -> Process {
        let mut world = sim.lock();
        world.forget_states();
        world.hangs = false;
        world.group = Group::join(&world.plan.partitions, sim.started_ms);
        let plan = world.plan.clone();
        let ends = world.partitions.iter().map(|(partition, world)| (partition.clone(), world.log.end));
        let targets = until_end.then(|| ends.collect::<BTreeMap<TopicPartition, Offset>>());
        world.targets.clone_from(&targets);
        if !world.faults && world.plan.grows {
            // They come after the targets were fixed, and are not waited for.
            world.grow(5, sim.started_ms);
        }
        drop(world);
        let port = Arc::new(sim.clone());
        let index = plan.indexed.then(|| Arc::clone(&port) as Arc<dyn SegmentIndex>);
        let ports = Ports {
            clock: port.clone(),
            source: port.clone(),
            locator: port.clone(),
            spool: port.clone(),
            store: port.clone(),
            mirrors: plan.mirrored.then(|| Arc::clone(&port) as Arc<dyn MirrorStores>),
            index: index.clone(),
            transitions: port.clone(),
        };
        let uploaders = (0..plan.uploaders).map(|_| Uploader::new(Arc::clone(&ports.store)).start()).collect();
        let settings = WriterSettings {
            boundary: plan.boundary,
            wall_clock: plan.wall_clock,
            sealed_max: plan.sealed_max,
            reexamine_after: Duration::from_secs(60),
        };
        let spool = SpoolAccount::new(plan.spool_bytes, plan.boundary.segment_bytes.get());
        let writers = WriterContext {
            settings: Arc::new(settings),
            blocks: Budget::new(plan.block_bytes),
            spool: Arc::clone(&spool),
            ports,
            uploaders: UploaderPool::new(uploaders).start(),
            indexer: index.map(|index| Indexer::new(index).start()),
            figures: Arc::default(),
        };
        let (finished, end) = oneshot::channel();
        let log = Logger::root(Discard, o!());
        let (arbiters, open_files_max) = (vec![Arbiter::current()], usize::MAX);
        let (stall_timeout, drain_time) = (Duration::from_secs(600), Duration::from_secs(30));
        let params =
            ConsumerParams { writers, arbiters, targets, stall_timeout, drain_time, open_files_max, finished, log };
        let consumer = Consumer::new(params).start();
        let budget = Budget::new(plan.budget_bytes);
        actix::spawn(kafka::poll(sim.clone(), LogSink::new(&consumer), Arc::clone(&budget)));
        Process { consumer, finished: end, budget, spool }
    }

    async fn reach(mut self, sim: &Sim, goal: &Goal) {
        match goal {
            Goal::Kill(after_ms) => {
                sleep(Duration::from_millis(*after_ms)).await;
                sim.lock().saw("killed");
            }
            Goal::Stop(after_ms) => {
                sleep(Duration::from_millis(*after_ms)).await;
                if sim.lock().rng.per_mille(200) {
                    sim.lock().hangs = true;
                    sleep(Duration::from_millis(500)).await;
                }
                self.stop(sim).await;
                sim.lock().saw("stopped");
            }
            Goal::Calm(after_ms) => {
                sleep(Duration::from_millis(*after_ms)).await;
                sim.lock().faults = false;
                if self.archives_everything(sim).await {
                    self.stop(sim).await;
                    sim.lock().saw("calm");
                }
            }
            Goal::Depart(after_ms) => {
                sleep(Duration::from_millis(*after_ms)).await;
                sim.lock().recreate(sim.now_ms());
                sleep(KNOWN_AFTER).await;
                sim.lock().store_is_down = false;
                self.keeps_what_it_held(sim).await;
            }
            Goal::UntilEndOrKill(after_ms) => self.keeps_its_word(sim, *after_ms).await,
            Goal::UntilEnd => self.ends_by_itself(sim).await,
        }
    }

    async fn stop(&mut self, sim: &Sim) {
        let asked = self.consumer.send(Drain).await;
        match timeout(PATIENCE, &mut self.finished).await {
            Ok(Ok(Finished { client_failed: None, .. })) if asked.is_ok() => {}
            end => sim.lock().violations.push(format!("a drain ended so: {end:?}")),
        }
    }

    /// Liveness: without faults the lag reaches 0, and nothing is held any more.
    async fn archives_everything(&self, sim: &Sim) -> bool {
        let archived = timeout(PATIENCE, async {
            loop {
                sleep(Duration::from_millis(100)).await;
                let world = sim.lock();
                let is_done = |world: &World| world.is_archived() && world.spool_files == 0;
                if (is_done(&world) && self.budget.used_bytes() + self.spool.taken_bytes() == 0)
                    || !world.violations.is_empty()
                    || panicked()
                {
                    return;
                }
            }
        });
        if archived.await.is_ok() {
            return true;
        }
        let mut world = sim.lock();
        let (files, bytes, spool) = (world.spool_files, self.budget.used_bytes(), self.spool.taken_bytes());
        let held = format!("{files} spool files and {bytes} bytes held, {spool} of the spool");
        let lag = world.lag();
        world.violations.push(format!("not archived after {PATIENCE:?} without faults: {held}; {lag}"));
        false
    }

    /// Every record that was read and confirmed before the topic was deleted is in the chain, whoever wrote it.
    async fn keeps_what_it_held(&self, sim: &Sim) {
        let lost = |world: &World| -> Vec<String> {
            let of_one = |(partition, world): (&TopicPartition, &super::world::PartitionWorld)| {
                let last = world.read.last()?.records.last()?.offset;
                let tail = world.tail();
                (tail <= last).then(|| format!("{partition}: the chain ends at {tail}, and {last} was held"))
            };
            world.partitions.iter().filter_map(of_one).collect()
        };
        let stored = timeout(PATIENCE, async {
            loop {
                sleep(Duration::from_millis(100)).await;
                let world = sim.lock();
                let is_done = lost(&world).is_empty() && world.spool_files == 0;
                if is_done || !world.violations.is_empty() || panicked() {
                    return;
                }
            }
        });
        if stored.await.is_err() {
            let mut world = sim.lock();
            let (lost, files) = (lost(&world), world.spool_files);
            world.violations.push(format!("lost with the topic: {lost:?}; {files} spool files held"));
        }
    }

    /// What a run says that it reached is stored, whatever went wrong meanwhile.
    async fn keeps_its_word(self, sim: &Sim, kill_after_ms: u64) {
        let Ok(end) = timeout(Duration::from_millis(kill_after_ms), self.finished).await else { return };
        let mut world = sim.lock();
        world.saw("an end amid faults");
        let unreached = end.map(|finished| finished.unreached).unwrap_or_default();
        let targets = world.targets.take().unwrap_or_default();
        for (partition, target) in targets.iter().filter(|(partition, _)| !unreached.contains(partition)) {
            let of = world.partition(partition);
            if of.may_follow() && !of.is_archived_below(*target) {
                let tail = of.tail();
                world.violations.push(format!("{partition}: said to be archived up to {target}, and it is to {tail}"));
            }
        }
    }

    async fn ends_by_itself(self, sim: &Sim) {
        let objects = |world: &World| world.partitions.values().map(|world| world.objects.len()).sum::<usize>();
        let before = objects(&sim.lock());
        let archived = sim.lock().is_archived_below_targets();
        let end = timeout(PATIENCE, self.finished).await;
        let mut world = sim.lock();
        let finished = match end {
            Ok(Ok(finished)) => finished,
            end => {
                let lag = world.lag();
                world.violations.push(format!("a run until the end ended so: {end:?}; {lag}"));
                return;
            }
        };
        let blocked: Vec<TopicPartition> =
            world.partitions.iter().filter(|(_, world)| world.is_blocked()).map(|(tp, _)| tp.clone()).collect();
        let frozen: Vec<TopicPartition> = finished.frozen.keys().cloned().collect();
        if frozen != blocked || finished.unreached != blocked || finished.client_failed.is_some() {
            world.violations.push(format!("a run until the end ended so: {finished:?}"));
        }
        if archived && objects(&world) != before {
            world.violations.push("a run over what is archived stored more".to_owned());
        }
    }
}

impl World {
    /// Whether every record is stored, and every row written.
    fn is_archived(&self) -> bool {
        self.partitions.values().all(|world| {
            let rows = !self.plan.indexed || world.segments().all(|(start, _)| world.rows.contains_key(start));
            world.is_blocked() || (world.is_archived_below(world.log.end) && rows)
        })
    }

    fn is_archived_below_targets(&self) -> bool {
        let targets = self.targets.iter().flatten();
        targets.into_iter().all(|(partition, target)| self.partition(partition).is_archived_below(*target))
    }

    fn chains(&self) -> Vec<String> {
        let of_one = |(partition, world): (&TopicPartition, &super::world::PartitionWorld)| -> Vec<String> {
            world.segments().map(|(_, content)| format!("{partition} {content:?}")).collect()
        };
        self.partitions.iter().flat_map(of_one).collect()
    }

    fn lag(&self) -> String {
        let one = |(partition, world): (&TopicPartition, &super::world::PartitionWorld)| {
            let last = world.log.records.last().map(|record| record.offset.get());
            format!("{partition}: chain to {}, last record {last:?}, {} rows", world.tail(), world.rows.len())
        };
        self.partitions.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// Invariants 1 to 10 once more, over everything; and what a quiet end adds: nothing is missing.
    fn check_end(&mut self) {
        let mut wrong = Vec::new();
        for (partition, world) in &self.partitions {
            let mut expected = world.origin;
            for (start, object) in &world.objects {
                let Object::Segment { content, bytes } = object else { continue };
                if (*start, content.range.start()) != (expected, expected) {
                    wrong.push(format!("{partition}: {start} follows {expected}"));
                }
                if content.content_hash != Some(*blake3::hash(bytes).as_bytes()) {
                    wrong.push(format!("{partition} {start}: the content has changed"));
                }
                expected = content.range.next_offset();
                if self.plan.indexed && !world.is_blocked() && world.rows.get(start) != Some(content) {
                    wrong.push(format!("{partition} {start}: the row is missing or another"));
                }
            }
            if world.is_blocked() {
                continue;
            }
            let end = self.targets.as_ref().map_or(world.log.end, |targets| targets[partition]);
            if !world.is_archived_below(end) {
                wrong.push(format!("{partition}: records after {expected} are missing"));
            }
            if expected != world.origin && world.committed != Some(expected) {
                wrong.push(format!("{partition}: committed {:?}, and the chain ends at {expected}", world.committed));
            }
        }
        self.violations.extend(wrong);
    }
}

thread_local! {
    /// The panics of this thread, while it runs a process. Actix swallows them, and the daemon's hook does not.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

fn panicked() -> bool {
    PANICS.with_borrow(|panics| panics.as_ref().is_some_and(|panics| !panics.is_empty()))
}

fn hear_of_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let kept = PANICS.with_borrow_mut(|panics| panics.as_mut().map(|panics| panics.push(info.to_string())));
            if kept.is_none() {
                usual(info);
            }
        }));
    });
}
