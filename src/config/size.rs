//! Sizes in bytes, as the original reads them.

use std::num::NonZeroU64;

/// Why a text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// It says neither a number nor a number with a known unit.
    #[error("is not a size: write 64M for 64,000,000 bytes, 64Mi for 67,108,864, or a plain number of bytes")]
    NotASize,
    /// `512B`: the parser of the original refuses it too, and a bare B could also mean bits.
    #[error("has no known unit: a plain number already counts bytes, without the B")]
    BareB,
    /// Nothing, or less.
    #[error("must be more than zero")]
    NotPositive,
    /// More bytes than 64 bits count.
    #[error("is too large")]
    TooLarge,
}

/// The number of bytes that a text says, read as `bitmath.parse_string_unsafe` 1.3.1 reads it, which the
/// original pins: `64M` and `64MB` are 64,000,000, `64Mi` and `64MiB` are 67,108,864, upper and lower
/// case are the same, decimals are allowed. (Upper-case `64MI` was an error there.)
///
/// A part of a byte is rounded up: a file has reached 1.5 bytes when it has 2.
pub fn parse_size(text: &str) -> Result<NonZeroU64, SizeError> {
    let (number, unit) = match Decimal::parse(text) {
        Some(number) => (number, 1),
        None => {
            let unit_start = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(not_a_number(text))?;
            let (number, unit) = text.split_at(unit_start);
            let unit = unit_bytes(unit)?;
            if number.contains(['e', 'E']) {
                return Err(SizeError::NotASize);
            }
            (Decimal::parse(number).ok_or(not_a_number(number))?, unit)
        }
    };
    let bytes = number.times(unit).ok_or(SizeError::TooLarge)?;
    NonZeroU64::new(bytes).ok_or(SizeError::NotPositive)
}

fn not_a_number(text: &str) -> SizeError {
    let negated = text.trim_start().strip_prefix('-');
    if negated.and_then(Decimal::parse).is_some() { SizeError::NotPositive } else { SizeError::NotASize }
}

/// Bytes in one of a unit; whatever `b` and `B` it ends in mean nothing.
fn unit_bytes(unit: &str) -> Result<u128, SizeError> {
    let unit = unit.to_ascii_lowercase();
    let prefix = unit.trim_end_matches('b');
    let (prefix, base) = match prefix.strip_suffix('i') {
        Some(prefix) => (prefix, 1024_u128),
        None if prefix.is_empty() => return Err(SizeError::BareB),
        None => (prefix, 1000),
    };
    let power = match (prefix, base) {
        ("k", _) => 1,
        ("m", _) => 2,
        ("g", _) => 3,
        ("t", _) => 4,
        ("p", _) => 5,
        ("e", _) => 6,
        ("z", 1000) => 7,
        ("y", 1000) => 8,
        _ => return Err(SizeError::NotASize),
    };
    Ok(base.pow(power))
}

/// A number that is not negative, as it is written: no rounding before the unit is known.
#[derive(Clone, Copy)]
struct Decimal {
    digits: u128,
    /// The power of ten that the digits are multiplied by.
    exponent: i32,
}

impl Decimal {
    /// `[+]digits[.digits][e[+-]digits]` with spaces around it.
    fn parse(text: &str) -> Option<Decimal> {
        let text = text.trim();
        let text = text.strip_prefix('+').unwrap_or(text);
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if mantissa.len() > 30 || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let digits = format!("{whole}{fraction}").parse().ok()?;
        let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        Some(Decimal { digits, exponent })
    }

    /// The product, rounded up; `None` if 64 bits do not hold it.
    fn times(self, unit: u128) -> Option<u64> {
        let product = self.digits.checked_mul(unit)?;
        let scale = 10_u128.checked_pow(self.exponent.unsigned_abs());
        let bytes = match scale {
            _ if product == 0 => 0,
            Some(scale) if self.exponent >= 0 => product.checked_mul(scale)?,
            Some(scale) => product.div_ceil(scale),
            None if self.exponent > 0 => return None,
            // Less than one byte, but more than nothing.
            None => 1,
        };
        u64::try_from(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Result<u64, SizeError> {
        parse_size(text).map(NonZeroU64::get)
    }

    /// What bitmath 1.3.1.2 gives for each of these, run and noted down.
    #[test]
    fn sizes_are_read_as_the_original_reads_them() {
        for (text, expected) in [
            ("64M", 64_000_000),
            ("64m", 64_000_000),
            ("64MB", 64_000_000),
            ("64mb", 64_000_000),
            ("64Mb", 64_000_000),
            ("64MBb", 64_000_000),
            ("64Mi", 67_108_864),
            ("64MiB", 67_108_864),
            ("64mi", 67_108_864),
            ("64Mib", 67_108_864),
            ("1k", 1000),
            ("1K", 1000),
            ("1Kb", 1000),
            ("64kB", 64_000),
            ("64KB", 64_000),
            ("1Ki", 1024),
            ("1ki", 1024),
            ("1.5G", 1_500_000_000),
            ("0.07M", 70_000),
            (".5M", 500_000),
            ("5.M", 5_000_000),
            ("512", 512),
            ("1e3", 1000),
            ("+64M", 64_000_000),
            (" 64M", 64_000_000),
            ("64 M", 64_000_000),
            ("64 ", 64),
            ("1T", 1_000_000_000_000),
            ("1P", 1_000_000_000_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("1Ei", 1 << 60),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_the_original_refuses_is_refused() {
        for text in [
            "", " ", "M", "i", "ib", "1e3M", "64M ", "64X", "64MM", "1Zi", "1.2.3M", "1,5M", "0x10", "1-5", "٣M",
            "64ｍ", ".",
        ] {
            assert_eq!(bytes(text), Err(SizeError::NotASize), "{text:?}");
        }
        for text in ["512B", "10b", "64BB", "1.5B"] {
            assert_eq!(bytes(text), Err(SizeError::BareB), "{text:?}");
        }
    }

    #[test]
    fn only_positive_finite_sizes_are_sizes() {
        for text in ["0", "0M", "0.0", "-5M", "-1", " -5", "0e9", "-0"] {
            assert_eq!(bytes(text), Err(SizeError::NotPositive), "{text:?}");
        }
        for text in ["nan", "NaN", "inf", "-inf", "infinity", "infM"] {
            assert!(bytes(text).is_err(), "{text:?}");
        }
        for text in ["1Z", "1Y", "1e400", "99999E", "18446744073709551616"] {
            assert_eq!(bytes(text), Err(SizeError::TooLarge), "{text:?}");
        }
        assert_eq!(bytes("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn a_part_of_a_byte_is_rounded_up_and_nothing_else_is() {
        for (text, expected) in
            [("0.5", 1), ("512.5", 513), ("1e-3", 1), ("1e-400", 1), ("1.001k", 1001), ("1.0001k", 1001)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn case_never_matters() {
        assert_eq!(bytes("64MI"), Ok(67_108_864));
        assert_eq!(bytes("64mIb"), Ok(67_108_864));
    }
}
