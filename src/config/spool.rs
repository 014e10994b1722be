//! Where segments lie until they are stored, and how much there may be.

use super::size::parse_size;
use super::store::{DirectoryError, check_directory};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// `--spool-dir` and `--spool-limit`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolConfig {
    /// A directory that could be written to; `None`: in the local store, or where there is none, in one
    /// for temporary files.
    pub directory: Option<PathBuf>,
    /// The most bytes; `None`: as many as the disk has.
    pub limit_bytes: Option<NonZeroU64>,
}

/// Reads `--spool-limit`, for segments that end at a size, of which so many are stored at a time.
///
/// # Errors
/// If it is no size, or has no room for a segment for each upload.
pub(super) fn parse_spool_limit(text: &str, segments: Option<(NonZeroU64, NonZeroU64)>) -> Result<NonZeroU64, String> {
    let limit = parse_size(text).map_err(|error| error.to_string())?;
    let Some((segment_bytes, uploads)) = segments else { return Ok(limit) };
    let least = segment_bytes.get().saturating_mul(uploads.get());
    if limit.get() < least {
        return Err(format!(
            "is too small: {uploads} files of --file-size ({segment_bytes} bytes) are stored at a time, so give at \
             least {least}, or a smaller --file-size or --upload-pool-size"
        ));
    }
    Ok(limit)
}

/// `--spool-dir`, if it can be written to.
pub(super) fn check_spool_dir(path: &Path) -> Result<PathBuf, DirectoryError> {
    check_directory("--spool-dir", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_room_for_a_segment_an_upload() {
        let segment = NonZeroU64::new(1_000_000).zip(NonZeroU64::new(4));
        assert_eq!(parse_spool_limit("4M", segment), Ok(NonZeroU64::new(4_000_000).expect("not zero")));
        let refused = parse_spool_limit("3.9M", segment).expect_err("too small");
        assert!(refused.contains("at least 4000000"), "{refused}");
        assert!(parse_spool_limit("4X", segment).is_err());
    }
}
