//! Spans of time on the command line.

use std::time::Duration;

/// The longest span that is accepted, some 136 years: sums and multiples of it stay far from any limit.
const SECONDS_MAX: u64 = u32::MAX as u64;

/// Why a text is not a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The flag takes a bare number.
    #[error("must be a whole number of seconds")]
    NotSeconds,
    /// The flag takes a unit too.
    #[error("is not a time: write 30 or 30s, 5m, 1h")]
    NotATime,
    /// Nothing, or less.
    #[error("must be at least one second")]
    TooShort,
    /// More than a 32-bit number of seconds.
    #[error("is too long: at most 4294967295 seconds")]
    TooLong,
}

/// A whole number of seconds.
pub fn parse_seconds(text: &str) -> Result<Duration, DurationError> {
    seconds(text.trim(), 1, DurationError::NotSeconds)
}

/// A whole number of seconds, or of `s`, `m` or `h`.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let (number, unit_seconds) = if let Some(number) = text.strip_suffix('h') {
        (number, 3600)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60)
    } else {
        (text.strip_suffix('s').unwrap_or(text), 1)
    };
    seconds(number, unit_seconds, DurationError::NotATime)
}

fn seconds(number: &str, unit_seconds: u64, otherwise: DurationError) -> Result<Duration, DurationError> {
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(otherwise);
    }
    let is_zero = digits.bytes().all(|byte| byte == b'0');
    if is_zero || number.starts_with('-') {
        return Err(DurationError::TooShort);
    }
    let whole = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_seconds));
    match whole {
        Some(whole) if whole <= SECONDS_MAX => Ok(Duration::from_secs(whole)),
        _ => Err(DurationError::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_have_a_unit() {
        for (text, expected) in [("30", 30), ("30s", 30), ("5m", 300), ("1h", 3600), (" 7 ", 7), ("+7", 7), ("007", 7)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(expected)), "{text:?}");
        }
        for text in ["", "s", "m", "1d", "5 m", "1.5h", "5M", "1h30m", "--1", "x"] {
            assert_eq!(parse_duration(text), Err(DurationError::NotATime), "{text:?}");
        }
    }

    #[test]
    fn seconds_are_a_whole_number() {
        assert_eq!(parse_seconds("3600"), Ok(Duration::from_secs(3600)));
        for text in ["1.5", "1h", "", "1e3", "nan"] {
            assert_eq!(parse_seconds(text), Err(DurationError::NotSeconds), "{text:?}");
        }
    }

    #[test]
    fn spans_have_limits() {
        for text in ["0", "-1", "000", "-0"] {
            assert_eq!(parse_seconds(text), Err(DurationError::TooShort), "{text:?}");
        }
        assert_eq!(parse_seconds("4294967295"), Ok(Duration::from_secs(SECONDS_MAX)));
        for text in ["4294967296", "99999999999999999999999"] {
            assert_eq!(parse_seconds(text), Err(DurationError::TooLong), "{text:?}");
        }
        assert_eq!(parse_duration("99999999999h"), Err(DurationError::TooLong));
    }
}
