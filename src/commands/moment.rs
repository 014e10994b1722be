//! Moments on the command line.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads a moment, in milliseconds since 1970: a number of them, or a date and time with its zone.
pub(super) fn parse_moment(text: &str) -> Result<i64, String> {
    if let Ok(milliseconds) = text.trim().parse() {
        return Ok(milliseconds);
    }
    OffsetDateTime::parse(text.trim(), &Rfc3339)
        .ok()
        .and_then(|moment| i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok())
        .ok_or_else(|| "a time is 2026-11-22T10:57:45Z (with a zone), or milliseconds since 1970".into())
}

/// A moment as people read it, where it has a date.
pub(super) fn shown(milliseconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| milliseconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_numbers_or_dates() {
        for (text, moment) in [
            ("0", Ok(0)),
            ("-1", Ok(-1)),
            ("1478570870012", Ok(1_478_570_870_012)),
            ("2016-11-08T02:07:50.012Z", Ok(1_478_570_870_012)),
            ("2016-11-08T03:07:50.012+01:00", Ok(1_478_570_870_012)),
            ("1969-12-31T23:59:59.9999Z", Ok(-1)),
            ("yesterday", Err(())),
            ("2016-11-08T02:07:50", Err(())),
        ] {
            assert_eq!(parse_moment(text).map_err(drop), moment, "{text}");
        }
        assert_eq!(shown(1_478_570_870_012), "2016-11-08T02:07:50.012Z");
        assert_eq!(shown(i64::MAX), i64::MAX.to_string());
    }
}
