//! Partitions of which segments are missing at the end, or all of them; and damaged origins.

use super::{Archive, Verified, verify};
use serde_json::Value;
use std::fs;

/// An origin alone may mean that nothing was archived yet; an empty directory proves that there were segments.
#[test]
fn a_partition_without_segments_is_reported_and_is_a_problem_where_there_were_some() {
    let missing = |verified: &Verified| verified.problems().into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    let archive = Archive::new();
    for start in [0, 10, 20, 30] {
        archive.remove(start);
    }
    let folder = archive.path().join("orders/000003");
    for part in ["", "orders", "orders/000003"] {
        for depth in ["--quick", "--deep"] {
            let empty = verify(&archive.path().join(part), &[depth]);
            assert_eq!((missing(&empty), empty.code), (vec!["missing".to_owned()], Some(65)), "{part} {depth}");
            assert_eq!(empty.report["problems"][0]["location"], folder.to_str().expect("UTF-8"));
            assert_eq!(empty.report["chains"][0]["segments"], 0);
        }
    }
    // Somebody else has used the directory: it proves nothing.
    fs::write(folder.join("notes.txt"), "").expect("written");
    archive.deep().finds(&[]);
    assert!(archive.deep().notes().contains("orders/000003 has an origin, 0, and no segment"));
    // A topic's directory is made for a segment, too.
    fs::remove_dir_all(&folder).expect("removed");
    let emptied = archive.deep();
    assert_eq!((missing(&emptied), emptied.code), (vec!["missing".to_owned()], Some(65)));
    assert_eq!(emptied.report["problems"][0]["chain"], Value::Null);
    let topic = verify(&archive.path().join("orders"), &[]);
    assert_eq!(topic.code, Some(65), "{topic:?}");
    // An origin alone is only reported.
    fs::remove_dir(archive.path().join("orders")).expect("removed");
    archive.deep().finds(&[]);
    assert!(archive.deep().notes().contains("orders/000003 has an origin, 0, and no segment"));
    let chain = &archive.deep().report["chains"][0];
    assert_eq!([&chain["topic"], &chain["segments"]], [&Value::from("orders"), &Value::from(0)]);
}

#[test]
fn an_earlier_state_proves_that_there_were_segments() {
    let archive = Archive::new();
    let state = archive.path().with_extension("segments");
    let deep = || verify(archive.path(), &["--deep", "--state", state.to_str().expect("UTF-8")]);
    deep().finds(&[]);
    // The front may be pruned.
    archive.remove(0);
    deep().finds(&[]);
    // The end may not.
    archive.remove(30);
    for _ in 0..2 {
        let cut = deep();
        cut.finds(&[("missing", 30)]);
        assert!(cut.report["problems"][0]["message"].to_string().contains("1 segments after offset 20"), "{cut:?}");
    }
    archive.quick().finds(&[]);
    let quick = verify(archive.path(), &["--state", state.to_str().expect("UTF-8")]);
    quick.finds(&[("missing", 30)]);
    fs::remove_dir_all(archive.path().join("orders")).expect("removed");
    deep().finds(&[("missing", 0)]);
    // Also where no origin is left.
    fs::remove_file(archive.path().join("~kafka-store/origins/orders/000003")).expect("removed");
    deep().finds(&[("missing", 0)]);
    fs::remove_file(state).expect("removed");
}

#[test]
fn a_damaged_origin_is_a_problem_and_hides_no_other() {
    let archive = Archive::new();
    let origin = archive.path().join("~kafka-store/origins/orders/000003");
    let whole = fs::read(&origin).expect("read");
    archive.remove(20);
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x04;
        fs::write(&origin, bytes).expect("written");
        let verified = archive.deep();
        let kinds: Vec<String> = verified.problems().into_iter().map(|(kind, _)| kind).collect();
        assert!(kinds.contains(&"missing".to_owned()), "byte {position}: {verified:?}");
        assert!(kinds.iter().any(|kind| kind != "missing"), "byte {position}: {verified:?}");
    }
}
