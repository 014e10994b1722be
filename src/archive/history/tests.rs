//! Findings in a store, and what was decided about them.

use super::*;
use crate::archive::history::finding::FindingName;
use crate::store::LocalStore;
use kafka_store_statecharts::anchor::Anchor;
use kafka_store_statecharts::last_record::{LastRecord, RecordHash};
use kafka_store_statecharts::offset::LeaderEpoch;

fn offset(number: i64) -> Offset {
    Offset::new(number).expect("legal")
}

fn id(number: u8) -> Option<TopicId> {
    TopicId::new([number; 16])
}

fn record(content: &[u8], epoch: i32) -> LastRecord {
    LastRecord { hash: RecordHash::of(content), leader_epoch: LeaderEpoch::new(epoch) }
}

fn chain(partition: &str) -> ChainName {
    ChainName::parse("orders", partition).expect("legal")
}

fn finding(end: i64, number: u32, difference: Difference) -> Finding {
    Finding {
        chain: chain("000007"),
        end: offset(end),
        number,
        cluster_id: Some("a \"cluster\"".to_owned()),
        archived: Archived {
            topic_id: id(1),
            last_record: Some(Anchor { offset: offset(end - 1), record: record(b"archived", 3) }),
        },
        log: LogFound {
            topic_id: id(2),
            difference,
            start: offset(5),
            end: offset(1500),
            leader_epoch: LeaderEpoch::new(4),
        },
        choice: None,
    }
}

fn differences() -> [Difference; 4] {
    [
        Difference::OtherTopic,
        Difference::OtherRecord(record(b"found", -1)),
        Difference::EndsAt(offset(500)),
        Difference::OutOfRange,
    ]
}

fn store() -> (tempfile::TempDir, LocalStore) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::open(directory.path()).expect("it is there");
    (directory, store)
}

#[test]
fn findings_are_read_back() {
    for difference in differences() {
        let full = finding(1000, 2, difference);
        let sparse = Finding {
            cluster_id: None,
            archived: Archived::default(),
            log: LogFound { topic_id: None, leader_epoch: None, ..full.log },
            ..full.clone()
        };
        for finding in [full, sparse] {
            assert_eq!(Finding::parse(&finding.object_name(), &finding.encode()), Some(finding));
        }
    }
    let name = finding(1000, 1, Difference::OutOfRange).object_name();
    let elsewhere = finding(999, 1, Difference::OutOfRange).encode();
    for wrong in [&b"torn"[..], b"{\"format\":2}", &elsewhere] {
        assert_eq!(Finding::parse(&name, wrong), None);
    }
}

#[test]
fn names_have_one_spelling() {
    let name = finding(1000, 12, Difference::OutOfRange).name();
    assert_eq!(name, "~kafka-store/histories/orders/000007/00000000000000001000/12");
    assert_eq!(FindingName::parse(&name).map(|parsed| parsed.to_string()), Some(name));
    for wrong in ["0", "01", "+1", "1.choice", "1/1", "", "x"] {
        let name = format!("~kafka-store/histories/orders/000007/00000000000000001000/{wrong}");
        assert_eq!(FindingName::parse(&name), None, "{name}");
    }
}

#[test]
fn every_difference_has_words_of_its_own() {
    let mut summaries: Vec<String> =
        differences().map(|difference| finding(1000, 1, difference).summary()).into_iter().collect();
    summaries.push(finding(1000, 1, Difference::OtherRecord(record(b"archived", 4))).summary());
    let mut short = finding(1000, 1, Difference::OutOfRange);
    short.log.end = offset(700);
    summaries.push(short.summary());
    for (summary, words) in summaries.iter().zip([
        "deleted and re-created",
        "has another record at offset 999",
        "ended before 500",
        "does not reach offset 1000 in leader epoch 3",
        "was written in leader epoch 3, and Kafka's copy of it in epoch 4",
        "ended before 700",
    ]) {
        assert!(summary.contains(words), "{words:?} in {summary:?}");
    }
    let reason = finding(1000, 1, Difference::OtherTopic).reason();
    assert!(
        reason.contains("kafka-store resolve --partition orders-7") && reason.starts_with("orders-7: "),
        "{reason}"
    );
}

