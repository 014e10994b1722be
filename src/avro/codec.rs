//! The codecs that blocks can have: their names, their levels, how the command line writes them.

use std::fmt;

/// libdeflate's level when none is given.
///
/// The fastest one, because its files are not larger than the original tool's (zlib level 6, blocks of 16,000
/// bytes) on records of 1 KiB: 0.88 to 0.95 of them, and 0.88 and 1.00 on the golden data. Very short records pay
/// about two bytes each for their offset, which the original did not store: there no level up to 9 makes up
/// for it (1.05 at level 1, 1.06 at 6). `examples/deflate_levels.rs` measures it.
pub const DEFLATE_LEVEL_DEFAULT: u8 = 1;

/// Zstandard's level when none is given: the fastest one, which already is faster and smaller than deflate's.
pub const ZSTANDARD_LEVEL_DEFAULT: u8 = 1;

/// How the blocks of a new file are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    Null,
    /// Raw deflate, which every Avro reader has.
    Deflate {
        /// libdeflate's level, 1 (fastest) to 12 (smallest).
        level: u8,
    },
    /// Snappy: nothing is faster, and little is larger.
    Snappy,
    /// Zstandard: faster and smaller than deflate, for readers that have it.
    Zstandard {
        /// Zstandard's level, 1 (fastest) to 19 (smallest). The levels beyond ask readers for large windows, and
        /// gain nothing on blocks of 64 KiB.
        level: u8,
    },
}

/// The codecs that files of ours can have, as readers see them: without the writer's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockCodec {
    /// Blocks are stored as they are.
    Null,
    /// Blocks are raw deflate.
    Deflate,
    /// Blocks are raw Snappy, then four bytes of CRC-32.
    Snappy,
    /// Blocks are Zstandard frames.
    Zstandard,
}

/// Why a string is not a codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no codec: write deflate or deflate:LEVEL (1, fastest, to 12, smallest), zstandard or zstandard:LEVEL \
     (1 to 19), snappy, or null"
)]
pub struct InvalidCodec {
    /// What was given.
    pub text: String,
}

impl Default for Codec {
    fn default() -> Codec {
        Codec::Deflate { level: DEFLATE_LEVEL_DEFAULT }
    }
}

impl Codec {
    /// Reads `deflate`, `deflate:LEVEL`, `zstandard`, `zstandard:LEVEL`, `snappy` or `null`; `zstd` is `zstandard`.
    ///
    /// # Errors
    /// [`InvalidCodec`], whose text lists what is accepted.
    pub fn parse(text: &str) -> Result<Codec, InvalidCodec> {
        let (name, level) = match text.split_once(':') {
            None => (text, None),
            Some((name, level)) => (name, Some(level)),
        };
        let codec = match (name, level) {
            ("null", None) => Some(Codec::Null),
            ("snappy", None) => Some(Codec::Snappy),
            ("deflate", None) => Some(Codec::Deflate { level: DEFLATE_LEVEL_DEFAULT }),
            ("deflate", Some(level)) => parse_level(level, 12).map(|level| Codec::Deflate { level }),
            ("zstandard" | "zstd", None) => Some(Codec::Zstandard { level: ZSTANDARD_LEVEL_DEFAULT }),
            ("zstandard" | "zstd", Some(level)) => parse_level(level, 19).map(|level| Codec::Zstandard { level }),
            _ => None,
        };
        codec.ok_or_else(|| InvalidCodec { text: text.into() })
    }

    /// What a reader needs to know of it.
    pub const fn block_codec(self) -> BlockCodec {
        match self {
            Codec::Null => BlockCodec::Null,
            Codec::Deflate { .. } => BlockCodec::Deflate,
            Codec::Snappy => BlockCodec::Snappy,
            Codec::Zstandard { .. } => BlockCodec::Zstandard,
        }
    }

    /// The value of `avro.codec`.
    pub const fn avro_name(self) -> &'static str {
        self.block_codec().avro_name()
    }
}

/// Digits alone, and 1 to `most`.
fn parse_level(digits: &str, most: u8) -> Option<u8> {
    let level = if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None };
    level.filter(|level| (1..=most).contains(level))
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.avro_name())?;
        match self {
            Codec::Null | Codec::Snappy => Ok(()),
            Codec::Deflate { level } | Codec::Zstandard { level } => write!(f, ":{level}"),
        }
    }
}

impl BlockCodec {
    const ALL: [BlockCodec; 4] = [BlockCodec::Null, BlockCodec::Deflate, BlockCodec::Snappy, BlockCodec::Zstandard];

    /// The value of `avro.codec`.
    pub const fn avro_name(self) -> &'static str {
        match self {
            BlockCodec::Null => "null",
            BlockCodec::Deflate => "deflate",
            BlockCodec::Snappy => "snappy",
            BlockCodec::Zstandard => "zstandard",
        }
    }

    /// Reads the value of `avro.codec` back.
    pub fn from_avro_name(name: &str) -> Option<BlockCodec> {
        Self::ALL.into_iter().find(|codec| codec.avro_name() == name)
    }
}

impl fmt::Display for BlockCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.avro_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_read_back_as_they_display() {
        let deflate = |level| Codec::Deflate { level };
        let zstandard = |level| Codec::Zstandard { level };
        for codec in [Codec::Null, Codec::Snappy, deflate(1), deflate(12), zstandard(1), zstandard(19)] {
            assert_eq!(Codec::parse(&codec.to_string()), Ok(codec));
            assert_eq!(BlockCodec::from_avro_name(codec.avro_name()), Some(codec.block_codec()));
        }
        assert_eq!(Codec::parse("deflate"), Ok(Codec::default()));
        assert_eq!(Codec::parse("zstandard"), Ok(zstandard(1)));
        assert_eq!([Codec::parse("zstd"), Codec::parse("zstd:19")], [Ok(zstandard(1)), Ok(zstandard(19))]);
        assert_eq!(BlockCodec::from_avro_name("zstd"), None, "Avro knows no such codec");
    }

    #[test]
    fn what_is_no_codec_is_told_what_is() {
        for text in [
            "",
            "zip",
            "deflate:",
            "deflate:0",
            "deflate:13",
            "deflate:+6",
            "null:1",
            "Deflate",
            "deflate:6:6",
            "zstandard:",
            "zstandard:0",
            "zstandard:20",
            "zstandard:-1",
            "zstd:257",
            "snappy:",
            "snappy:1",
            "snappy ",
        ] {
            let error = Codec::parse(text).expect_err(text).to_string();
            for name in ["deflate:LEVEL", "zstandard:LEVEL", "snappy", "null"] {
                assert!(error.contains(name), "{error}");
            }
        }
    }
}
