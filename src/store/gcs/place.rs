//! Where in Google Cloud Storage an archive lies, and what its objects are called there.

use kafka_store_statecharts::name::RESERVED;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::str::FromStr;

/// What a name keeps of itself in a URL.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `gs://bucket` or `gs://bucket/some/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsUrl {
    bucket: String,
    /// Without slashes at its ends; may be empty.
    prefix: String,
}

/// Why a text is not such a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GcsUrlError(&'static str);

impl GcsUrl {
    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What all names begin with, without slashes at its ends; may be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for GcsUrl {
    type Err = GcsUrlError;

    fn from_str(text: &str) -> Result<GcsUrl, GcsUrlError> {
        let rest = text.strip_prefix("gs://").ok_or(GcsUrlError("must be gs://BUCKET or gs://BUCKET/PREFIX"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if !(3..=222).contains(&bucket.len()) || !bucket.bytes().all(legal) {
            return Err(GcsUrlError("must name a bucket: 3 or more of a-z, 0-9, - _ and ."));
        }
        if prefix.chars().any(char::is_control) || prefix.contains('?') || prefix.contains('#') {
            return Err(GcsUrlError("has a prefix with control characters, ? or #"));
        }
        // 1024 bytes are the most that a name may have; ours is the longest for a topic of 249 characters.
        if prefix.len() > 512 {
            return Err(GcsUrlError("has a prefix of more than 512 bytes"));
        }
        // What a name under `~kafka-store/` means is this program's own business.
        if prefix.split('/').any(|part| part == RESERVED) {
            return Err(GcsUrlError(
                "has a prefix with ~kafka-store in it, which is kept for the program's own objects",
            ));
        }
        Ok(GcsUrl { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for GcsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gs://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// Bucket, and what stands before every name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: String,
    /// Empty, or ends with a slash; only `/` in a bucket that the original tool filled without a prefix.
    pub(super) root: String,
}

impl Place {
    pub(super) fn of(url: &GcsUrl) -> Place {
        let root = if url.prefix.is_empty() { String::new() } else { format!("{}/", url.prefix) };
        Place { bucket: url.bucket.clone(), root }
    }

    /// With the slash at the front of each name that the original tool writes where there is no prefix.
    pub(super) fn with_leading_slash(&self) -> Place {
        Place { bucket: self.bucket.clone(), root: "/".to_owned() }
    }

    /// An object's whole name.
    pub(super) fn object(&self, name: &str) -> String {
        format!("{}{name}", self.root)
    }

    /// For messages.
    pub(super) fn location(&self, name: &str) -> String {
        format!("gs://{}/{}{name}", self.bucket, self.root)
    }
}

/// A name as a part of a URL's path, or a value of its query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket_and_a_prefix() {
        let place = |text: &str| Place::of(&text.parse::<GcsUrl>().expect(text)).object("t/000000/1");
        assert_eq!(place("gs://my-bucket/some/prefix/"), "some/prefix/t/000000/1");
        assert_eq!(place("gs://my-bucket/some/prefix"), "some/prefix/t/000000/1");
        assert_eq!(place("gs://my-bucket"), "t/000000/1");
        assert_eq!(place("gs://my-bucket/"), "t/000000/1");
        let long = format!("gs://bucket/{}", "x".repeat(513));
        for wrong in ["my-bucket", "s3://my-bucket", "gs://", "gs://A-Bucket", "gs://b/p", "gs://bucket/a?b", &long] {
            assert!(wrong.parse::<GcsUrl>().is_err(), "{wrong}");
        }
        assert!("gs://bucket/~kafka-store".parse::<GcsUrl>().is_err());
        assert_eq!("gs://bucket/a/b/".parse::<GcsUrl>().expect("legal").to_string(), "gs://bucket/a/b");
    }

    #[test]
    fn names_are_encoded_whole() {
        assert_eq!(encoded("/~kafka-store/a b/ä"), "%2F~kafka-store%2Fa%20b%2F%C3%A4");
    }
}
