//! The daemon: builds the adapters, wires the actors, and ends in good order.

use crate::archive::{
    Arbiter, FirstStart, Histories, Identity, IndexedLocator, Locator, LocatorParams, MirroredLocator, Mirrors,
    PartitionFacts, RefilledIndex, Spool, TopicFacts,
};
use crate::audit::{AuditLog, InstanceStart};
use crate::blocking::BlockingPool;
use crate::cgroup;
use crate::clock::SystemClock;
use crate::config::{DaemonConfig, OffsetReset};
use crate::exit::ExitCode;
use crate::index::MysqlIndex;
use crate::kafka::ffi::{Client, KafkaError, LogEnd};
use crate::kafka::{self, ClientMaker, PollThreadStart};
use crate::logging::Verbosity;
use crate::open_files;
use crate::progress_line::ProgressLine;
use crate::status::{Board, Budgets, Sources, StatusServer};
use crate::store::ArchiveStore;
use crate::transitions::KeptTransitions;
// Actix calls a thread for actors an arbiter, which here is the word for a store.
use actix::{Actor, Addr, Arbiter as ActorThread, System};
use kafka_store_actors::budget::Budget;
use kafka_store_actors::consumer::{Consumer, ConsumerParams, Finished, LogSink};
use kafka_store_actors::figures::Figures;
use kafka_store_actors::indexer::Indexer;
use kafka_store_actors::partition_writer::{WriterContext, WriterSettings};
use kafka_store_actors::ports::{ChainLocator, MirrorStores, Ports, SegmentIndex, TransitionLog};
use kafka_store_actors::spool_account::SpoolAccount;
use kafka_store_actors::uploader::{Uploader, UploaderPool};
use kafka_store_statecharts::backoff;
use kafka_store_statecharts::commit_metadata::CommitMetadata;
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::{TopicName, TopicPartition};
use kafka_store_statecharts::wall_clock::WallClockSettings;
use slog::{Logger, error, info, warn};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::TcpListener;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

mod clients;
mod ending;
mod start_error;
mod status;
mod stop_signals;
mod stores;
mod topics;

use clients::{forget_events_of, maker};
use ending::{Ended, Why, exit_code, wait_for_the_end};
pub(crate) use start_error::StartError;
use status::ShownOutside;
use stop_signals::StopSignals;
pub(crate) use stores::{Purpose, Stores};
use topics::{TopicWatch, all_partitions};

/// How many sealed segments of one partition may be on their way.
const SEALED_MAX: usize = 2;
/// How many chains are walked at a time. A walk waits, for brokers and for the disk, and hardly computes: many at a
/// time share the disk's syncs.
const WALKS_AT_A_TIME: usize = 16;
/// How long brokers may take to answer at the start.
const START_TIME: Duration = Duration::from_secs(15);

/// Runs the daemon to its end and says how it ended. Errors are told in the log.
pub fn run(config: &DaemonConfig, log: &Logger) -> ExitCode {
    match Prepared::waiting(config, log) {
        Ok(prepared) => prepared.run(config, log),
        Err(error) => {
            error!(log, "cannot start"; "reason" => %error);
            ExitCode::CannotRun
        }
    }
}

/// Everything that is asked before the group is joined.
struct Prepared {
    /// Makes the members of the group.
    maker: ClientMaker,
    /// Topics that exist and are to be archived.
    topics: BTreeSet<TopicName>,
    /// How many brokers there are.
    brokers: usize,
    /// The one that is asked: no fetch keeps its answers waiting.
    asked: Arc<Client>,
    facts: Arc<TopicFacts>,
    stores: Stores,
    mirrors: Option<Mirrors>,
    identity: Identity,
    index: Option<MysqlIndex>,
    locator: Locator,
    figures: Arc<Figures>,
    clock: Arc<SystemClock>,
    targets: Option<BTreeMap<TopicPartition, Offset>>,
    audit: Option<Arc<AuditLog>>,
    status: Option<TcpListener>,
    reads_in_doubt: Option<JoinHandle<()>>,
}

/// Store and brokers, reached, and what exists. Nothing is changed yet.
pub(crate) struct Reached {
    pub(crate) stores: Stores,
    /// Every partition that exists now, in order.
    pub(crate) partitions: Vec<TopicPartition>,
    pub(crate) params: LocatorParams,
    /// Nobody has started this group over this store yet.
    is_first_start: bool,
}

