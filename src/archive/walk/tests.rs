//! Walks over chains in a directory.

use super::*;
use crate::archive::history::{Choice, Difference, Finding, Histories, LogFound, choose, history_of};
use crate::archive::test_segments::{CLUSTER, chain, id, offset, write_segment};
use crate::avro::Isolation;
use crate::store::LocalStore;
use kafka_store_statecharts::origin::{Origin, OriginReason};

struct Walked {
    _directory: tempfile::TempDir,
    store: LocalStore,
    identity: Identity,
}

impl Walked {
    fn new() -> Walked {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = LocalStore::open(directory.path()).expect("it is there");
        let identity = Identity { cluster_id: Some(CLUSTER.to_owned()), isolation: Isolation::ReadCommitted };
        Walked { _directory: directory, store, identity }
    }

    fn with<T>(&self, topic_id: Option<TopicId>, test: impl FnOnce(&Walk<'_>) -> T) -> T {
        let (chain, history) = (chain(), history_of(&self.store, &chain()).expect("it answers"));
        let (store, identity, group) = (&self.store, &self.identity, "g");
        test(&Walk { store, identity, chain: &chain, topic_id, history: &history, group, indexed: None })
    }

    fn tail(&self, known_end: Option<i64>) -> Result<Tail, String> {
        self.tail_after(None, known_end)
    }

    fn tail_after(&self, committed: Option<i64>, known_end: Option<i64>) -> Result<Tail, String> {
        let commit = committed.map(|committed| Commit {
            next_offset: offset(committed),
            leader_epoch: None,
            metadata: CommitMetadata::default(),
        });
        self.with(None, |walk| walk.tail(commit, known_end.map(offset))).map_err(|unfit| match unfit {
            Unfit::Blocked(blocked) => blocked.reason,
            Unfit::Store(error) => error.to_string(),
        })
    }

    /// Whether a chain can be continued with this topic.
    fn continues_with(&self, topic_id: u8) -> bool {
        self.with(Some(id(topic_id)), |walk| {
            let tail = walk.tail(None, None).expect("a chain");
            walk.other_topic(tail).is_none()
        })
    }

    fn settle_origin(&self, cluster_id: Option<&str>) {
        let origin = Origin { offset: offset(7), reason: OriginReason::Earliest };
        let object = OriginObject {
            cluster_id: cluster_id.map(str::to_owned),
            leader_epoch: LeaderEpoch::new(2),
            ..OriginObject::new(origin, &self.identity, Some(id(1)))
        };
        object.settle(&self.store, &chain()).expect("it is written");
    }

    /// Finds another topic at the end of the chain, and decides that it is the same.
    fn join(&self, end: i64, number: u32, archived: u8, now: u8) {
        let finding = Finding {
            chain: chain(),
            end: offset(end),
            number,
            cluster_id: None,
            archived: Archived { topic_id: Some(id(archived)), last_record: None },
            log: LogFound {
                topic_id: Some(id(now)),
                difference: Difference::OtherTopic,
                start: offset(0),
                end: offset(end),
                leader_epoch: None,
            },
            choice: None,
        };
        Histories::default().record(&self.store, finding.clone()).expect("it is written");
        choose(&self.store, &finding, Choice::SameHistory).expect("it is written");
    }
}

#[test]
fn the_tail_is_the_last_segments_end() {
    let walked = Walked::new();
    assert_eq!(walked.tail(None), Ok(Tail::Nothing));
    write_segment(&walked.store, 0, 5, Some(id(1)));
    write_segment(&walked.store, 5, 9, Some(id(1)));
    let tail = walked.tail(None).expect("a chain");
    assert_eq!(tail.end(), Some(offset(9)));
    assert_eq!(tail.archived().topic_id, Some(id(1)));
    assert_eq!(walked.tail(Some(5)), Ok(tail), "others have added to it");
    assert_eq!(walked.tail(Some(9)), Ok(tail));
    assert_eq!(walked.tail(Some(20)), Ok(tail), "of an earlier lineage");
    let reason = walked.tail_after(Some(9), Some(20)).expect_err("it was longer");
    assert!(reason.contains("ended before 20 a moment ago, and ends before 9 now"), "{reason}");
}

#[test]
fn a_chain_is_of_one_topic() {
    let walked = Walked::new();
    write_segment(&walked.store, 0, 5, Some(id(1)));
    assert!(walked.continues_with(1) && !walked.continues_with(2));
    write_segment(&walked.store, 5, 9, Some(id(2)));
    let reason = walked.tail(None).expect_err("of two topics");
    assert!(reason.contains("00000000000000000000 is not of this chain") && reason.contains("re-created"), "{reason}");
}

#[test]
fn topics_that_were_declared_the_same_are_one_chain() {
    let walked = Walked::new();
    write_segment(&walked.store, 0, 5, Some(id(1)));
    walked.join(5, 1, 1, 2);
    assert!(walked.continues_with(2), "decided so");
    assert!(!walked.continues_with(3) && !walked.continues_with(1), "of these it was not");
    write_segment(&walked.store, 5, 9, Some(id(2)));
    assert_eq!(walked.tail(None).expect("a chain").end(), Some(offset(9)));
    assert!(walked.continues_with(2) && !walked.continues_with(3));
    // It is created again, and once more before anything of it was archived.
    walked.join(9, 1, 2, 3);
    walked.join(9, 2, 2, 4);
    assert!(walked.continues_with(4) && !walked.continues_with(3));
    write_segment(&walked.store, 9, 12, Some(id(4)));
    assert_eq!(walked.tail(None).expect("a chain").end(), Some(offset(12)));
}

#[test]
fn an_id_that_one_side_lacks_forbids_nothing() {
    let mut walked = Walked::new();
    write_segment(&walked.store, 0, 5, None);
    write_segment(&walked.store, 5, 9, Some(id(1)));
    assert!(walked.continues_with(1));
    walked.identity.cluster_id = None;
    assert!(walked.tail(None).is_ok());
    walked.identity.cluster_id = Some("another".to_owned());
    let reason = walked.tail(None).expect_err("another cluster's");
    assert!(reason.contains(CLUSTER) && reason.contains("another"), "{reason}");
}

#[test]
fn an_origin_is_of_one_cluster_and_topic() {
    for cluster_id in [Some(CLUSTER), None] {
        let walked = Walked::new();
        walked.settle_origin(cluster_id);
        let expected = Tail::Origin { offset: offset(7), leader_epoch: LeaderEpoch::new(2), topic_id: Some(id(1)) };
        assert_eq!(walked.tail(None), Ok(expected));
        assert!(walked.continues_with(1) && !walked.continues_with(2));
        walked.join(7, 1, 1, 2);
        assert!(!walked.continues_with(1) && walked.continues_with(2));
    }
    let walked = Walked::new();
    walked.settle_origin(Some("another"));
    assert!(walked.tail(None).expect_err("another cluster's").contains("another"));
}
