//! Which server holds the index, and how it is reached.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql::{ClientIdentity, OptsBuilder, SslOpts};

/// How long a connection may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long the server may be silent while it owes an answer. Longer than it waits for another's lock.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// How long the server waits for a lock that another transaction holds.
pub(super) const LOCK_SECONDS: u32 = 10;
/// After how long without traffic a dead peer is asked whether it lives.
const KEEPALIVE_MS: u32 = 30_000;

/// The port of a server that names none.
const PORT: u16 = 3306;
/// The user where none is named, as in the original tool.
const USER: &str = "root";

/// Where the index is. `Debug` and `Display` show no password.
#[derive(Clone, PartialEq, Eq)]
pub struct IndexConfig {
    host: String,
    port: u16,
    user: String,
    password: String,
    database: String,
    tls: Tls,
}

/// Whether and how the connection is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// It is not.
    Off,
    /// With TLS.
    On {
        /// PEM file of authorities that count beside the public ones.
        authority: Option<PathBuf>,
        /// PEM files of the client's certificate chain and of its key.
        identity: Option<(PathBuf, PathBuf)>,
        /// Whether the server's certificate and name are checked.
        is_verified: bool,
    },
}

/// Why a URL names no index. It does not say what the URL was, for that holds a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexUrlError {
    /// Another scheme, or none.
    #[error("is not of the form mysql://[user[:password]@]host[:port]/database")]
    Form,
    /// Nothing between the slashes.
    #[error("names no host: mysql://[user[:password]@]host[:port]/database")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("has a port that is none: mysql://[user[:password]@]host[:port]/database")]
    Port,
    /// Nothing after the host.
    #[error("names no database: mysql://[user[:password]@]host[:port]/database")]
    Database,
    /// Something after a question mark.
    #[error("has parameters after `?`, and none are known: there are flags for TLS (--mysql-tls, --mysql-ca)")]
    Parameters,
}

impl IndexConfig {
    /// Reads a URL as the original tool does, and percent escapes besides.
    ///
    /// # Errors
    /// If it is none of an index.
    pub fn parse(url: &str) -> Result<IndexConfig, IndexUrlError> {
        let rest = url.trim().strip_prefix("mysql://").ok_or(IndexUrlError::Form)?;
        if rest.contains(['?', '#']) {
            return Err(IndexUrlError::Parameters);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (account, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = account.split_once(':').unwrap_or((account, ""));
        let (host, port) = split_port(place)?;
        let database = percent_decoded(path.trim_matches('/'));
        if host.is_empty() {
            return Err(IndexUrlError::Host);
        }
        if database.is_empty() {
            return Err(IndexUrlError::Database);
        }
        let user = if user.is_empty() { USER.to_owned() } else { percent_decoded(user) };
        let (host, password) = (percent_decoded(host), percent_decoded(password));
        Ok(IndexConfig { host, port, user, password, database, tls: Tls::Off })
    }

    /// With this password instead of the URL's.
    #[must_use]
    pub fn with_password(self, password: String) -> IndexConfig {
        IndexConfig { password, ..self }
    }

    /// With this encryption.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> IndexConfig {
        IndexConfig { tls, ..self }
    }

    /// The database's name.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// As the client library takes it. Every wait on the socket has an end.
    pub(super) fn opts(&self) -> OptsBuilder {
        let setup = format!(
            "SET SESSION autocommit = 1, SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}, SESSION sql_mode = \
             'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
        );
        OptsBuilder::new()
            .ip_or_hostname(Some(self.host.clone()))
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.clone()))
            .db_name(Some(self.database.clone()))
            // Only the address that was given is spoken to, not a socket that the server there names.
            .prefer_socket(false)
            .ssl_opts(self.ssl_opts())
            .tcp_connect_timeout(Some(CONNECT_TIME))
            .read_timeout(Some(ANSWER_TIME))
            .write_timeout(Some(ANSWER_TIME))
            .tcp_keepalive_time_ms(Some(KEEPALIVE_MS))
            .init(vec![setup, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned()])
    }

    fn ssl_opts(&self) -> Option<SslOpts> {
        let Tls::On { authority, identity, is_verified } = &self.tls else { return None };
        let identity = identity.clone().map(|(certificate, key)| ClientIdentity::new(certificate, key));
        Some(
            SslOpts::default()
                .with_root_cert_path(authority.clone())
                .with_client_identity(identity)
                .with_danger_accept_invalid_certs(!is_verified)
                .with_danger_skip_domain_validation(!is_verified),
        )
    }

    /// The files that must be readable, for messages.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let (authority, identity) = match &self.tls {
            Tls::On { authority, identity, .. } => (authority.as_deref(), identity.as_ref()),
            Tls::Off => (None, None),
        };
        let pair = identity.into_iter().flat_map(|(certificate, key)| [certificate.as_path(), key.as_path()]);
        authority.into_iter().chain(pair)
    }
}

