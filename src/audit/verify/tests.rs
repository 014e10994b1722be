//! A good log, made by the charts and the writer themselves, has no problems; each way to spoil it has one.

use super::*;
use crate::audit::ProblemKind::{self, *};
use kafka_store_statecharts::partition::PartitionEvent;
use kafka_store_statecharts::segment::SegmentEvent;
use std::fs;
use story::{Daemon, content, offset};

mod story;

/// Three instances of one archive. `a` is killed with [20, 29] on its way, which is stored all the same; `b` goes on
/// behind it and adopts a shorter segment; `c` has an index and finds the other partition's first segment stored.
fn good() -> Vec<Vec<String>> {
    let mut a = Daemon::start("a", false, &[(0, 0), (1, 0)]);
    a.archive(0, 0, 9);
    a.upload(1, 0, 4);
    a.resolve(1, 0, SegmentEvent::ObjectStored { stored: content(0, 4) }, 5);
    a.archive(0, 10, 19);
    a.upload(0, 20, 29);

    let mut b = Daemon::start("b", false, &[(0, 30)]);
    b.upload(0, 30, 39);
    b.resolve(0, 30, SegmentEvent::ObjectAlreadyExists { stored: content(30, 34) }, 35);
    b.commit(0, 30);
    b.partition(0, PartitionEvent::Located { position: offset(35) });
    b.archive(0, 35, 39);

    let mut c = Daemon::start("c", true, &[(1, 0)]);
    c.upload(1, 0, 4);
    c.resolve(1, 0, SegmentEvent::ObjectAlreadyExists { stored: content(0, 4) }, 5);
    c.commit(1, 0);
    c.archive(1, 5, 6);
    vec![a.killed(), b.end(), c.end()]
}

fn report_of(files: &[Vec<String>]) -> Report {
    let texts: Vec<String> = files.iter().map(|lines| lines.iter().map(|line| format!("{line}\n")).collect()).collect();
    report_of_texts(&texts)
}

fn report_of_texts(texts: &[String]) -> Report {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let write = |(number, text): (usize, &String)| {
        let path = folder.path().join(number.to_string());
        fs::write(&path, text).expect("written");
        path
    };
    let paths: Vec<PathBuf> = texts.iter().enumerate().map(write).collect();
    verify(&paths).expect("audit logs")
}

fn kinds(report: &Report) -> BTreeSet<ProblemKind> {
    report.problems.iter().map(|problem| problem.kind).collect()
}

/// Numbers the lines of an instance anew: whoever changes a log by hand may know that much.
fn renumber(lines: &mut [String]) {
    for (index, line) in lines.iter_mut().enumerate() {
        let (_, rest) = line.split_once(',').expect("an object of several pairs");
        *line = format!("{{\"sequence\":{},{rest}", index + 1);
    }
}

/// The good log with one line of one instance changed, which must occur.
#[track_caller]
fn with(instance: usize, line: &str, from: &str, to: &str) -> Report {
    let mut files = good();
    let found = files[instance].iter_mut().find(|other| line.split(' ').all(|word| other.contains(word)));
    let found = found.unwrap_or_else(|| panic!("no line has {line}"));
    assert!(found.contains(from), "{found}");
    *found = found.replace(from, to);
    report_of(&files)
}

#[track_caller]
fn assert_found(report: &Report, kind: ProblemKind) {
    assert!(kinds(report).contains(&kind), "{kind:?} is not among {:#?}", report.problems);
}

#[test]
fn a_good_log_has_no_problems_in_whatever_order_its_pieces_come() {
    let files = good();
    let report = report_of(&files);
    assert_eq!(report.problems, []);
    assert_eq!(report.notes, [""; 0]);
    assert_eq!((report.stored, report.adopted, report.in_doubt_stored, report.committed), (5, 2, 1, 6));
    assert_eq!((report.chains, report.instances.len()), (2, 3));
    let open: Vec<u64> = report.instances.iter().map(|instance| instance.open).collect();
    assert_eq!(open, [4, 0, 0], "two partitions, a stored segment and one being uploaded");
    assert_eq!(report.instances[1].exit_code, Some(0));

    // Each instance's log in pieces of three lines, the last first.
    let pieces: Vec<Vec<String>> =
        files.iter().flat_map(|lines| lines.chunks(3)).map(<[String]>::to_vec).rev().collect();
    assert_eq!(report_of(&pieces).problems, []);
    // One file for all, as one path has it.
    assert_eq!(report_of(&[files.concat()]).problems, []);
}

