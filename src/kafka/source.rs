//! The consumer as the actors see it: orders that the poll thread carries out.

use super::member::Member;
use crossbeam_channel::Sender;
use kafka_store_actors::ports::{OffsetCommit, PortFuture, RecordSource};
use kafka_store_statecharts::anchor::FetchStart;
use kafka_store_statecharts::failure::{Class, Failure, Port};
use kafka_store_statecharts::partition::{AssignmentEpoch, SeekEpoch};
use kafka_store_statecharts::topic::{TopicName, TopicPartition};
use tokio::sync::oneshot;

/// What the poll thread is to do. Each partition has at most a handful of these under way.
#[derive(Debug)]
pub(super) enum Order {
    Start { partition: TopicPartition, epoch: AssignmentEpoch, seek_epoch: SeekEpoch, start: FetchStart },
    Stop { partition: TopicPartition, epoch: AssignmentEpoch },
    Commit { commit: OffsetCommit, answer: oneshot::Sender<Result<(), Failure>> },
    Subscribe { topics: Vec<TopicName> },
    Leave { answer: oneshot::Sender<()> },
}

/// How many orders may wait. Far above what all partitions of a process have under way; a poll thread that
/// leaves so many undone is dead. (A channel that is bounded by itself takes memory for all of them from the start.)
const ORDERS_MAX: usize = 65_536;

/// Gives orders to the poll thread.
#[derive(Clone, Debug)]
pub struct KafkaSource {
    orders: Sender<Order>,
    member: Member,
}

impl KafkaSource {
    pub(super) fn new(orders: Sender<Order>, member: Member) -> KafkaSource {
        KafkaSource { orders, member }
    }

    /// Subscribes to these topics and no others; to none is to be in the group no more.
    pub fn subscribe(&self, topics: Vec<TopicName>) {
        self.order(Order::Subscribe { topics });
    }

    fn order(&self, order: Order) {
        assert!(self.orders.len() < ORDERS_MAX, "the poll thread has left {ORDERS_MAX} orders undone");
        // After the group is left nobody takes orders, and none matters.
        let _ = self.orders.send(order);
        self.member.with(|client| client.wake());
    }
}

impl RecordSource for KafkaSource {
    fn start_fetching(
        &self,
        partition: &TopicPartition,
        epoch: AssignmentEpoch,
        seek_epoch: SeekEpoch,
        start: FetchStart,
    ) {
        self.order(Order::Start { partition: partition.clone(), epoch, seek_epoch, start });
    }

    fn stop_fetching(&self, partition: &TopicPartition, epoch: AssignmentEpoch) {
        self.order(Order::Stop { partition: partition.clone(), epoch });
    }

    fn commit(&self, commit: OffsetCommit) -> PortFuture<Result<(), Failure>> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Commit { commit, answer });
        Box::pin(async move {
            answered.await.unwrap_or_else(|_| Err(Failure::new(Port::Commit, Class::Other, "the group is left")))
        })
    }

    fn leave_group(&self) -> PortFuture<()> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Leave { answer });
        Box::pin(async move {
            // An error says that the thread has ended already.
            let _ = answered.await;
        })
    }
}
