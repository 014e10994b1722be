//! The recipe of an unclean leader election: a partition goes on without records that were acknowledged.
//!
//! ```ignore
//! let mut cluster = Cluster::start(3);
//! let topic = cluster.create_topic("unclean", 1, 2, &[("unclean.leader.election.enable", "true")]);
//! cluster.produce(&topic, 0, &numbered(0..500));        // on both replicas
//! let lone = cluster.isolate_leader(&topic, 0);         // the follower stops
//! cluster.produce(&topic, 0, &numbered(500..1_000));    // on the leader alone
//! cluster.elect_unclean(&lone);                         // the log ends at 500
//! cluster.node(lone.leader).start();                    // and cuts its own log
//! ```

use super::{Cluster, Node};
use crate::support::wait_until;

/// A partition of which only the leader is left.
#[derive(Debug)]
pub(crate) struct LoneLeader {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) leader: i32,
    /// The brokers that are down, with what they had.
    pub(crate) followers: Vec<i32>,
}

impl Cluster {
    /// Stops all followers of a partition in good order, once they have everything: what is produced from now on is on
    /// the leader's disk alone.
    #[track_caller]
    pub(crate) fn isolate_leader(&mut self, topic: &str, partition: i32) -> LoneLeader {
        self.wait_until_in_sync(topic, partition);
        let replicas = self.replicas(topic, partition);
        let leader = replicas.leader.expect("in sync");
        let followers: Vec<i32> = replicas.all.into_iter().filter(|replica| *replica != leader).collect();
        followers.iter().for_each(|follower| self.node(*follower).stop());
        wait_until("only the leader is in sync", || {
            let replicas = self.replicas(topic, partition);
            replicas.leader == Some(leader) && replicas.in_sync == [leader]
        });
        LoneLeader { topic: topic.to_owned(), partition, leader, followers }
    }

    /// Kills the leader and starts its followers, of which one becomes the leader. The topic must allow that
    /// (`unclean.leader.election.enable`). Returns the new leader; the old one stays down.
    #[track_caller]
    pub(crate) fn elect_unclean(&mut self, lone: &LoneLeader) -> i32 {
        self.node(lone.leader).kill();
        lone.followers.iter().for_each(|follower| self.node(*follower).spawn());
        lone.followers.iter().for_each(|follower| Node::wait_until_up(self.node(*follower)));
        let mut elected = None;
        wait_until("a follower leads", || {
            elected = self.leader(&lone.topic, lone.partition).filter(|leader| lone.followers.contains(leader));
            elected.is_some()
        });
        elected.expect("waited for")
    }
}
