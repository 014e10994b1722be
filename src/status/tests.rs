//! What no real broker shows at will: late transitions, a thread that hangs, reasons that are no HTML.

use super::board::Board;
use super::server::StatusServer;
use super::view::{About, Budgets, Outside, Sources};
use super::{json, metrics, page};
use crate::blocking::BlockingPool;
use kafka_store_actors::budget::Budget;
use kafka_store_actors::figures::{Figures, Trouble};
use kafka_store_actors::ports::Clock;
use kafka_store_actors::spool_account::SpoolAccount;
use kafka_store_actors::transition::{Buffered, Detail, Subject, TransitionLog, TransitionRecord};
use kafka_store_statecharts::boundary::SealReason;
use kafka_store_statecharts::chart::{Chart, Kind, Now};
use kafka_store_statecharts::failure::{Class, Port};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::{Offset, OffsetRange};
use kafka_store_statecharts::partition::{AssignmentEpoch, Partition};
use kafka_store_statecharts::segment::{Segment, SegmentContent, SegmentEventKind, SegmentStateKind};
use kafka_store_statecharts::topic::{PartitionId, TopicName, TopicPartition};
use slog::{Discard, Logger, o};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

fn offset(number: i64) -> Offset {
    Offset::new(number).expect("legal")
}

fn partition() -> TopicPartition {
    let partition = PartitionId::new(3).expect("legal");
    TopicPartition { topic: TopicName::new("orders").expect("legal"), partition }
}

fn content() -> SegmentContent {
    let range = OffsetRange::new(offset(10), offset(19)).expect("in order");
    SegmentContent { range, record_count: 10, content_hash: None, file_bytes: 500, crc32c: 0 }
}

/// Tells the board of one transition.
fn told(
    board: &Board,
    epoch: u64,
    wall_ms: i64,
    start: Option<i64>,
    (event, to): (&'static str, &'static str),
    detail: Detail<'_>,
) {
    board.record(&TransitionRecord {
        now: Now { monotonic_ms: 0, wall_ms },
        subject: Some(Subject {
            chain: &ChainName::first_lineage(partition()),
            epoch: Some(AssignmentEpoch(epoch)),
            segment_start: start.map(offset),
            upload: None,
        }),
        chart: if start.is_some() { Segment::NAME } else { Partition::NAME },
        from: "",
        event,
        to,
        detail,
    });
}

#[test]
fn a_segment_counts_once_and_goes_when_it_is_committed() {
    let board = Board::default();
    told(&board, 1, 1_000, None, ("Located", "Active"), Detail::Position(offset(10)));
    let segment = |wall_ms, event: SegmentEventKind, to: SegmentStateKind, detail| {
        told(&board, 1, wall_ms, Some(10), (event.as_str(), to.path()), detail);
    };
    segment(2_000, SegmentEventKind::FirstRecord, SegmentStateKind::Buffering, Detail::None);
    let buffered = Buffered { record_count: 10, record_bytes: 4_000 };
    let sealed = Detail::Sealed { reason: SealReason::Size, final_offset: offset(19), buffered };
    segment(3_000, SegmentEventKind::BoundaryReached, SegmentStateKind::Sealing, sealed);
    assert!(board.read().sealed.is_empty(), "its file is not complete yet");
    segment(3_500, SegmentEventKind::SpoolCompleted, SegmentStateKind::AwaitingTurn, Detail::Completed(content()));
    segment(4_000, SegmentEventKind::ObjectStored, SegmentStateKind::Mirroring, Detail::Stored(content()));
    let after = SegmentStateKind::AwaitingPredecessor;
    segment(5_000, SegmentEventKind::MirrorsStored, after, Detail::Stored(content()));

    let shown = board.read();
    let (sealed, stored) = (shown.sealed.values().next(), shown.stored.values().next());
    assert_eq!(sealed.map(|sums| (sums.segments, sums.records, sums.bytes)), Some((1, 10, 4_000)));
    assert_eq!(stored.map(|sums| (sums.segments, sums.records, sums.bytes)), Some((1, 10, 500)));
    let on_its_way = &shown.partitions[&partition()].segments[&offset(10)];
    assert_eq!((on_its_way.state, on_its_way.opened_ms), ("Committing.AwaitingPredecessor", 2_000));
    assert!(on_its_way.is_stored);

    segment(6_000, SegmentEventKind::OffsetCommitted, SegmentStateKind::Idle, Detail::None);
    let shown = board.read().partitions.remove(&partition()).expect("it is still ours");
    assert!(shown.segments.is_empty());
    assert_eq!(shown.last_stored.map(|last| (last.start, last.at_ms)), Some((offset(10), 4_000)));
}

