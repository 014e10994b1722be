//! The server's clock: the real one, and what a test has put it forward by.

use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

#[derive(Debug, Default)]
pub(crate) struct Clock {
    ahead: Duration,
}

impl Clock {
    pub(crate) fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.ahead
    }

    pub(crate) fn put_forward(&mut self, by: Duration) {
        self.ahead += by;
    }
}

/// With milliseconds, as the service writes times.
pub(crate) fn rfc_3339(time: OffsetDateTime) -> String {
    const FORMAT: &[FormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.format(&FORMAT).expect("a time of this century")
}
