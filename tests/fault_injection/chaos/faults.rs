//! What goes wrong with brokers, bucket, index and disk. Each has a thread of its own, whose faults follow from its seed and
//! come one after the other, so that several of them come at once and each ends by itself.

use super::course::Course;
use crate::support::cluster::{CONTROLLER, Cluster};
use crate::support::cutting_proxy::CuttingProxy;
use crate::support::fake_gcs::{After, FakeGcs, Fault, Kind};
use crate::support::mysql::Server;
use crate::support::seed::Chance;
use crate::support::shaky_proxy::{Mode, ShakyProxy};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SECONDS_3: Duration = Duration::from_secs(3);
const SECONDS_8: Duration = Duration::from_secs(8);
const SECONDS_15: Duration = Duration::from_secs(15);

/// Every kind of request to the bucket.
const ALL: &[Kind] = &[
    Kind::Initiate,
    Kind::DataPut,
    Kind::Query,
    Kind::Cancel,
    Kind::InsertMedia,
    Kind::InsertMultipart,
    Kind::MetadataGet,
    Kind::MediaGet,
    Kind::List,
    Kind::BucketGet,
];

/// Brokers and the controller are killed, stopped in good order, and suspended; those that ended start again.
pub(super) fn of_brokers(course: &Course, mut chance: Chance, cluster: &mut Cluster) {
    while course.lasts() {
        course.pause(&mut chance, SECONDS_8);
        let any = |chance: &mut Chance| 1 + i32::try_from(chance.below(3)).expect("small");
        let id = any(&mut chance);
        let ids = match chance.below(10) {
            0 => vec![CONTROLLER],
            1 => vec![1, 2, 3],
            2 => vec![id, 1 + id % 3],
            _ => vec![id],
        };
        let on = format!("{ids:?}");
        match chance.below(3) {
            0 => {
                course.fault("brokers killed:", &on);
                ids.iter().for_each(|id| cluster.node(*id).kill());
                course.pause(&mut chance, SECONDS_8);
                start(cluster, &ids);
            }
            1 if ids.len() == 1 => {
                course.fault("broker stopped:", &on);
                cluster.node(ids[0]).stop();
                course.pause(&mut chance, SECONDS_3);
                start(cluster, &ids);
            }
            _ => {
                course.fault("brokers suspended:", &on);
                ids.iter().for_each(|id| cluster.node(*id).suspend());
                course.pause(&mut chance, SECONDS_15);
                ids.iter().for_each(|id| cluster.node(*id).resume());
            }
        }
        course.say(&format!("brokers are back: {on}"));
    }
}

/// Side by side, as machines come back.
fn start(cluster: &mut Cluster, ids: &[i32]) {
    ids.iter().for_each(|id| cluster.node(*id).spawn());
    ids.iter().for_each(|id| cluster.node(*id).wait_until_up());
}

/// The bucket refuses, is busy, loses answers and sessions; the network before it stalls, refuses and cuts.
pub(super) fn of_bucket(course: &Course, mut chance: Chance, fake: &FakeGcs, proxy: &ShakyProxy) {
    while course.lasts() {
        course.pause(&mut chance, SECONDS_8);
        let seed = chance.next();
        let per_mille = if chance.below(2) == 0 { 1_000 } else { 300 };
        let arm = |name: &str, kinds: &[Kind], fault: Fault, per_mille: u64| {
            course.fault(&format!("bucket {name}:"), &format!("{per_mille} of 1000 requests"));
            fake.faults(|faults| faults.arm_chance(kinds, fault, per_mille, seed));
        };
        match chance.below(11) {
            0 => arm("answers 503", ALL, Fault::Answer(503), per_mille),
            1 => arm("answers 429", ALL, Fault::Answer(429), per_mille),
            2 => arm("answers 403", ALL, Fault::Answer(403), per_mille),
            3 => arm("answers 500 amid a body", ALL, Fault::AnswerAfter(After::Request(1_000), 500), per_mille),
            4 => arm("stalls", Kind::UPLOAD, Fault::Stall, 300),
            5 => arm("loses the last answer", Kind::SESSION, Fault::DropFinalAnswer, per_mille),
            6 => arm("loses sessions", Kind::SESSION, Fault::SessionGone, 300),
            7 => arm("resets connections", ALL, Fault::Reset, per_mille),
            8 => {
                course.fault("connections to the bucket stall", "");
                proxy.set(Mode::Stall);
            }
            9 => {
                course.fault("connections to the bucket are refused", "");
                proxy.set(Mode::Refuse);
                proxy.cut_all();
            }
            _ => {
                let count = proxy.cut_all();
                course.fault("connections to the bucket are cut:", &count.to_string());
            }
        }
        course.pause(&mut chance, SECONDS_15);
        fake.faults(|faults| faults.disarm());
        proxy.set(Mode::Pass);
        course.say("bucket is back");
    }
}

/// MariaDB is killed and started again; connections to it are cut at any packet.
pub(super) fn of_index(course: &Course, mut chance: Chance, server: &mut Server, proxy: &CuttingProxy) {
    while course.lasts() {
        course.pause(&mut chance, SECONDS_15);
        if chance.below(2) == 0 {
            course.fault("index killed", "");
            server.kill();
            course.pause(&mut chance, SECONDS_15);
            server.run();
        } else {
            course.fault("connections to the index are cut at random", "");
            proxy.cut_at_random(10, chance.next());
            course.pause(&mut chance, SECONDS_15);
            proxy.cut_at_random(0, 0);
        }
        course.say("index is back");
    }
}

/// The disk of the spool is full for a while, and a cleaner removes files or all of it.
pub(super) fn of_disk(course: &Course, mut chance: Chance, root: &Path) {
    let ballast = root.join("ballast");
    while course.lasts() {
        course.pause(&mut chance, SECONDS_15);
        match chance.below(3) {
            0 | 1 => {
                course.fault("disk full", "");
                // As much as there is room for.
                let _ = fs::write(&ballast, vec![7; 64 * 1024 * 1024]);
                course.pause(&mut chance, SECONDS_15);
                fs::remove_file(&ballast).expect("it was written");
                course.say("disk has room");
            }
            _ if chance.below(4) == 0 => {
                course.fault("spool removed", "");
                // Daemons write there: what appears meanwhile stays.
                let _ = fs::remove_dir_all(root.join("~kafka-store"));
            }
            _ => {
                let files = spool_files(root);
                let removed =
                    files.iter().filter(|_| chance.below(2) == 0).filter(|file| fs::remove_file(file).is_ok());
                let count = removed.count();
                course.fault("files removed from the spool:", &format!("{count} of {}", files.len()));
            }
        }
    }
}

/// Whatever lies in the directories of the daemons; they come and go.
fn spool_files(root: &Path) -> Vec<PathBuf> {
    let entries = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let directories = entries(&root.join("~kafka-store/tmp")).into_iter().filter(|path| path.is_dir());
    directories.flat_map(|directory| entries(&directory)).collect()
}
