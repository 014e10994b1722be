//! Which of the started partitions librdkafka fetches: not too many of those that are behind at a time.
//!
//! A fetch names every partition that is fetched, and the broker looks at each of them although the first few fill the
//! answer: with 1,000 of them that took more of its time than all the rest. A turn ends by the clock, so a partition
//! whose leader does not answer holds up nobody for longer.

use super::super::fetching::{Fetching, Turn};
use super::PollThread;
use kafka_store_statecharts::partition::AssignmentEpoch;
use kafka_store_statecharts::topic::TopicPartition;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Partitions that wait for their turn, and what a turn is.
#[derive(Debug)]
pub(super) struct Turns {
    /// Those that have had fewer turns come first, then by name: writers take their threads in that order, so that all of
    /// these have something to do. Those that were stopped in the meantime wait no more, and are passed over.
    waiting: BTreeMap<(u64, TopicPartition), AssignmentEpoch>,
    /// How many partitions whose end has not been seen are fetched at a time.
    behind_max: usize,
    /// How long a partition is fetched before another one that waits takes its place.
    length: Duration,
    /// How long those that are fetched may bring nothing before more of them are fetched.
    pub(super) patience: Duration,
    /// Since when they bring nothing: they have nothing, or their brokers do not answer.
    pub(super) quiet_since: Option<Instant>,
}

/// How many partitions that are behind are fetched of each broker, if these lead as many each. The first few fill an answer.
const BEHIND_A_BROKER: usize = 16;

impl Turns {
    /// Turns where so many brokers lead the partitions. What was fetched ahead at the end of a turn is fetched again: at
    /// most a fetch, in the time of hundreds.
    pub(super) fn for_brokers(count: usize) -> Turns {
        let behind_max = BEHIND_A_BROKER.saturating_mul(count.max(1));
        let (length, patience) = (Duration::from_secs(10), Duration::from_millis(50));
        Turns { waiting: BTreeMap::new(), behind_max, length, patience, quiet_since: None }
    }

    /// Whether partitions wait for their turn.
    pub(super) fn are_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The partition is to be fetched once it is its turn.
    pub(super) fn await_one(&mut self, fetching: &Fetching) {
        self.waiting.insert((fetching.turns_had, fetching.partition.clone()), fetching.epoch);
    }
}

impl PollThread {
    /// Lets those fetch that wait, as far as there is room among those that are behind. While nothing comes of these, they
    /// become twice as many each time: thousands of partitions that have nothing do not wait for each other.
    pub(super) fn give_turns(&mut self) {
        if !self.turns.are_awaited() {
            return;
        }
        let now = Instant::now();
        // In an eager group each change begins all that is fetched anew, which costs more than it spares.
        let behind_max = if self.is_eager { usize::MAX } else { self.turns.behind_max };
        let behind = self.partitions.iter_mut().filter(|fetching| fetching.is_behind()).count();
        let patience = self.turns.patience;
        let mut room =
            if self.turns.quiet_since.take_if(|since| now.saturating_duration_since(*since) >= patience).is_some() {
                behind_max.max(behind)
            } else if behind < behind_max {
                behind_max - behind
            } else {
                behind_max.saturating_sub(behind - self.end_turns(now))
            };
        while room > 0
            && let Some(((_, partition), epoch)) = self.turns.waiting.pop_first()
        {
            if let Some(fetching) = self.partitions.find_in(&partition, epoch)
                && fetching.takes_turn(now)
            {
                self.fetch(&partition);
                room -= 1;
            }
        }
    }

    /// Ends turns that have lasted long enough, as many as are waited for; says how many.
    fn end_turns(&mut self, now: Instant) -> usize {
        let length = self.turns.length;
        let lasted = |turn| matches!(turn, Turn::Behind(since) if now.saturating_duration_since(since) >= length);
        let had = self.partitions.iter_mut().filter(|fetching| lasted(fetching.turn));
        let mut ended = Vec::new();
        for fetching in had.take(self.turns.waiting.len()) {
            fetching.turn = Turn::Waiting;
            ended.push(fetching.partition.clone());
            self.turns.await_one(fetching);
        }
        self.fetch_no_more(&ended);
        ended.len()
    }

