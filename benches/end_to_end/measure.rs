//! What a process cost: the operating system's own account of it.

use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One run of one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) wall_seconds: f64,
    /// User and system time.
    pub(crate) cpu_seconds: f64,
    /// `VmHWM`, looked at while it ran.
    pub(crate) peak_bytes: u64,
}

/// Linux counts CPU time in hundredths of a second (`USER_HZ`).
pub(crate) const TICKS_A_SECOND: f64 = 100.0;

/// What a contender prints before what it spent until then is to count for nothing.
const PREPARED: &str = "prepared after CPU seconds: ";

/// Says that all before was preparation.
pub(crate) fn prepared() {
    println!("{PREPARED}{}", account("/proc/self").1);
}

/// Runs a process to its end, which must be a good one.
pub(crate) fn measure(mut command: Command) -> Measured {
    let started = Instant::now();
    // To a file: a pipe that nobody reads while the contender runs would stop it when it is full.
    let mut told = tempfile::tempfile().expect("a temporary file");
    let stderr = told.try_clone().expect("the same file");
    let child = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("the contender starts");
    let folder = format!("/proc/{}", child.id());
    let mut peak_bytes = 0;
    // A process that has ended keeps its account until it is waited for.
    let cpu_seconds = loop {
        peak_bytes = peak_bytes.max(peak(&folder));
        let (has_ended, cpu_seconds) = account(&folder);
        if has_ended {
            break cpu_seconds;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let wall_seconds = started.elapsed().as_secs_f64();
    let output = child.wait_with_output().expect("it has ended");
    let mut stderr = String::new();
    told.rewind().and_then(|()| told.read_to_string(&mut stderr)).expect("it can be read");
    assert!(output.status.success() && stderr.is_empty(), "{command:?}: {stderr}");
    let printed = String::from_utf8_lossy(&output.stdout);
    let preparation = printed.lines().find_map(|line| line.strip_prefix(PREPARED)?.parse::<f64>().ok()).unwrap_or(0.0);
    Measured { wall_seconds, cpu_seconds: cpu_seconds - preparation, peak_bytes }
}

/// Whether a process has ended, and the user and system time it has taken.
fn account(folder: &str) -> (bool, f64) {
    let stat = std::fs::read_to_string(format!("{folder}/stat")).expect("its account");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    (fields[0] == "Z", (ticks(11) + ticks(12)) / TICKS_A_SECOND)
}

fn peak(folder: &str) -> u64 {
    let status = std::fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
