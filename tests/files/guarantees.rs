//! Goal: `docs/guarantees.md` names nothing that does not exist. Method: it says `file::function`, and both are looked up
//! in the sources; tests must be tests, and kinds of problems must be those of `verify`.

use std::fs;
use std::path::{Path, PathBuf};

fn read(path: &str) -> Result<String, String> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The functions that are named so: path and name.
fn functions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    quoted(text).filter_map(|word| word.split_once("::")).filter(|(path, _)| path.ends_with(".rs"))
}

/// The line at which the function begins.
fn line_of(source: &str, name: &str) -> Option<usize> {
    let begins = |line: &str| {
        let after = line.trim_start().split_once("fn ").and_then(|(_, rest)| rest.strip_prefix(name));
        after.is_some_and(|after| after.starts_with(['(', '<']))
    };
    source.lines().position(begins)
}

/// Fails unless the function exists; a test has its attribute within the few lines before it.
fn check(path: &str, name: &str, is_test: bool) -> Result<(), String> {
    let source = read(path)?;
    let line = line_of(&source, name).ok_or_else(|| format!("{path} has no function {name}"))?;
    let mut before = source.lines().take(line).collect::<Vec<_>>().into_iter().rev().take(6);
    if is_test && !before.any(|line| line.trim() == "#[test]") {
        return Err(format!("{path}: {name} is no test"));
    }
    Ok(())
}

#[test]
fn what_the_document_names_exists() {
    let document = read("docs/guarantees.md").expect("the document");
    let (front, faults) = document.split_once("## Faults").expect("it has a table of faults");
    let mut wrong: Vec<String> = Vec::new();
    wrong.extend(functions(front).filter_map(|(path, name)| check(path, name, false).err()));
    let rows: Vec<&str> = faults.lines().filter(|line| line.starts_with('|')).collect();
    let end = rows.iter().position(|row| row.starts_with("| Command")).expect("a table of commands follows");
    let mut tests = 0;
    // Without the head of the table.
    for row in &rows[2..end] {
        let before = tests;
        for (path, name) in functions(row) {
            wrong.extend(check(path, name, true).err());
            tests += 1;
        }
        if tests == before {
            wrong.push(format!("no test: {row}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(tests > 50, "only {tests} tests are named");
}

/// True for `| I7 | …`.
fn is_invariant(line: &str) -> bool {
    line.strip_prefix("| I").is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
}

#[test]
fn verify_has_the_kinds_of_problems_that_the_document_names() {
    let document = read("docs/guarantees.md").expect("the document");
    let kinds = read("src/archive/verify/problem.rs").expect("the kinds");
    let invariants: Vec<&str> = document.lines().filter(|line| is_invariant(line)).collect();
    let mut named = 0;
    for row in &invariants {
        let last = row.trim_end_matches('|').rsplit('|').next().expect("a cell");
        for kind in quoted(last).filter(|word| !word.starts_with('-')) {
            assert!(kinds.contains(&format!("=> \"{kind}\"")), "no kind of problem: {kind}");
            named += 1;
        }
    }
    assert!(invariants.len() >= 19 && named >= 15, "{} invariants, {named} kinds", invariants.len());
}