/// The last colon begins the port, but not inside the brackets of an IPv6 address.
fn split_port(place: &str) -> Result<(&str, u16), IndexUrlError> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or(IndexUrlError::Port)?)),
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    match port {
        None | Some("") => Ok((host, PORT)),
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => Err(IndexUrlError::Port),
            Ok(port) => Ok((host, port)),
        },
    }
}

/// `%40` is `@`. What is no escape stands for itself.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escape = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The URL without its password.
impl fmt::Display for IndexConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IndexConfig { host, port, user, database, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        write!(f, "mysql://{user}@{host}:{port}/{database}")
    }
}

impl fmt::Debug for IndexConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:?})", self.tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (String, u16, String, String, String) {
        let config = IndexConfig::parse(url).expect(url);
        (config.host, config.port, config.user, config.password, config.database)
    }

    #[test]
    fn urls_are_the_originals() {
        let expected = |host: &str, port, user: &str, password: &str, database: &str| {
            (host.to_owned(), port, user.to_owned(), password.to_owned(), database.to_owned())
        };
        for (url, read) in [
            ("mysql://db/k", expected("db", 3306, "root", "", "k")),
            ("mysql://me@db:13306/k/", expected("db", 13306, "me", "", "k")),
            ("mysql://me:p:w@db/k", expected("db", 3306, "me", "p:w", "k")),
            ("mysql://m%40e:p%2Fw%25%zz@db/k", expected("db", 3306, "m@e", "p/w%%zz", "k")),
            ("mysql://me:a@b@db/k", expected("db", 3306, "me", "a@b", "k")),
            ("mysql://[::1]:3307/k", expected("::1", 3307, "root", "", "k")),
            ("mysql://[::1]/k", expected("::1", 3306, "root", "", "k")),
        ] {
            assert_eq!(parts(url), read, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_without_its_password() {
        for (url, error) in [
            ("postgres://me:hidden@db/k", IndexUrlError::Form),
            ("db/k", IndexUrlError::Form),
            ("mysql://me:hidden@/k", IndexUrlError::Host),
            ("mysql://me:hidden@db:x/k", IndexUrlError::Port),
            ("mysql://me:hidden@db:0/k", IndexUrlError::Port),
            ("mysql://me:hidden@db", IndexUrlError::Database),
            ("mysql://me:hidden@db/k?ssl=1", IndexUrlError::Parameters),
        ] {
            assert_eq!(IndexConfig::parse(url), Err(error), "{url}");
            assert!(!error.to_string().contains("hidden"));
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let config = IndexConfig::parse("mysql://me:hidden@[::1]/k").expect("a URL").with_password("secret".into());
        let shown = format!("{config} {config:?}");
        assert!(shown.starts_with("mysql://me@[::1]:3306/k "), "{shown}");
        assert!(!shown.contains("hidden") && !shown.contains("secret"), "{shown}");
    }
}
