//! The codec of new files.

use std::fmt;

/// What compresses the blocks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecName {
    /// zlib's format without its frame: every Avro reader has it.
    Deflate,
    /// No compression.
    Null,
}

impl CodecName {
    /// The name in Avro's header and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            CodecName::Deflate => "deflate",
            CodecName::Null => "null",
        }
    }
}

/// `--codec NAME[:LEVEL]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecChoice {
    /// Which.
    pub name: CodecName,
    /// How hard it tries; `None` for the codec's default.
    pub level: Option<u8>,
}

/// Why a text is not a choice of codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Another name.
    #[error("is not a codec of this version: write deflate, deflate:LEVEL or null")]
    Unknown,
    /// A level that deflate does not have.
    #[error("has no such level: deflate takes 1 (fast) to 12 (small)")]
    DeflateLevel,
    /// A level for a codec without.
    #[error("takes no level: write null alone")]
    NullLevel,
}

impl CodecChoice {
    /// Reads `NAME[:LEVEL]`.
    pub fn parse(text: &str) -> Result<CodecChoice, CodecError> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        match (name, level) {
            ("deflate", None) => Ok(CodecChoice { name: CodecName::Deflate, level: None }),
            ("deflate", Some(level)) => {
                let level = level.parse().ok().filter(|level| (1..=12).contains(level));
                let level = level.ok_or(CodecError::DeflateLevel)?;
                Ok(CodecChoice { name: CodecName::Deflate, level: Some(level) })
            }
            ("null", None) => Ok(CodecChoice { name: CodecName::Null, level: None }),
            ("null", Some(_)) => Err(CodecError::NullLevel),
            _ => Err(CodecError::Unknown),
        }
    }
}

impl fmt::Display for CodecChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        self.level.map_or(Ok(()), |level| write!(f, ":{level}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_back_as_they_are_written() {
        for text in ["deflate", "deflate:1", "deflate:12", "null"] {
            assert_eq!(CodecChoice::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused_by_their_reason() {
        for text in ["", "gzip", "Deflate", "snappy", "zstandard:3", ":6"] {
            assert_eq!(CodecChoice::parse(text), Err(CodecError::Unknown), "{text:?}");
        }
        for text in ["deflate:", "deflate:0", "deflate:13", "deflate:x", "deflate:1:2", "deflate:300"] {
            assert_eq!(CodecChoice::parse(text), Err(CodecError::DeflateLevel), "{text:?}");
        }
        assert_eq!(CodecChoice::parse("null:1"), Err(CodecError::NullLevel));
    }
}