impl Reached {
    /// Opens the stores, which makes temporary directories, and asks the brokers.
    pub(crate) fn new(config: &DaemonConfig, purpose: Purpose, log: &Logger) -> Result<Reached, StartError> {
        let stores = Stores::open(config, purpose, log)?;
        let arbiter = Arc::clone(&stores.arbiter);
        Reached::beyond(stores, config, log).map_err(|error| error.judged(arbiter.as_ref(), &config.group))
    }

    /// Asks brokers and index.
    fn beyond(stores: Stores, config: &DaemonConfig, log: &Logger) -> Result<Reached, StartError> {
        let client = Arc::new(maker(config).make().map_err(text)?);
        // In this order: what finds no broker says so, and the cluster's id comes with the answer.
        let partitions = all_partitions(&client, &config.topics, &config.brokers)?;
        let cluster_id = client.cluster_id(START_TIME);
        let identity = Identity { cluster_id, isolation: clients::ISOLATION };
        info!(log, "kafka reached"; "partitions" => partitions.len(), "cluster" => identity.cluster_id.as_deref());
        let index = config.index.clone().map(|config| MysqlIndex::new(config, log.clone()));
        if let Some(index) = &index {
            let checked = index.check(identity.cluster_id.as_deref());
            checked.map_err(|error| StartError::index(&error, &index.describe()))?;
            info!(log, "index reached"; "index" => index.describe());
        }
        let (first_start, is_first_start) =
            first_start(stores.arbiter.as_ref(), &client, &config.group, &partitions, log)?;
        let params = LocatorParams {
            client,
            facts: Arc::default(),
            partition_facts: PartitionFacts::default(),
            store: Arc::clone(&stores.arbiter),
            histories: Histories::default(),
            identity,
            group: config.group.clone(),
            offset_reset: config.offset_reset,
            first_start,
            on_data_loss: config.on_data_loss,
            index,
            log: log.clone(),
        };
        Ok(Reached { stores, partitions, params, is_first_start })
    }
}

impl Prepared {
    /// Waits for what passes: a daemon that was killed amid an outage starts when that is over, by itself. A scheduled run
    /// says what it met, and the next one begins again.
    fn waiting(config: &DaemonConfig, log: &Logger) -> Result<Prepared, StartError> {
        if let Some(complaint) = cgroup::complaint(config.memory.limit_bytes) {
            warn!(log, "memory may not be enough"; "reason" => complaint);
        }
        let mut attempts = 0;
        loop {
            let error = match Prepared::new(config, log) {
                Err(error) if error.passes() && config.until_end.is_none() => error,
                decided => return decided,
            };
            attempts += 1;
            let wait = backoff::delay(attempts, u64::from(std::process::id()));
            error!(log, "cannot start yet, trying again"; "reason" => %error, "attempt" => attempts,
                "next_in_seconds" => wait.as_secs_f64());
            std::thread::sleep(wait);
        }
    }

    fn new(config: &DaemonConfig, log: &Logger) -> Result<Prepared, StartError> {
        let status = status::listen(config, log)?;
        let audit =
            config.audit_log.as_ref().map(|settings| AuditLog::open(settings, log)).transpose().map_err(text)?;
        let Reached { stores, partitions, params, is_first_start } = Reached::new(config, Purpose::Archive, log)?;
        let known = |error: StartError| error.judged(stores.arbiter.as_ref(), &config.group);
        if config.offset_reset == OffsetReset::Error {
            refuse_without_origin(&params, &partitions).map_err(known)?;
        }
        if is_first_start {
            // Only now: a start that was refused was none.
            params.first_start.clone().settle(stores.arbiter.as_ref(), &config.group)?;
        }
        let identity = params.identity.clone();
        let index = params.index.clone();
        if let Some(index) = &index {
            let cluster_id = identity.cluster_id.as_deref().unwrap_or_default();
            let settled = index.settle_cluster(cluster_id);
            settled.map_err(|error| known(StartError::index(&error, &index.describe())))?;
        }
        let targets = match config.until_end {
            Some(_) => Some(targets(&params.client, &partitions, log)?),
            None => None,
        };
        let (asked, facts) = (Arc::clone(&params.client), Arc::clone(&params.facts));
        let brokers = asked.broker_count(START_TIME);
        let brokers = brokers.map_err(|error| known(StartError::kafka(&error, error.to_string())))?;
        forget_events_of(&asked);
        let mirrors = stores.mirrors(uploaders(config), log);
        let (figures, clock) = (Arc::new(Figures::default()), Arc::new(SystemClock::start()));
        let walks = BlockingPool::new("walk", WALKS_AT_A_TIME);
        let locator = Locator::new(params, walks, Arc::clone(&figures), Arc::clone(&clock) as _);
        let audit = audit.map(Arc::new);
        let reads_in_doubt = stores.read_all_in_doubt(log);
        let named = config.topics.names().iter();
        let topics = named.chain(partitions.iter().map(|partition| &partition.topic)).cloned().collect();
        Ok(Prepared {
            maker: maker(config),
            topics,
            brokers,
            asked,
            facts,
            stores,
            mirrors,
            identity,
            index,
            locator,
            figures,
            clock,
            targets,
            audit,
            status,
            reads_in_doubt,
        })
    }