#[test]
fn the_last_finding_at_the_chains_end_counts() {
    let (_directory, store) = store();
    let histories = Histories::default();
    let read = || histories.of(&store, &chain("000007"), Instant::now()).expect("it answers");
    assert_eq!(read(), ChainHistory::default());
    let first = histories.record(&store, finding(1000, 1, Difference::OutOfRange)).expect("it is written");
    let history = read();
    assert_eq!(history.unresolved_at(offset(1000)), Some(&first));
    assert_eq!(history.unresolved_at(offset(999)), None, "at another end nothing was found");
    assert_eq!((history.next_number(offset(1000)), history.next_number(offset(999))), (2, 1));
    assert_eq!(histories.of(&store, &chain("000007~2"), Instant::now()).expect("it answers"), ChainHistory::default());

    choose(&store, &first, Choice::SameHistory).expect("it is written");
    choose(&store, &first, Choice::SameHistory).expect("once more is no harm");
    let history = read();
    assert_eq!(history.unresolved_at(offset(1000)), None);
    assert_eq!(history.joined_at(offset(1000)).map(|finding| finding.number), Some(1));
    assert!(history.joins(offset(1000), id(1).expect("legal")) && history.joins(offset(3), id(1).expect("legal")));
    assert!(!history.joins(offset(1001), id(1).expect("legal")), "it lies beyond");
    assert!(!history.joins(offset(3), id(2).expect("legal")), "another topic's");
    let continues =
        |start, from, to| history.continues_with(offset(start), id(from).expect("legal"), id(to).expect("legal"));
    assert!(continues(1000, 1, 2) && !continues(1000, 2, 1) && !continues(1000, 1, 3) && !continues(999, 1, 2));

    let second = histories.record(&store, finding(1000, 2, Difference::OtherTopic)).expect("it is written");
    assert_eq!(read().unresolved_at(offset(1000)), Some(&second));
    assert_eq!(read().joined_at(offset(1000)), None);
    assert_eq!(all_findings(&store).expect("it answers").len(), 2);
}

#[test]
fn of_two_that_find_the_same_one_writes() {
    let (_directory, store) = store();
    let first = finding(1000, 1, Difference::OutOfRange);
    assert_eq!(Histories::default().record(&store, first.clone()).expect("it is written"), first);
    let other = finding(1000, 1, Difference::EndsAt(offset(3)));
    assert_eq!(Histories::default().record(&store, other).expect("it answers"), first, "the first one's counts");
}

/// A start is not held up by one question for each of its partitions.
#[test]
fn partitions_that_are_located_together_share_a_listing() {
    let (directory, store) = store();
    let histories = Histories::default();
    let start = Instant::now();
    histories.of(&store, &chain("000007"), start).expect("it answers");
    std::fs::remove_dir_all(directory.path()).expect("it was there");
    assert_eq!(
        histories.of(&store, &chain("000008"), start).expect("by the listing made before"),
        ChainHistory::default()
    );
    assert!(histories.of(&store, &chain("000008"), Instant::now()).is_err(), "the store is asked again");
}

#[test]
fn what_is_no_finding_is_not_passed_over() {
    let (_directory, store) = store();
    let name = finding(1000, 1, Difference::OutOfRange).name();
    store.create_small(&name, b"{\"format\":9}").expect("it is written");
    let error = history_of(&store, &chain("000007")).expect_err("a later version's");
    assert!(error.to_string().contains(&name), "{error}");
    assert_eq!(history_of(&store, &chain("000001")).expect("of another chain"), ChainHistory::default());
}