#[test]
fn any_line_that_is_dropped_is_missed() {
    let files = good();
    for instance in 0..files.len() {
        for line in 0..files[instance].len() - 1 {
            let mut files = files.clone();
            let dropped = files[instance].remove(line);
            let report = report_of(&files);
            assert!(kinds(&report).contains(&MissingLines), "not missed: {dropped}");
        }
    }
}

/// Also where the sequence hides it, unless it is the last that a killed instance said of a chart.
#[test]
fn any_transition_that_is_dropped_is_missed() {
    let files = good();
    for instance in 0..files.len() {
        for line in 0..files[instance].len() - 1 {
            let mut files = files.clone();
            let dropped = files[instance].remove(line);
            renumber(&mut files[instance]);
            let subject = |line: &str| {
                let words: Vec<&str> = line.split(',').filter(|pair| !pair.contains("sequence")).collect();
                let is_name = |pair: &&&str| {
                    ["\"topic\"", "\"partition\"", "\"start_offset\"", "\"chart\""].iter().any(|key| pair.contains(key))
                };
                words.iter().filter(is_name).copied().collect::<Vec<_>>().join(",")
            };
            let goes_on = files[instance][line..].iter().any(|later| subject(later) == subject(&dropped));
            let killed = instance == 0;
            if goes_on || !killed {
                assert!(!report_of(&files).problems.is_empty(), "not missed: {dropped}");
            }
        }
    }
}

#[test]
fn lines_that_change_places_are_told() {
    for line in 1..good()[1].len() - 1 {
        let mut files = good();
        files[1].swap(line, line + 1);
        assert_found(&report_of(&files), OutOfOrder);
    }
    let mut files = good();
    let again = files[0][4].clone();
    files.push(vec![again]);
    assert_found(&report_of(&files), RepeatedLine);
}

#[test]
fn a_state_that_is_another_is_no_row_or_was_not_reached() {
    let report = with(0, "SpoolCompleted \"start_offset\":10,", "\"to\":\"Sealing.AwaitingTurn\"", "\"to\":\"Idle\"");
    assert_eq!(kinds(&report), [IllegalTransition, MissingTransition].into());
    // Each is a row, but not after the other.
    let report = with(
        0,
        "Located \"partition\":1",
        "Locating\",\"event\":\"Located\",\"to\":\"Active",
        "Active\",\"event\":\"Revoked\",\"to\":\"Gone",
    );
    assert_found(&report, MissingTransition);
    let report = with(1, "\"chart\":\"partition\"", "\"chart\":\"partition\"", "\"chart\":\"other\"");
    assert_found(&report, IllegalTransition);
}

#[test]
fn a_commit_before_the_store_has_it_is_told() {
    let mut files = good();
    let place = |lines: &[String], event: &str| lines.iter().position(|line| line.contains(event)).expect("a line");
    let (stored, granted) = (place(&files[0], "ObjectStored"), place(&files[0], "CommitGranted"));
    files[0].swap(stored, granted);
    renumber(&mut files[0]);
    let report = report_of(&files);
    assert_eq!(kinds(&report), [CommitBeforeStore, MissingTransition].into());
}

#[test]
fn an_offset_that_is_not_the_stored_segments_is_told() {
    for event in ["CommitGranted", "OffsetCommitted"] {
        let report = with(0, &format!("{event} \"start_offset\":0,"), "\"next_offset\":10", "\"next_offset\":11");
        assert_eq!(kinds(&report), [WrongCommit].into(), "{event}");
    }
}

#[test]
fn a_commit_without_a_row_is_told_where_there_is_an_index() {
    let report = with(0, "Started", "\"indexed\":false", "\"indexed\":true");
    assert_eq!(kinds(&report), [MissingRow].into());
    let report = with(2, "Started", "\"indexed\":true", "\"indexed\":false");
    assert_eq!(kinds(&report), [Contradiction].into());
    let report = with(2, "CommitGranted", "\"record_count\":5", "\"record_count\":6");
    assert_eq!(kinds(&report), [Contradiction].into());
}

#[test]
fn two_contents_under_one_name_are_told() {
    let (hash, other) = ("00".repeat(32), "11".repeat(32));
    let report = with(2, "ObjectAlreadyExists", &hash, &other);
    assert_eq!(kinds(&report), [DifferentContent].into());
    let report = with(2, "ObjectAlreadyExists", "\"final_offset\":4", "\"final_offset\":5");
    assert!(kinds(&report).is_superset(&[DifferentContent, WrongCommit].into()), "{:#?}", report.problems);
    // What was completed was stored as something else.
    let report = with(0, "ObjectStored \"start_offset\":10,", &"0a".repeat(32), &other);
    assert_eq!(kinds(&report), [Contradiction].into());
}

