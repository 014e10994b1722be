//! kafka-store against a bare consumer and against the codec alone, on a real broker.
//!
//! `cargo bench --bench end_to_end -- [--megabytes N] [--runs N] [--sizes 100,1024,10240] [--partitions 1,4,100,1000]
//! [--codecs null,deflate,snappy,zstandard]`, with `KAFKA_STORE_TEST_BROKER` set (`eval "$(tests/services start)"`).
//! Where no number of partitions is given, records of 1 KiB are in topics of 1, 4, 100 and 1,000, all others of 4.
//!
//! For each size of record and each number of partitions a topic is filled once, by a generator that makes the same
//! records each time. Then all contenders run on all topics of a size in turn, A B C A B C …, each as a process of its
//! own, whose CPU time and peak memory are the operating system's own figures. The table has medians. As a test
//! (`--test`) it is run small.
#![allow(missing_docs, reason = "a program, not a library")]

#[path = "../sample/mod.rs"]
mod sample;

mod contenders;
mod fill;
mod measure;

use contenders::{Archives, Contender};
use fill::Filled;
use measure::{Measured, TICKS_A_SECOND, median};
use std::process::Command;

struct Options {
    megabytes: u64,
    runs: usize,
    sizes: Vec<usize>,
    /// For each size, if given.
    partitions: Option<Vec<i32>>,
    codecs: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Options {
        let is_test = args.iter().any(|arg| arg == "--test") || !args.iter().any(|arg| arg == "--bench");
        let value = |name: &str| {
            let at = args.iter().position(|arg| arg == name)?;
            Some(args.get(at + 1).unwrap_or_else(|| panic!("{name} needs a value")).as_str())
        };
        let list = |name: &str, default: &str| -> Vec<String> {
            value(name).unwrap_or(default).split(',').map(str::to_owned).collect()
        };
        let numbers = |name: &str, default: &str| -> Vec<u64> {
            list(name, default).iter().map(|text| text.parse().expect("a number")).collect()
        };
        let codecs = if is_test { "null" } else { "null,deflate,snappy,zstandard" };
        Options {
            megabytes: numbers("--megabytes", if is_test { "1" } else { "512" })[0],
            runs: numbers("--runs", if is_test { "1" } else { "5" })[0] as usize,
            sizes: numbers("--sizes", if is_test { "1024" } else { "100,1024,10240" })
                .iter()
                .map(|n| *n as usize)
                .collect(),
            partitions: (is_test || value("--partitions").is_some())
                .then(|| numbers("--partitions", "4").iter().map(|n| *n as i32).collect()),
            codecs: list("--codecs", codecs),
        }
    }

    fn partitions_at(&self, size: usize) -> Vec<i32> {
        let usual = || if size == 1024 { vec![1, 4, 100, 1_000] } else { vec![4] };
        self.partitions.clone().unwrap_or_else(usual)
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if contenders::is_child(&args) {
        return contenders::run_child(&args);
    }
    let broker = std::env::var("KAFKA_STORE_TEST_BROKER")
        .expect("KAFKA_STORE_TEST_BROKER is not set: eval \"$(tests/services start)\" first, or let tests/run do it");
    let options = Options::parse(&args);
    println!("| value | partitions | contender | records/s | MB/s | CPU s/GB | CPU | peak MiB | ratio |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for size in &options.sizes {
        compare(&broker, &options, *size);
    }
}

/// Runs all contenders on all topics of a size, in turn, and prints their rows.
fn compare(broker: &str, options: &Options, size: usize) {
    let fill = |partitions: &i32| fill::fill(broker, size, *partitions, options.megabytes * 1_000_000);
    let topics: Vec<Filled> = options.partitions_at(size).iter().map(fill).collect();
    let mut contenders = vec![Contender::BareConsumer];
    for codec in &options.codecs {
        contenders.push(Contender::CodecAlone(codec.clone()));
        contenders.push(Contender::KafkaStore(codec.clone()));
    }
    let mut runs: Vec<Vec<Vec<Measured>>> = topics.iter().map(|_| vec![Vec::new(); contenders.len()]).collect();
    let mut archives = Archives::default();
    for run in 0..options.runs {
        for (filled, runs) in topics.iter().zip(&mut runs) {
            for (contender, measured) in contenders.iter().zip(runs) {
                measured.push(contender.run(broker, filled, run, &mut archives));
            }
        }
    }
    for (filled, runs) in topics.iter().zip(&runs) {
        print(filled, &contenders, runs);
        filled.delete(broker);
    }
}

fn print(filled: &Filled, contenders: &[Contender], runs: &[Vec<Measured>]) {
    let cpu = |index: usize| median(runs[index].iter().map(|run| run.cpu_seconds));
    for (index, contender) in contenders.iter().enumerate() {
        let wall = median(runs[index].iter().map(|run| run.wall_seconds));
        // The codec alone is one thread that never waits: its CPU time, without that of its preparation, is its time.
        let seconds = if matches!(contender, Contender::CodecAlone(_)) { cpu(index) } else { wall };
        // Of less than ten ticks of the CPU clock no speed can be told.
        let speed = |amount: f64, digits| {
            if seconds < 10.0 / TICKS_A_SECOND { "–".to_owned() } else { format!("{:.digits$}", amount / seconds) }
        };
        let peak = median(runs[index].iter().map(|run| run.peak_bytes as f64));
        let ratio = match contender {
            // The codec alone stands before it in the list, and the bare consumer first of all.
            Contender::KafkaStore(_) => format!("{:.2}", cpu(index) / (cpu(0) + cpu(index - 1))),
            _ => String::new(),
        };
        println!(
            "| {} B | {} | {contender} | {} | {} | {:.2} | {} | {:.0} | {ratio} |",
            filled.value_size,
            filled.partitions,
            speed(filled.records as f64, 0),
            speed(filled.bytes as f64 / 1e6, 0),
            cpu(index) / (filled.bytes as f64 / 1e9),
            speed(cpu(index), 2),
            peak / f64::from(1 << 20),
        );
    }
}

/// A process of this program's own, for a contender that is not kafka-store.
fn child(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("known"));
    command.args(args);
    command
}