    fn run(mut self, config: &DaemonConfig, log: &Logger) -> ExitCode {
        let audit = self.audit.clone();
        if let Some(audit) = &audit {
            audit.start(&self.instance_start(config));
        }
        let bounds = Bounds::new(config);
        let batches = Arc::clone(&bounds.budgets.batches);
        let client = match self.maker.make() {
            Ok(client) => client,
            Err(error) => {
                error!(log, "cannot run"; "reason" => %error);
                return ExitCode::CannotRun;
            }
        };
        let (maker, memory) = (self.maker.clone(), config.memory);
        let poll_thread = kafka::start(client, maker, self.brokers, batches, memory, log.clone());
        let figures = Arc::clone(&self.figures);
        let status = self.status.take().map(|listener| (listener, Arc::new(Board::default())));
        let ports = self.ports(config, &poll_thread, status.as_ref().map(|(_, board)| Arc::clone(board)), log);
        let status = status.map(|(listener, board)| {
            let outside = ShownOutside {
                member: poll_thread.member(),
                asked: Arc::clone(&self.asked),
                heartbeat: poll_thread.heartbeat(),
                uploads: self.stores.uploads.clone(),
                index: self.index.clone(),
                log: log.clone(),
            };
            let about = status::about(config, self.identity.cluster_id.clone(), self.stores.describe());
            let (clock, budgets) = (Arc::clone(&ports.clock), bounds.budgets.clone());
            (listener, Sources::new(about, clock, board, Arc::clone(&figures), budgets, Box::new(outside)))
        });
        let topics = TopicWatch {
            subscription: config.topics.clone(),
            subscribed: std::mem::take(&mut self.topics),
            client: Arc::clone(&self.asked),
            locator: Arc::new(self.locator.clone()),
            source: poll_thread.source(),
            interval: kafka::topic_interval(&config.kafka_properties),
            log: log.clone(),
        };
        let targets = self.targets;
        let (until_end, local) = (config.until_end, settings(config));
        let (shutdown_timeout, times) = (config.shutdown_timeout, Times::new(config));
        let shown = until_end.is_some() && config.shows_progress && config.verbosity == Verbosity::Warning;
        let ended = System::new().block_on(async move {
            let mut stop = StopSignals::new().map_err(text)?;
            let (finished, end) = oneshot::channel();
            let status = status.map(|(listener, sources)| StatusServer::start(listener, sources, log)).transpose();
            let status = status.map_err(|error| format!("--status-listen: {error}"))?;
            let _bar = shown.then(|| ProgressLine::show(Arc::clone(&figures)));
            let consumer = start_actors(ports, local, bounds, (targets, times), (finished, figures), log);
            topics.start(until_end.is_some());
            let thread = poll_thread.run(LogSink::new(&consumer));
            let ended = wait_for_the_end(&consumer, end, (until_end, shutdown_timeout), &mut stop, log).await;
            // The thread ends by itself once the group is left; after a second signal it is not waited for.
            drop(thread);
            if let Some(status) = status {
                status.stop().await;
            }
            Ok::<_, String>(ended)
        });
        let code = match ended {
            Ok(Ended::Finished(finished, why)) => {
                let mut code = exit_code(&finished, why, log);
                // What nobody waits for any more is done at the next start.
                let until_end = until_end.filter(|_| why == Why::AllDone);
                if let (Some(mirrors), Some(_), ExitCode::Done) = (&self.mirrors, until_end, code)
                    && let Err(reason) = mirrors.finish()
                {
                    error!(log, "the mirror is not whole"; "reason" => reason);
                    code = ExitCode::Frozen;
                }
                if let (Some(reading), Some(_), ExitCode::Done) = (self.reads_in_doubt, until_end, code) {
                    reading.join().expect("a panic ends the process");
                }
                if let Some(audit) = audit {
                    audit.end(code);
                }
                code
            }
            Ok(Ended::Late(why)) => {
                let code = if why == Why::TimeIsUp { ExitCode::TimedOut } else { ExitCode::Done };
                if let Some(audit) = audit {
                    audit.end(code);
                }
                // To destroy it might wait for brokers that do not answer.
                std::mem::forget(Arc::clone(&self.asked));
                code
            }
            Ok(Ended::SecondSignal) => {
                std::mem::forget(Arc::clone(&self.asked));
                warn!(log, "stopped at once by a second signal; the next start goes on from the archive");
                ExitCode::Interrupted
            }
            Err(reason) => {
                error!(log, "cannot run"; "reason" => reason);
                ExitCode::CannotRun
            }
        };
        self.stores.remove_directories();
        code
    }