/// A writer that was told late of its revocation changes nothing of what the next one shows.
#[test]
fn an_earlier_assignment_is_not_shown_any_more() {
    let board = Board::default();
    told(&board, 1, 1_000, None, ("Located", "Active"), Detail::Position(offset(10)));
    told(&board, 2, 2_000, None, ("Blocked", "Frozen"), Detail::Blocked("a hole"));
    told(&board, 1, 3_000, Some(10), ("FirstRecord", "Buffering"), Detail::None);
    told(&board, 1, 3_000, None, ("Revoked", "Gone"), Detail::None);
    told(&board, 1, 3_000, Some(10), ("Discarded", "Idle"), Detail::None);
    let shown = &board.read().partitions[&partition()];
    assert_eq!((shown.epoch, shown.state), (AssignmentEpoch(2), "Frozen"));
    assert_eq!(shown.reason.as_deref(), Some("a hole"));
    assert!(shown.segments.is_empty());
    told(&board, 2, 4_000, None, ("Revoked", "Gone"), Detail::None);
    assert!(board.read().partitions.is_empty());
}

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Now {
        Now { monotonic_ms: 0, wall_ms: 1_700_000_000_000 }
    }
}

/// A Kafka that does not answer, polled by a thread that stands still.
#[derive(Debug)]
struct Silent(Duration);

impl Outside for Silent {
    fn last_high_watermark(&self, _: &TopicPartition) -> Option<Offset> {
        None
    }

    fn high_watermarks(&self, _: &[TopicPartition]) -> BTreeMap<TopicPartition, Offset> {
        BTreeMap::new()
    }

    fn failures(&self) -> BTreeMap<(Port, Class), u64> {
        BTreeMap::new()
    }

    fn trouble(&self, _: i64) -> Option<Trouble> {
        None
    }

    fn since_last_poll(&self) -> Duration {
        self.0
    }
}

fn sources(since_last_poll: Duration) -> Sources {
    let about = About {
        group: "<script>alert('\"&\"')</script>".to_owned(),
        cluster: None,
        store: "/archive".to_owned(),
        memory_limit_bytes: 64_000_000,
        spool_limit_bytes: None,
    };
    let budgets = Budgets { batches: Budget::new(1), blocks: Budget::new(1), spool: SpoolAccount::new(1, 1) };
    let figures = Arc::new(Figures::default());
    Sources::new(about, Arc::new(FixedClock), Arc::default(), figures, budgets, Box::new(Silent(since_last_poll)))
}

/// What a server answers to a request.
fn answer(sources: Sources, path: &'static str, host: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    actix::System::new().block_on(async move {
        let log = Logger::root(Discard, o!());
        let server = StatusServer::start(listener, sources, &log).expect("it starts");
        let client = BlockingPool::new("client", 1);
        let answer = client.run(move || ask(address, path, host)).await;
        server.stop().await;
        answer
    })
}

fn ask(address: SocketAddr, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("sent");
    let mut answer = String::new();
    // It ends because the server keeps no connection.
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn a_thread_that_hangs_is_told_by_the_probe() {
    let fine = answer(sources(Duration::from_secs(59)), "/healthz", "localhost");
    assert!(fine.starts_with("HTTP/1.1 200 OK\r\n") && fine.ends_with("\r\n\r\nok\n"), "{fine}");
    let hanging = answer(sources(Duration::from_secs(61)), "/healthz", "localhost");
    assert!(hanging.starts_with("HTTP/1.1 503 ") && hanging.ends_with("has made no step for 61 s\n"), "{hanging}");
    let ready = answer(sources(Duration::ZERO), "/readyz", "localhost");
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("\r\n\r\nJoining\n"), "{ready}");
}

/// A browser on the same machine may be told by others that their name is this address.
#[test]
fn what_listens_for_this_machine_answers_to_no_other_name() {
    let hosts = [
        ("localhost", 200),
        ("localhost:9464", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:9464", 200),
        ("elsewhere.example", 403),
        ("localhost.elsewhere.example:9464", 403),
        ("127.0.0.1.elsewhere.example", 403),
        ("127.0.0.1:x", 403),
    ];
    for (host, status) in hosts {
        let answer = answer(sources(Duration::ZERO), "/status.json", host);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{host}: {answer}");
    }
}

#[test]
fn nothing_that_is_shown_is_taken_for_html_or_for_a_label() {
    let view = sources(Duration::ZERO).view();
    let shown = page::render(&view);
    let title = "<title>kafka-store: &lt;script&gt;alert(&#39;&quot;&amp;&quot;&#39;)&lt;/script&gt;</title>";
    assert!(shown.contains(title) && !shown.contains("<script"), "{shown}");
    let label = r#"{group="<script>alert('\"&\"')</script>",state="Joining"} 1"#;
    let shown = metrics::render(&view);
    assert!(shown.contains(label), "{shown}");
    let shown: serde_json::Value = serde_json::from_str(&json::render(&view)).expect("JSON");
    assert_eq!((&shown["time"], &shown["spool_limit_bytes"]), (&"2023-11-14T22:13:20Z".into(), &().into()));
}
