//! Which records are printed: flags that `read` and `kafka-store-reader` share.

use super::error::CommandError;
use crate::archive::{OffsetWindow, TimeWindow, Window};
use clap::Args;
use kafka_store_statecharts::TimestampMs;
use kafka_store_statecharts::offset::Offset;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// Which records are printed, and with how many threads.
#[derive(Args, Clone, Debug, Default)]
pub struct WindowArgs {
    /// Leave out the records before this offset (of each partition)
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset, global = true)]
    pub from_offset: Option<Offset>,
    /// Leave out the records after this offset (of each partition)
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset, global = true)]
    pub to_offset: Option<Offset>,
    /// Leave out the records before this time: 2026-11-22T10:00:00Z, 2026-11-22 (UTC), or ms since 1970
    ///
    /// By the records' own timestamps. Files whose timestamps all lie outside are not read.
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_negative_numbers = true, global = true)]
    pub from_time: Option<TimestampMs>,
    /// Leave out the records of this time and later
    #[arg(long, value_name = "TIME", value_parser = parse_time, allow_negative_numbers = true, global = true)]
    pub to_time: Option<TimestampMs>,
    /// How many threads decode [default: one for each core]
    #[arg(long, value_name = "N", value_parser = super::parse_parallel, global = true)]
    pub parallel: Option<usize>,
}

impl WindowArgs {
    /// The window that the flags make.
    pub(super) fn window(&self) -> Result<Window, CommandError> {
        if let (Some(from), Some(to)) = (self.from_offset, self.to_offset)
            && to < from
        {
            return Err(CommandError::new(format!("--to-offset {to} is before --from-offset {from}")));
        }
        if let (Some(from), Some(to)) = (self.from_time, self.to_time)
            && to <= from
        {
            return Err(CommandError::new("--to-time is not after --from-time: no record is between them"));
        }
        Ok(Window {
            offsets: OffsetWindow { from: self.from_offset, to: self.to_offset },
            times: TimeWindow { from: self.from_time, to: self.to_time },
        })
    }

    pub(super) fn threads(&self) -> usize {
        self.parallel.unwrap_or_else(super::cores)
    }
}

pub(super) fn parse_offset(text: &str) -> Result<Offset, String> {
    let offset = text.parse().ok().and_then(Offset::new);
    offset.ok_or_else(|| "an offset is a whole number from 0 on".into())
}

/// A time of RFC 3339, a date (its first moment, UTC), or milliseconds since 1970 as Kafka counts them.
pub(super) fn parse_time(text: &str) -> Result<TimestampMs, String> {
    let date = || Date::parse(text, format_description!("[year]-[month]-[day]")).ok();
    let moment = || OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| Some(date()?.midnight().assume_utc()));
    let milliseconds = text.parse().ok().or_else(|| i64::try_from(moment()?.unix_timestamp_nanos() / 1_000_000).ok());
    milliseconds.ok_or_else(|| {
        "a time is written as 2026-11-22T10:00:00Z (or with an offset, +01:00), as the date 2026-11-22 (UTC), or as \
         milliseconds since 1970"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_ways() {
        for (text, expected) in [
            ("1700000000000", 1_700_000_000_000),
            ("-1", -1),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T23:13:20.5+01:00", 1_700_000_000_500),
            ("2023-11-14", 1_699_920_000_000),
        ] {
            assert_eq!(parse_time(text), Ok(expected), "{text}");
        }
        for wrong in ["", "yesterday", "2023-11-14T22:13:20", "2023-13-01", "2023-11-14 22:13"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