#[test]
fn segments_that_overlap_and_holes_between_them_are_told() {
    let mut files = good();
    let mut d = Daemon::start("d", false, &[(0, 15)]);
    d.archive(0, 15, 19);
    files.push(d.end());
    assert_eq!(kinds(&report_of(&files)), [Overlap].into());

    let mut files = good();
    files.push(Daemon::start("d", false, &[(0, 36)]).end());
    assert_eq!(kinds(&report_of(&files)), [Overlap].into(), "a position within a segment");

    let mut files = good();
    files.push(Daemon::start("d", false, &[(0, 50)]).end());
    let report = report_of(&files);
    assert_eq!(kinds(&report), [BrokenChain].into());
    assert!(report.problems[0].message.ends_with("who stored the offsets 40 to 49"), "{}", report.problems[0]);

    // Without the log of whoever stored it, a segment is missing.
    let without_b = [good()[0].clone(), good()[2].clone()];
    assert_eq!(report_of(&without_b).problems, [], "the chain's end is not known");
    let without_a = [good()[1].clone(), good()[2].clone()];
    assert_eq!(report_of(&without_a).problems, [], "neither is its begin");
    let mut files = good();
    files[0].retain(|line| !line.contains("\"start_offset\":20,"));
    renumber(&mut files[0]);
    assert_eq!(kinds(&report_of(&files)), [BrokenChain].into(), "nothing is in doubt that was never uploaded");
}

#[test]
fn a_segment_begins_at_its_partitions_position() {
    let report = with(1, "Located \"position\":35", "\"position\":35", "\"position\":36");
    assert!(kinds(&report).contains(&WrongPosition), "{:#?}", report.problems);
}

#[test]
fn a_torn_line_is_accepted_only_where_an_instance_ends() {
    let lines = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let [a, b, c] = <[Vec<String>; 3]>::try_from(good()).expect("three");
    let torn = "{\"sequence\":99,\"time\":\"20";
    for texts in [
        vec![lines(&a) + torn, lines(&b), lines(&c)],
        vec![lines(&a) + torn + "\n" + &lines(&b), lines(&c)],
        vec![lines(&a), torn.to_owned(), lines(&b), lines(&c)],
    ] {
        let report = report_of_texts(&texts);
        assert_eq!((report.problems.as_slice(), report.torn_lines), ([].as_slice(), 1));
    }
    for texts in [
        vec![lines(&a), lines(&b) + torn, lines(&c)],
        vec![lines(&a[..9]) + torn + "\n" + &lines(&a[9..]), lines(&b), lines(&c)],
        vec![lines(&a[..9]) + torn, lines(&a[9..]), lines(&b), lines(&c)],
        vec![lines(&a) + torn + "\n" + torn, lines(&b), lines(&c)],
    ] {
        assert_found(&report_of_texts(&texts), UnreadableLine);
    }
}

#[test]
fn what_is_left_open_by_an_end_in_good_order_is_told() {
    let mut files = good();
    let end = files[1].pop().expect("an end").replace("\"b\"", "\"a\"");
    files[0].push(end);
    renumber(&mut files[0]);
    assert_eq!(kinds(&report_of(&files)), [LeftOpen].into());

    let mut files = good();
    let more = files[1][3].replace("\"sequence\":4", &format!("\"sequence\":{}", files[1].len() + 1));
    files[1].push(more);
    assert_found(&report_of(&files), Misplaced);
}

#[test]
fn an_instance_whose_first_lines_are_gone_is_told_once() {
    let mut files = good();
    files[0].drain(..6);
    let report = report_of(&files);
    assert_eq!(report.problems.len(), 1, "{:#?}", report.problems);
    assert_found(&report, MissingLines);
}

#[test]
fn a_file_that_is_no_audit_log_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("other");
    for text in ["hello\n", "{\"level\":\"INFO\"}\n", "\u{0}\u{1}"] {
        fs::write(&path, text).expect("written");
        assert!(matches!(verify(std::slice::from_ref(&path)), Err(AuditReadError::WrongFile { .. })), "{text}");
    }
    fs::write(&path, "").expect("written");
    assert_eq!(verify(&[path.clone(), path]).expect("an empty one").files, 1, "and given twice it is one");
    assert!(matches!(verify(&[folder.path().join("missing")]), Err(AuditReadError::Io { .. })));
}

#[test]
fn logs_of_several_archives_and_other_charts_are_noted() {
    let report = with(1, "Started", "/archive", "/other");
    assert!(report.notes[0].starts_with("the logs name several stores (/archive, /other)"), "{:?}", report.notes);
    let report = with(1, "Started", &charts_hash(), "0");
    assert!(report.notes[0].contains("were written with other charts"), "{:?}", report.notes);
}
