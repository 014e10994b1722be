//! Why a daemon did not start, and whether it is worth waiting.

use crate::archive::{FirstStart, FirstStartError, OriginsUnknown};
use crate::index::IndexError;
use crate::kafka::ffi::KafkaError;
use crate::store::{ArchiveStore, StoreError};
use kafka_store_statecharts::failure::{Lasts, Port};
use std::fmt;

/// Why a start failed.
#[derive(Debug)]
pub(crate) struct StartError {
    reason: String,
    waits: Waits,
}

/// What is worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Somebody has to act.
    No,
    /// It passes.
    Yes,
    /// It passes if it has worked before. At a first start it may as well be a wrong flag, which is to be said at once.
    IfStartedBefore,
}

impl StartError {
    /// A question to the brokers failed.
    pub(super) fn kafka(error: &KafkaError, reason: String) -> StartError {
        let passes = Port::Kafka.lasts(error.class(Port::Kafka)) == Lasts::ForNow;
        StartError { reason, waits: if passes { Waits::IfStartedBefore } else { Waits::No } }
    }

    /// A question to the index failed.
    pub(super) fn index(error: &IndexError, index: &str) -> StartError {
        let passes = error.failure().passes();
        let waits = if passes { Waits::IfStartedBefore } else { Waits::No };
        StartError { reason: format!("{index}: {error}"), waits }
    }

    /// Decides by the store, which remembers a group's first start, whether there was one.
    pub(super) fn judged(self, store: &dyn ArchiveStore, group: &str) -> StartError {
        if self.waits != Waits::IfStartedBefore {
            return self;
        }
        match FirstStart::read(store, group) {
            Ok(Some(_)) => StartError { waits: Waits::Yes, ..self },
            Ok(None) => StartError { waits: Waits::No, ..self },
            Err(error) => error.into(),
        }
    }

    /// True if a later try may succeed without anybody's help.
    pub(super) fn passes(&self) -> bool {
        self.waits == Waits::Yes
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<String> for StartError {
    fn from(reason: String) -> StartError {
        StartError { reason, waits: Waits::No }
    }
}

impl From<OriginsUnknown> for StartError {
    fn from(unknown: OriginsUnknown) -> StartError {
        let waits = if unknown.passes { Waits::IfStartedBefore } else { Waits::No };
        StartError { reason: unknown.reason, waits }
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> StartError {
        let waits = if error.is_transient() { Waits::Yes } else { Waits::No };
        StartError { reason: error.to_string(), waits }
    }
}

impl From<FirstStartError> for StartError {
    fn from(error: FirstStartError) -> StartError {
        match error {
            FirstStartError::Store(error) => error.into(),
            unreadable => unreadable.to_string().into(),
        }
    }
}
