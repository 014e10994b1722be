//! Connections that are kept, and what is tried again.

use super::alarm::Alarm;
use super::config::IndexConfig;
use super::error::{IndexError, IndexErrorKind, IndexResult};
use kafka_store_statecharts::failure::Class;
use mysql::Conn;
use slog::Logger;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Connections to one server. As many as threads ask at a time; what a thread is done with, the next one takes.
#[derive(Debug)]
pub(super) struct Connections {
    config: IndexConfig,
    idle: Mutex<Vec<Conn>>,
    alarm: Alarm,
    failures: Mutex<BTreeMap<Class, u64>>,
}

impl Connections {
    /// None yet.
    pub(super) fn new(config: IndexConfig, log: Logger) -> Connections {
        let alarm = Alarm::new(config.to_string(), log);
        Connections { config, idle: Mutex::default(), alarm, failures: Mutex::default() }
    }

    pub(super) fn config(&self) -> &IndexConfig {
        &self.config
    }

    /// Asks over a connection that is idle, or a new one.
    ///
    /// `ask` may be called twice, for a connection that was idle may have been closed long ago; it must look at what is
    /// there before it changes anything.
    pub(super) fn run<T>(&self, mut ask: impl FnMut(&mut Conn) -> IndexResult<T>) -> IndexResult<T> {
        if let Some(idle) = self.take_idle() {
            match self.ask_over(idle, &mut ask) {
                Err(error) if error.kind() == IndexErrorKind::Away => {}
                answer => return answer,
            }
            // The server may have been started anew: none of the others is worth a try.
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let fresh = Conn::new(self.config.opts()).map_err(IndexError::from)?;
        self.ask_over(fresh, &mut ask)
    }

    /// As [`Connections::run`], again and again until there is an answer; meanwhile the log says why not. What does not
    /// pass by itself is an answer.
    pub(super) fn insist<T>(&self, mut ask: impl FnMut(&mut Conn) -> IndexResult<T>) -> IndexResult<T> {
        let mut failures = 0;
        loop {
            match self.run(&mut ask) {
                Err(error) if error.failure().passes() => {
                    failures += 1;
                    self.count(error.class());
                    self.alarm.wait(failures, &error);
                }
                answer => {
                    if answer.is_ok() {
                        self.alarm.over();
                    }
                    return answer;
                }
            }
        }
    }

    /// How often something had to be tried again, by class.
    pub(super) fn failures(&self) -> BTreeMap<Class, u64> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the index does not answer, and for how long, if it does not.
    pub(super) fn trouble(&self) -> Option<(IndexError, Duration)> {
        self.alarm.trouble()
    }

    fn count(&self, class: Class) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(class).or_default() += 1;
    }

    fn ask_over<T>(&self, mut connection: Conn, ask: &mut impl FnMut(&mut Conn) -> IndexResult<T>) -> IndexResult<T> {
        let answer = ask(&mut connection);
        if answer.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        // After an error nothing is known of the connection: a transaction may be open. Closing it undoes that.
        answer
    }

    fn take_idle(&self) -> Option<Conn> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
