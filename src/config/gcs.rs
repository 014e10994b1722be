//! How a bucket is used.

use super::duration::parse_duration;
use super::size::parse_size;
use crate::cli::{DaemonArgs, GcsArgs};
use crate::store::{GcsCredentials, GcsSettings, GcsUrl, Jitter};
use slog::Logger;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What emulators' users set.
const EMULATOR: &str = "STORAGE_EMULATOR_HOST";

/// How the service is reached: for everything that reads or writes an archive there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsAccess {
    endpoint: Option<String>,
    credentials: GcsCredentials,
    idle_timeout: Duration,
}

/// `--gcloud-store-url`, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsConfig {
    /// Where the archive lies.
    pub url: GcsUrl,
    access: GcsAccess,
    chunk_bytes: Option<u64>,
    storage_class: Option<String>,
    kms_key: Option<String>,
    metadata: BTreeMap<String, String>,
    /// `--gcs-resume-sessions`
    pub resumes_sessions: bool,
}

impl GcsAccess {
    /// Reads the flags, and for the endpoint the environment.
    ///
    /// # Errors
    /// Each line says what is wrong with a flag.
    pub fn parse(args: &GcsArgs) -> Result<GcsAccess, String> {
        let variable = || std::env::var(EMULATOR).ok().filter(|host| !host.trim().is_empty());
        let endpoint = match (&args.gcs_endpoint, variable()) {
            (Some(given), _) => {
                Some(parse_endpoint(given).map_err(|error| format!("--gcs-endpoint {given:?} {error}"))?)
            }
            (None, Some(host)) => {
                let url = if host.contains("://") { host.clone() } else { format!("http://{host}") };
                Some(parse_endpoint(&url).map_err(|error| format!("{EMULATOR} {host:?} {error}"))?)
            }
            (None, None) => None,
        };
        let idle_timeout = parse_duration(&args.gcs_idle_timeout)
            .map_err(|error| format!("--gcs-idle-timeout {:?} {error}", args.gcs_idle_timeout))?;
        Ok(GcsAccess { endpoint, credentials: args.gcs_credentials, idle_timeout })
    }

    /// Settings for an archive there.
    pub fn settings(&self, url: GcsUrl, log: &Logger) -> GcsSettings {
        GcsSettings {
            endpoint: self.endpoint.clone(),
            credentials: self.credentials,
            idle_timeout: self.idle_timeout,
            ..GcsSettings::new(url, log)
        }
    }
}

impl GcsConfig {
    /// Reads the flags; `None` without `--gcloud-store-url`.
    pub(super) fn parse(args: &DaemonArgs) -> Result<Option<GcsConfig>, Vec<String>> {
        let mut problems = Vec::new();
        let Some(url) = &args.gcloud_store_url else {
            let only = |flag: &str| format!("{flag} is only for --gcloud-store-url: give both, or neither");
            for (flag, is_given) in [
                ("--gcs-chunk-size", args.gcs_chunk_size.is_some()),
                ("--gcs-storage-class", args.gcs_storage_class.is_some()),
                ("--gcs-kms-key", args.gcs_kms_key.is_some()),
                ("--gcs-metadata", !args.gcs_metadata.is_empty()),
            ] {
                if is_given {
                    problems.push(only(flag));
                }
            }
            return if problems.is_empty() { Ok(None) } else { Err(problems) };
        };
        let mut note = |problem: String| problems.push(problem);
        let parsed = url.parse().map_err(|error| note(format!("--gcloud-store-url {url:?} {error}"))).ok();
        let access = GcsAccess::parse(&args.gcs).map_err(&mut note).ok();
        let chunk_bytes = args.gcs_chunk_size.as_deref().map(parse_chunk).transpose();
        let chunk_bytes = chunk_bytes.map_err(|error| note(format!("--gcs-chunk-size {error}"))).ok();
        let metadata = parse_metadata(&args.gcs_metadata).map_err(|error| note(format!("--gcs-metadata {error}"))).ok();
        let config = (|| {
            Some(GcsConfig {
                url: parsed?,
                access: access?,
                chunk_bytes: chunk_bytes?,
                storage_class: args.gcs_storage_class.clone(),
                kms_key: args.gcs_kms_key.clone(),
                metadata: metadata?,
                resumes_sessions: args.gcs_resume_sessions,
            })
        })();
        config.map(Some).ok_or(problems)
    }

    /// Settings for the archive.
    pub fn settings(&self, jitter: Jitter, log: &Logger) -> GcsSettings {
        GcsSettings {
            chunk_bytes: self.chunk_bytes,
            storage_class: self.storage_class.clone(),
            kms_key: self.kms_key.clone(),
            metadata: self.metadata.clone(),
            jitter: Arc::clone(&jitter),
            ..self.access.settings(self.url.clone(), log)
        }
    }
}

fn parse_endpoint(text: &str) -> Result<String, &'static str> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest.map(|rest| rest.trim_end_matches('/')) {
        Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#']) && !rest.contains(char::is_whitespace) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("must be http://HOST:PORT or https://HOST"),
    }
}

fn parse_chunk(text: &str) -> Result<u64, String> {
    const QUANTUM: u64 = 256 * 1024;
    let bytes = parse_size(text).map_err(|error| format!("{text:?} {error}"))?.get();
    if bytes.is_multiple_of(QUANTUM) {
        Ok(bytes)
    } else {
        Err(format!("{text:?} is no multiple of 256Ki (262144 bytes), as the service wants it: 16Mi is one"))
    }
}

fn parse_metadata(texts: &[String]) -> Result<BTreeMap<String, String>, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} must be KEY=VALUE"))?;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if key.is_empty() || !key.chars().all(legal) || value.chars().any(char::is_control) {
            return Err(format!("{text:?} must have a key of letters, digits, - and _, and a value in one line"));
        }
        Ok((key.to_owned(), value.to_owned()))
    };
    let all: BTreeMap<String, String> = texts.iter().map(pair).collect::<Result<_, _>>()?;
    // The service takes 8 KiB in all; the program's own may have 4.
    if all.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > 4096 {
        return Err("has more than 4096 bytes in all".to_owned());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_addresses_and_nothing_more() {
        assert_eq!(parse_endpoint("http://127.0.0.1:80/").as_deref(), Ok("http://127.0.0.1:80"));
        for wrong in ["127.0.0.1:80", "http://", "ftp://x", "http://user@host", "http://x?y"] {
            assert!(parse_endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn chunks_are_whole_quanta() {
        assert_eq!(parse_chunk("16Mi"), Ok(16 << 20));
        assert!(parse_chunk("16M").expect_err("no multiple").contains("multiple of 256Ki"));
    }

    #[test]
    fn metadata_are_pairs() {
        let texts = ["team=data".to_owned(), "a=b=c".to_owned()];
        assert_eq!(parse_metadata(&texts).expect("legal")["a"], "b=c");
        assert!(parse_metadata(&["x".to_owned()]).is_err() && parse_metadata(&["a b=c".to_owned()]).is_err());
        assert!(parse_metadata(&[format!("a={}", "x".repeat(5000))]).is_err());
    }
}
