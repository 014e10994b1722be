use super::super::turns::tests::poll_thread;
use super::*;
use crate::kafka::ffi::{HeartbeatRefusal, MockBrokers};
use kafka_store_actors::ports::RecordSource;
use std::sync::Arc;

const NEWER: &str = "group.protocol=consumer";
const PARTITIONS: i32 = 3;

/// Steps until something is told; says what.
fn next_event(thread: &mut PollThread) -> LogEvent {
    let deadline = Instant::now() + Duration::from_secs(60);
    while thread.out.is_empty() {
        assert!(Instant::now() < deadline, "{thread:#?}");
        if let Step::End = thread.step_or_renew() {
            assert!(!thread.out.is_empty(), "the thread ends without a word");
        }
    }
    thread.out.remove(0)
}

fn is_replaced_after(given: &[&str], refuse: impl Fn(&MockBrokers)) {
    let (mock, _source, mut thread) = poll_thread(PARTITIONS, given);
    let LogEvent::Assigned { epoch: first, mut partitions } = next_event(&mut thread) else { panic!("{thread:#?}") };
    partitions.sort_unstable();
    assert_eq!(partitions.len(), PARTITIONS as usize);
    let old = Arc::downgrade(&thread.client.client());
    let member = thread.client.shared();
    refuse(&mock);
    let LogEvent::Revoked { partitions: mut revoked } = next_event(&mut thread) else { panic!("{thread:#?}") };
    revoked.sort_unstable();
    assert_eq!(revoked, partitions, "nothing is written for partitions that are lost");
    // The old member has not left: some come only once its session has ended.
    let mut again = Vec::new();
    while again.len() < partitions.len() {
        let LogEvent::Assigned { epoch, partitions } = next_event(&mut thread) else { panic!("{thread:#?}") };
        assert!(epoch > first);
        again.extend(partitions);
    }
    again.sort_unstable();
    assert_eq!(again, partitions);
    assert_eq!(old.strong_count(), 0, "the old client is destroyed");
    assert_eq!(member.with(|client| client.fatal_error()), Some(None), "others see the new one");
}

#[test]
fn a_client_that_fails_is_replaced() {
    for refusal in [HeartbeatRefusal::InvalidRequest, HeartbeatRefusal::UnreleasedInstanceId] {
        is_replaced_after(&[NEWER], |mock| mock.refuse_heartbeats(true, &[refusal]));
    }
}

/// For as long as the right is missing, one client after the other fails.
#[test]
fn a_right_that_is_granted_again_heals() {
    let refusals = [HeartbeatRefusal::GroupAuthorizationFailed; 3];
    is_replaced_after(&[NEWER], |mock| mock.refuse_heartbeats(true, &refusals));
}

#[test]
fn an_identity_that_another_process_has_taken_ends_the_thread() {
    let given = ["group.instance.id=one", "heartbeat.interval.ms=100"];
    let (mock, _source, mut thread) = poll_thread(PARTITIONS, &given);
    assert!(matches!(next_event(&mut thread), LogEvent::Assigned { .. }));
    mock.refuse_heartbeats(false, &[HeartbeatRefusal::FencedInstanceId]);
    let reason = loop {
        match next_event(&mut thread) {
            LogEvent::ClientFailed { reason } => break reason,
            // librdkafka may have revoked them before.
            LogEvent::Revoked { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(reason.contains("FENCED_INSTANCE_ID"), "{reason}");
}

#[test]
fn orders_are_answered_while_there_is_no_client() {
    let (_mock, source, mut thread) = poll_thread(PARTITIONS, &[]);
    let LogEvent::Assigned { .. } = next_event(&mut thread) else { panic!("{thread:#?}") };
    assert!(thread.client.destroy(DESTROY_TIME));
    let left = source.leave_group();
    assert!(matches!(thread.wait_without_client(Duration::from_secs(3600)), Step::End));
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(left);
}

#[test]
fn waits_grow_to_their_limit_and_shrink_after_a_good_life() {
    let mut renewals = Renewals::new();
    let now = renewals.born;
    for whole in [1, 2, 4, 8, 16, 30, 30] {
        let (whole, wait) = (Duration::from_secs(whole), renewals.failed(now));
        assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
    }
    renewals.renewed(now);
    assert!(renewals.failed(now + GOOD_LIFE / 2) >= Duration::from_secs(20));
    assert!(renewals.failed(now + GOOD_LIFE) <= Duration::from_secs(1));
}