    fn instance_start(&self, config: &DaemonConfig) -> InstanceStart {
        InstanceStart {
            cluster: self.identity.cluster_id.clone(),
            store: self.stores.describe(),
            indexed: self.index.is_some(),
            flags: config.audited_flags(),
        }
    }

    fn ports(
        &self,
        config: &DaemonConfig,
        poll_thread: &PollThreadStart,
        board: Option<Arc<Board>>,
        log: &Logger,
    ) -> Ports {
        let store = Arc::clone(&self.stores.arbiter);
        let directory = Arc::clone(&self.stores.spool);
        let clock = Arc::clone(&self.clock);
        // The audit log first: what is shown has been kept.
        let audit = self.audit.clone().map(|audit| audit as Arc<dyn TransitionLog>);
        let logs = audit.into_iter().chain(board.map(|board| board as Arc<dyn TransitionLog>)).collect();
        let transitions = Arc::new(KeptTransitions::new(logs, log.clone()));
        self.stores.uploads.tell(Arc::clone(&transitions) as _, Arc::clone(&clock) as _);
        let index = self.index.clone().map(|index| RefilledIndex::start(index, Arc::clone(&store), log));
        let locator: Arc<dyn ChainLocator> = match &self.mirrors {
            Some(mirrors) => Arc::new(MirroredLocator::new(self.locator.clone(), mirrors.clone())),
            None => Arc::new(self.locator.clone()),
        };
        let locator = match &index {
            Some(index) => Arc::new(IndexedLocator::new(locator, index.clone())),
            None => locator,
        };
        let arbiter = Arbiter::new(
            Arc::clone(&self.asked),
            Arc::clone(&self.facts),
            store,
            self.identity.clone(),
            BlockingPool::new("store", uploaders(config)),
        );
        Ports {
            clock,
            source: Arc::new(poll_thread.source()),
            locator,
            spool: Arc::new(Spool::new(
                directory,
                config.codec,
                config.boundary,
                self.identity.clone(),
                config.page_cache(),
            )),
            store: Arc::new(arbiter.with_md5(self.index.is_some())),
            mirrors: self.mirrors.clone().map(|mirrors| Arc::new(mirrors) as Arc<dyn MirrorStores>),
            index: index.map(|index| Arc::new(index) as Arc<dyn SegmentIndex>),
            transitions,
        }
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// What existed at the group's first start, and whether that is now.
fn first_start(
    store: &dyn ArchiveStore,
    client: &Client,
    group: &str,
    partitions: &[TopicPartition],
    log: &Logger,
) -> Result<(FirstStart, bool), StartError> {
    if let Some(remembered) = FirstStart::read(store, group)? {
        return Ok((remembered, false));
    }
    let committed = KafkaError::ask_coordinator(START_TIME, || client.committed(partitions, START_TIME));
    let unknown = |error: KafkaError| StartError::kafka(&error, format!("the group's offsets are not known: {error}"));
    let committed = committed.map_err(unknown)?;
    if committed.values().flatten().any(|committed| CommitMetadata::is_ours(&committed.metadata)) {
        // What existed then is not known any more. Nothing is lost if nothing is taken to have.
        error!(log, "the group was started before, and the store does not know: ~kafka-store/ was removed, or this is \
            another store; partitions without files begin at the start of their logs";
            "store" => store.describe(), "what_to_do" => store.way_back());
        return Ok((FirstStart::now(BTreeMap::new()), true));
    }
    let mut counts = BTreeMap::new();
    for partition in partitions {
        *counts.entry(partition.topic.clone()).or_insert(0) += 1;
    }
    Ok((FirstStart::now(counts), true))
}

fn refuse_without_origin(params: &LocatorParams, partitions: &[TopicPartition]) -> Result<(), StartError> {
    let missing = params.without_origin(partitions)?;
    match missing.as_slice() {
        [] => Ok(()),
        [first, others @ ..] => {
            let more = if others.is_empty() { String::new() } else { format!(" (and {} others)", others.len()) };
            Err(format!("{}{more}", crate::archive::no_committed_offset(&params.group, first)).into())
        }
    }
}

/// Up to where `--until-end` archives: the last stable offset of this moment.
fn targets(
    client: &Client,
    partitions: &[TopicPartition],
    log: &Logger,
) -> Result<BTreeMap<TopicPartition, Offset>, String> {
    let targets = client.log_ends(partitions, LogEnd::LastStable, START_TIME).map_err(text)?;
    let watermarks = client.log_ends(partitions, LogEnd::HighWatermark, START_TIME).map_err(text)?;
    for (partition, target) in &targets {
        if let Some(watermark) = watermarks.get(partition).filter(|watermark| *watermark > target) {
            warn!(log, "a transaction is open: what lies beyond it is not archived by this run";
                "high_watermark" => watermark.get(), "last_stable_offset" => target.get(), "partition" => %partition);
        }
    }
    Ok(targets)
}

fn settings(config: &DaemonConfig) -> WriterSettings {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    WriterSettings {
        boundary: config.boundary,
        wall_clock: WallClockSettings {
            idle_seal_ms: milliseconds(config.idle_seal),
            seal_after_ms: milliseconds(config.seal_after),
        },
        sealed_max: SEALED_MAX,
        reexamine_after: config.reexamine_after,
    }
}

/// How many segments are stored at a time.
fn uploaders(config: &DaemonConfig) -> usize {
    usize::try_from(config.upload_pool_size.get()).unwrap_or(usize::MAX)
}

/// What all partitions share.
struct Bounds {
    uploaders: usize,
    budgets: Budgets,
    open_files_max: usize,
}

impl Bounds {
    fn new(config: &DaemonConfig) -> Bounds {
        let spool_bytes = config.spool.limit_bytes.map_or(u64::MAX, NonZeroU64::get);
        Bounds {
            uploaders: uploaders(config),
            budgets: Budgets {
                batches: Budget::new(config.memory.batch_bytes),
                blocks: Budget::new(config.memory.block_bytes),
                spool: SpoolAccount::new(spool_bytes, config.boundary.segment_bytes.get()),
            },
            open_files_max: open_files::raise(),
        }
    }
}

/// How long the Consumer waits for others.
#[derive(Clone, Copy, Debug)]
struct Times {
    stall_timeout: Duration,
    drain_time: Duration,
}

impl Times {
    /// A quarter of the time for the end is for leaving the group.
    fn new(config: &DaemonConfig) -> Times {
        Times {
            stall_timeout: config.until_end.map_or(Duration::MAX, |until_end| until_end.stall_timeout),
            drain_time: config.shutdown_timeout * 3 / 4,
        }
    }
}

fn start_actors(
    ports: Ports,
    settings: WriterSettings,
    bounds: Bounds,
    (targets, times): (Option<BTreeMap<TopicPartition, Offset>>, Times),
    (finished, figures): (oneshot::Sender<Finished>, Arc<Figures>),
    log: &Logger,
) -> Addr<Consumer> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let arbiters = (0..cores).map(|_| ActorThread::new().handle()).collect();
    let uploaders = (0..bounds.uploaders).map(|_| Uploader::new(Arc::clone(&ports.store)).start()).collect();
    let indexer = ports.index.clone().map(|index| Indexer::new(index).start());
    let writers = WriterContext {
        settings: Arc::new(settings),
        blocks: bounds.budgets.blocks,
        spool: bounds.budgets.spool,
        ports,
        uploaders: UploaderPool::new(uploaders).start(),
        indexer,
        figures,
    };
    let open_files_max = bounds.open_files_max;
    let Times { stall_timeout, drain_time } = times;
    let log = log.clone();
    Consumer::new(ConsumerParams {
        writers,
        arbiters,
        targets,
        stall_timeout,
        drain_time,
        open_files_max,
        finished,
        log,
    })
    .start()
}
