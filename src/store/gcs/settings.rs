//! How a bucket is used.

use super::auth::GcsCredentials;
use super::client::{Draw, Jitter};
use super::place::GcsUrl;
use slog::Logger;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How a bucket is used.
#[derive(Clone, Debug)]
pub struct GcsSettings {
    /// Where the archive lies.
    pub url: GcsUrl,
    /// Another service than Google's: an emulator, a private endpoint.
    pub endpoint: Option<String>,
    /// Who asks.
    pub credentials: GcsCredentials,
    /// How many bytes are sent in one request, a multiple of 256 KiB; `None`: all that are left.
    pub chunk_bytes: Option<u64>,
    /// The storage class of new objects; `None`: the bucket's.
    pub storage_class: Option<String>,
    /// The key that encrypts new objects; `None`: the bucket's.
    pub kms_key: Option<String>,
    /// Kept with each new object, beside what the program says of it.
    pub metadata: BTreeMap<String, String>,
    /// A request in which nothing moves for this long is given up.
    pub idle_timeout: Duration,
    /// Spreads retries.
    pub jitter: Jitter,
    /// The log.
    pub log: Logger,
}

impl GcsSettings {
    /// The defaults, for an archive there.
    pub fn new(url: GcsUrl, log: &Logger) -> GcsSettings {
        GcsSettings {
            url,
            endpoint: None,
            credentials: GcsCredentials::Auto,
            chunk_bytes: None,
            storage_class: None,
            kms_key: None,
            metadata: BTreeMap::new(),
            idle_timeout: Duration::from_secs(60),
            jitter: Arc::new(NoJitter),
            log: log.clone(),
        }
    }
}

/// Always nothing.
#[derive(Debug)]
struct NoJitter;

impl Draw for NoJitter {
    fn draw(&self) -> f64 {
        0.0
    }
}
