//! The daemons of the group: killed, stopped and ended at random, and started again as Kubernetes would.

use super::course::Course;
use crate::support::daemon::{Daemon, Running};
use crate::support::seed::Chance;
use std::path::Path;
use std::time::Duration;

/// How many daemons are in the group.
pub(super) const MEMBERS: usize = 3;

pub(super) struct Members<'a> {
    course: &'a Course,
    /// The command line of a daemon.
    daemon: &'a (dyn Fn() -> Daemon + Sync),
    running: Vec<Running>,
    /// Logs of the processes that have ended.
    ended: Vec<String>,
}

impl<'a> Members<'a> {
    pub(super) fn start(course: &'a Course, daemon: &'a (dyn Fn() -> Daemon + Sync)) -> Members<'a> {
        let running = (0..MEMBERS).map(|_| daemon().spawn()).collect();
        Members { course, daemon, running, ended: Vec::new() }
    }

    /// Lets members fail until the run's end. Then all of them run.
    pub(super) fn fail(&mut self, mut chance: Chance) {
        while self.course.lasts() {
            self.course.pause(&mut chance, Duration::from_secs(8));
            self.look();
            let number = usize::try_from(chance.below(MEMBERS as u64)).expect("small");
            let on = number.to_string();
            match chance.below(5) {
                0 | 1 => {
                    let all = chance.below(6) == 0;
                    let numbers = if all { (0..MEMBERS).collect() } else { vec![number] };
                    self.course.fault("daemons killed:", &format!("{numbers:?}"));
                    numbers.iter().for_each(|number| self.running[*number].kill());
                    self.course.pause(&mut chance, Duration::from_secs(5));
                    numbers.into_iter().for_each(|number| self.start_again(number));
                }
                2 | 3 => {
                    self.course.fault("daemon suspended:", &on);
                    self.running[number].stop();
                    // Beyond the session's time-out, mostly.
                    self.course.pause(&mut chance, Duration::from_secs(15));
                    self.running[number].go_on();
                }
                _ => {
                    self.course.fault("daemon terminated:", &on);
                    let code = self.running[number].terminate();
                    // Without a code: the signal came before there was anything to end.
                    if code.is_some_and(|code| code != 0) {
                        self.course.is_wrong(format!("daemon {number} ended on SIGTERM with {code:?}"));
                    }
                    self.start_again(number);
                }
            }
            self.course.say(&format!("daemons run: {MEMBERS}"));
        }
    }

    fn start_again(&mut self, number: usize) {
        let before = std::mem::replace(&mut self.running[number], (self.daemon)().spawn());
        self.ended.push(before.log());
    }

    /// No daemon that runs ends by itself. One that has is started again, so that the run goes on.
    pub(super) fn look(&mut self) {
        for number in 0..MEMBERS {
            if !self.running[number].is_running() {
                let code = self.running[number].wait().code();
                let log = self.running[number].log();
                let last = log.lines().rev().find(|line| !line.starts_with('%')).unwrap_or_default().to_owned();
                // What the bucket refuses keeps a daemon from starting, and says so. Kubernetes starts it again.
                if code == Some(1) && last.contains("cannot start") && last.contains("answered 403") {
                    self.course.fault("daemon refused at its start:", &number.to_string());
                } else {
                    self.course.is_wrong(format!("daemon {number} ended by itself with {code:?}: {last}"));
                }
                self.start_again(number);
            }
        }
    }

    /// Ends all of them in good order.
    pub(super) fn end(&mut self) {
        for (number, running) in self.running.iter_mut().enumerate() {
            let code = running.terminate();
            if code != Some(0) {
                self.course.is_wrong(format!("daemon {number} ended on SIGTERM with {code:?}"));
            }
        }
    }

    /// Writes the logs of all processes to a directory.
    pub(super) fn keep_logs(&self, directory: &Path) {
        std::fs::create_dir_all(directory).expect("created");
        let logs = self.ended.iter().cloned().chain(self.running.iter().map(Running::log));
        for (number, log) in logs.enumerate() {
            std::fs::write(directory.join(format!("process-{number:03}.log")), log).expect("written");
        }
    }
}
