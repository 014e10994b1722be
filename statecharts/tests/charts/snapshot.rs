//! Texts that are kept beside the tests, compared, and rewritten when an environment variable says so.

use std::path::{Path, PathBuf};

/// A path below this crate's directory.
pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Compares a text with the file that keeps it; with the variable set, writes the file instead.
pub(crate) fn compare(path: &Path, text: &str, variable: &str) {
    if std::env::var_os(variable).is_some() {
        std::fs::write(path, text).expect("the crate's directory can be written");
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    if let Some(line) = first_difference(&kept, text) {
        let (kept, now) = (kept.lines().nth(line), text.lines().nth(line));
        panic!(
            "{} differs in line {}:\n kept: {}\n  now: {}\nif the change is wanted, {variable}=1 rewrites it",
            path.display(),
            line + 1,
            kept.unwrap_or("(nothing)"),
            now.unwrap_or("(nothing)"),
        );
    }
}

fn first_difference(kept: &str, now: &str) -> Option<usize> {
    if kept == now {
        return None;
    }
    let same = kept.lines().zip(now.lines()).take_while(|(kept, now)| kept == now).count();
    Some(same)
}