    pub(super) fn fetch(&mut self, partition: &TopicPartition) {
        if self.is_eager {
            self.assign_is_due = true;
            return;
        }
        let Some(from) = self.begin_checked(partition) else { return };
        // Before, so that no record goes astray, and after, when what ended its last turn has been done.
        self.client.lead_records(partition);
        if let Err(error) = self.client.incremental_assign(std::slice::from_ref(&from)) {
            self.fail(partition, &format!("librdkafka does not fetch it: {error}"));
        }
        self.client.lead_records(partition);
    }

    /// Ends what librdkafka does for partitions.
    pub(super) fn fetch_no_more(&mut self, partitions: &[TopicPartition]) {
        if partitions.is_empty() {
            return;
        }
        self.end_pauses(partitions);
        if self.is_eager {
            self.assign_is_due = true;
            return;
        }
        let unassigned = self.client.incremental_unassign(partitions);
        self.tell_errors("stop fetching", unassigned);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{KafkaProperties, MemoryPlan};
    use crate::kafka::ffi::MockBrokers;
    use crate::kafka::poll_thread::start;
    use crate::kafka::source::KafkaSource;
    use crate::kafka::{ClientMaker, ClientSettings, properties};
    use kafka_store_actors::budget::{Budget, PartitionUse};
    use kafka_store_actors::messages::LogEvent;
    use kafka_store_actors::ports::RecordSource;
    use kafka_store_statecharts::anchor::{FetchStart, Proof};
    use kafka_store_statecharts::offset::Offset;
    use kafka_store_statecharts::partition::SeekEpoch;
    use kafka_store_statecharts::topic::TopicName;
    use rdkafka::config::ClientConfig;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use slog::{Discard, Logger, o};
    use std::collections::VecDeque;

    const PARTITIONS: i32 = 7;
    const RECORDS: i64 = 3_000;

    /// Records of a KiB, and large ones among them, for which there may be no room at first.
    fn produce(broker: &str, topic: &str) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker).set("message.max.bytes", "2000000").set("batch.size", "100000");
        let producer: BaseProducer = config.create().expect("a producer");
        for number in 0..RECORDS {
            let value = vec![number as u8; if number % 1_500 == 700 { 1_100_000 } else { 1_000 }];
            for partition in 0..PARTITIONS {
                let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&value);
                producer.send(record).map_err(|(error, _)| error).expect("there is room");
            }
            producer.poll(Duration::ZERO);
        }
        producer.flush(Duration::from_secs(60)).expect("the brokers take it");
    }

    /// A poll thread, which is stepped by hand, and the brokers of its topic. At most two partitions are fetched at a time.
    pub(in super::super) fn poll_thread(partitions: i32, given: &[&str]) -> (MockBrokers, KafkaSource, PollThread) {
        let mock = MockBrokers::start(1).expect("brokers in memory");
        let topic = TopicName::new("turns").expect("legal");
        mock.create_topic(&topic, partitions).expect("a topic");
        let memory = MemoryPlan::parse("64M").expect("enough");
        let settings = ClientSettings {
            brokers: &mock.bootstrap_servers(),
            group: "turns",
            isolation: crate::avro::Isolation::ReadCommitted,
            memory,
            starts_often: false,
            given: &KafkaProperties::parse(given.iter().copied()).expect("allowed"),
        };
        let maker = ClientMaker::new(properties(&settings));
        let client = maker.make().expect("a client");
        // A batch of a large record fits in only once others have been given back.
        let budget = Budget::new(4_000_000);
        let started = start(client, maker, 1, budget, memory, Logger::root(Discard, o!()));
        let (source, mut thread) = (started.source, started.thread);
        thread.turns.behind_max = 2;
        source.subscribe(vec![topic]);
        (mock, source, thread)
    }

    /// A start whose log has nothing to prove.
    fn from(offset: i64) -> FetchStart {
        FetchStart { position: Offset::new(offset).expect("not negative"), proof: Proof::Nothing }
    }

    fn count_behind(thread: &mut PollThread) -> usize {
        thread.partitions.iter_mut().filter(|fetching| fetching.is_behind()).count()
    }

    /// Turns that end soon: whatever is fetched is taken away and given again all the time; paused and sought, too, if
    /// that is asked for (it also helps what hangs). Says how often turns ended.
    fn fetches_each_record_once_in_order(given: &[&str], pauses_and_seeks: bool) -> usize {
        // Their ends are told within a turn.
        let given: Vec<&str> = given.iter().copied().chain(["fetch.wait.max.ms=10"]).collect();
        let (mock, source, mut thread) = poll_thread(PARTITIONS, &given);
        produce(&mock.bootstrap_servers(), "turns");
        thread.turns.length = Duration::from_millis(20);
        thread.turns.patience = Duration::from_secs(60);
        let mut next: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        let (mut ended, mut turns_ended, mut steps, mut undropped) = (0, 0, 0, VecDeque::new());
        let deadline = Instant::now() + Duration::from_secs(60);
        while ended < PARTITIONS {
            assert!(Instant::now() < deadline, "{thread:#?}");
            let waited = thread.turns.waiting.len();
            thread.step();
            let behind = count_behind(&mut thread);
            assert!(behind <= 2 || thread.is_eager, "{behind}");
            let gone_on = thread.turns.waiting.keys().any(|(_, partition)| next.get(partition) > Some(&0));
            turns_ended += usize::from(gone_on && waited > 0);
            for event in std::mem::take(&mut thread.out) {
                match event {
                    LogEvent::Assigned { epoch, partitions } => {
                        for partition in partitions {
                            next.insert(partition.clone(), 0);
                            source.start_fetching(&partition, epoch, SeekEpoch::default(), from(0));
                        }
                    }
                    LogEvent::Records(partition, batch) => {
                        let next = next.get_mut(&partition).expect("it was assigned");
                        for mark in &batch.marks {
                            assert_eq!(mark.offset.get(), *next, "{partition}");
                            *next += 1;
                        }
                        undropped.push_back(batch);
                    }
                    LogEvent::EndReached(partition, end) => {
                        assert_eq!(next[&partition], RECORDS, "{partition}");
                        ended += 1;
                        source.stop_fetching(&partition, end.epoch);
                    }
                    other => panic!("{other:?}"),
                }
            }
            // A slow writer.
            undropped.pop_front();
            steps += 1;
            let behind = thread.partitions.iter_mut().find(|fetching| fetching.is_behind() && !fetching.paused);
            if pauses_and_seeks
                && steps % 4 == 0
                && let Some(fetching) = behind
            {
                fetching.paused = true;
                let (partition, epoch, (seek_epoch, _)) =
                    (fetching.partition.clone(), fetching.epoch, fetching.started.expect("it is fetched"));
                thread.client.pause(std::slice::from_ref(&partition)).expect("paused");
                if steps % 8 == 0 {
                    source.start_fetching(&partition, epoch, SeekEpoch(seek_epoch.0 + 1), from(next[&partition]));
                }
            }
        }
        assert!(next.values().all(|next| *next == RECORDS), "{next:?}");
        turns_ended
    }

    const EAGER: &str = "partition.assignment.strategy=range";

    #[test]
    fn each_record_comes_once_in_order_however_short_the_turns() {
        fetches_each_record_once_in_order(&[], false);
        let turns_ended = fetches_each_record_once_in_order(&[], true);
        assert!(turns_ended > 10, "{turns_ended}");
    }

    #[test]
    fn in_an_eager_group_too_where_turns_never_end() {
        assert_eq!(fetches_each_record_once_in_order(&[EAGER], false), 0);
        assert_eq!(fetches_each_record_once_in_order(&[EAGER], true), 0);
    }

    /// librdkafka must not be told to stop what it is still stopping.
    fn starts_and_stops_one_right_after_the_other(given: &[&str]) {
        let (_mock, source, mut thread) = poll_thread(PARTITIONS, given);
        let deadline = Instant::now() + Duration::from_secs(60);
        let assigned = loop {
            assert!(Instant::now() < deadline, "{thread:#?}");
            thread.step();
            if let Some(LogEvent::Assigned { epoch, partitions }) = thread.out.pop() {
                break partitions.into_iter().map(|partition| (partition, epoch)).collect::<Vec<_>>();
            }
        };
        for round in 0..100 {
            for (partition, epoch) in &assigned {
                source.start_fetching(partition, *epoch, SeekEpoch(round), from(0));
            }
            thread.step();
            for (partition, epoch) in &assigned {
                source.stop_fetching(partition, *epoch);
                thread.step();
                thread.out.clear();
            }
        }
        assert_eq!(count_behind(&mut thread), 0);
    }

    #[test]
    fn partitions_start_and_stop_one_right_after_the_other() {
        starts_and_stops_one_right_after_the_other(&[]);
    }

    /// Each time, all that is still fetched is assigned anew.
    #[test]
    fn partitions_of_an_eager_group_start_and_stop_one_right_after_the_other() {
        starts_and_stops_one_right_after_the_other(&[EAGER]);
    }

    #[test]
    fn partitions_that_have_nothing_do_not_wait_for_each_other() {
        const MANY: usize = 40;
        let (_mock, source, mut thread) = poll_thread(MANY as i32, &["fetch.wait.max.ms=5000"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        let (mut most, mut ended) = (0, 0);
        while ended < MANY {
            assert!(Instant::now() < deadline, "{ended} ended");
            thread.step();
            most = most.max(count_behind(&mut thread));
            for event in std::mem::take(&mut thread.out) {
                match event {
                    LogEvent::Assigned { epoch, partitions } => {
                        for partition in partitions {
                            source.start_fetching(&partition, epoch, SeekEpoch::default(), from(0));
                        }
                    }
                    LogEvent::EndReached(..) => ended += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(most > MANY / 2, "{most}");
    }

    /// Else the writer would take the end for that of what it has.
    #[test]
    fn an_end_does_not_overtake_a_record_that_is_held() {
        let (mock, source, mut thread) = poll_thread(1, &[]);
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", mock.bootstrap_servers()).set("message.max.bytes", "2000000");
        let producer: BaseProducer = config.create().expect("a producer");
        let value = vec![7; 1_100_000];
        let record = BaseRecord::<(), [u8]>::to("turns").partition(0).payload(&value);
        producer.send(record).map_err(|(error, _)| error).expect("there is room");
        producer.flush(Duration::from_secs(60)).expect("the brokers take it");
        let in_use = thread.budget.take(3_999_999, &PartitionUse::default());
        let deadline = Instant::now() + Duration::from_secs(60);
        while thread.held.is_none() {
            assert!(Instant::now() < deadline, "{thread:#?}");
            thread.step();
            for event in std::mem::take(&mut thread.out) {
                match event {
                    LogEvent::Assigned { epoch, partitions } => {
                        source.start_fetching(&partitions[0], epoch, SeekEpoch::default(), from(0));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        for _ in 0..30 {
            thread.step();
            assert!(thread.out.is_empty(), "{:?}", thread.out);
        }
        drop(in_use);
        while thread.out.len() < 2 {
            assert!(Instant::now() < deadline, "{thread:#?}");
            // Nobody takes what is told.
            let told = std::mem::take(&mut thread.out);
            thread.step();
            thread.out.splice(..0, told);
        }
        let mut told = thread.out.iter();
        assert!(matches!(told.next(), Some(LogEvent::Records(_, batch)) if batch.marks.len() == 1), "{:?}", thread.out);
        assert!(matches!(told.next(), Some(LogEvent::EndReached(_, end)) if end.position == Offset::default().next()));
        assert!(thread.budget.used_bytes() > 3_300_000, "it is counted: {}", thread.budget.used_bytes());
    }

    /// However long a store hangs, the process stays a member of its group.
    #[test]
    fn the_group_is_answered_while_memory_is_used_up() {
        let (_mock, _source, mut thread) = poll_thread(PARTITIONS, &[]);
        let _in_use = thread.budget.take(4_000_000, &PartitionUse::default());
        let deadline = Instant::now() + Duration::from_secs(60);
        while thread.out.is_empty() {
            assert!(Instant::now() < deadline && thread.is_short(), "{thread:#?}");
            thread.step();
        }
        let assigned =
            |event: &LogEvent| matches!(event, LogEvent::Assigned { partitions, .. } if partitions.len() == 7);
        assert!(assigned(&thread.out[0]), "{:?}", thread.out);
    }
}
