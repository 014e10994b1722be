//! What can go wrong between here and the server.

use kafka_store_statecharts::failure::{Class, Failure, Port};
use mysql::{DriverError, Error, MySqlError};
use std::fmt;

/// Why a statement did not do its work. It displays as one line without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexError {
    kind: IndexErrorKind,
    /// Instead of the kind's own.
    class: Option<Class>,
    message: String,
}

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexErrorKind {
    /// The connection is of no use, or none came about. What was asked last may have been done or not: the same
    /// transaction is to be made again over a new connection, and looks at what is there.
    Away,
    /// Others hold what this transaction needs. It has been undone, and is to be made again at once.
    Busy,
    /// The server is there and does not want to: rights, a read-only server, a full disk, too many connections.
    /// Somebody must do something about it, and then the same transaction goes through.
    Refused,
    /// The server has no room for this one row: the others go on without it.
    Row,
    /// The database does not hold an index of this version.
    Schema,
}

/// The result of a question to the index.
pub type IndexResult<T> = Result<T, IndexError>;

impl IndexError {
    /// An error of this kind.
    pub(super) fn new(kind: IndexErrorKind, message: impl Into<String>) -> IndexError {
        IndexError { kind, class: None, message: message.into() }
    }

    /// What follows from it.
    pub fn kind(&self) -> IndexErrorKind {
        self.kind
    }

    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        self.class.unwrap_or(match self.kind {
            IndexErrorKind::Away => Class::Unavailable,
            IndexErrorKind::Busy => Class::Busy,
            IndexErrorKind::Refused => Class::Other,
            IndexErrorKind::Row => Class::Refused,
            IndexErrorKind::Schema => Class::Schema,
        })
    }

    /// The same, as a failure of the index.
    pub fn failure(&self) -> Failure {
        Failure::new(Port::Index, self.class(), self.to_string())
    }
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for IndexError {}

impl From<Error> for IndexError {
    fn from(error: Error) -> IndexError {
        let kind = match &error {
            Error::MySqlError(error) => kind_of(error),
            Error::DriverError(DriverError::PacketTooLarge) => IndexErrorKind::Row,
            Error::FromValueError(_) | Error::FromRowError(_) => IndexErrorKind::Schema,
            // What the server said last is not known, or cannot be read.
            _ => IndexErrorKind::Away,
        };
        let sign = match &error {
            Error::MySqlError(error) => error.code.to_string(),
            _ if certificate_refused(&error).is_some() => "certificate".to_owned(),
            _ => String::new(),
        };
        let class = Some(Class::of_signs(Port::Index, [sign.as_str()])).filter(|class| *class != Class::Other);
        IndexError { class, ..IndexError::new(kind, text_of(&error)) }
    }
}

/// The numbers are the server's, the same in MySQL and MariaDB.
fn kind_of(error: &MySqlError) -> IndexErrorKind {
    match error.code {
        // Lock wait timeout, deadlock, snapshot changed meanwhile (MariaDB's innodb_snapshot_isolation).
        1205 | 1213 | 1020 => IndexErrorKind::Busy,
        // Shutdown in progress, killed, interrupted, aborted connection.
        1053 | 1077 | 1152 | 1184 | 1317 | 1927 | 3169 => IndexErrorKind::Away,
        // Out of range, too long, no such character, bad value, packet too large.
        1153 | 1264 | 1265 | 1366 | 1292 | 1406 => IndexErrorKind::Row,
        // No such table, column, database; not as many columns.
        1049 | 1054 | 1136 | 1146 | 1364 => IndexErrorKind::Schema,
        _ => IndexErrorKind::Refused,
    }
}

/// The reason, and for the well-known ones what to do about it.
fn text_of(error: &Error) -> String {
    if let Some(refused) = certificate_refused(error) {
        return format!(
            "{refused}: check --mysql-ca, and that the certificate names the host of --mysql-metadata-url; those that \
             MySQL makes for itself name none"
        );
    }
    match error {
        Error::MySqlError(MySqlError { code, message, .. }) => {
            let row = Port::Index.row(Class::of_signs(Port::Index, [code.to_string().as_str()]));
            let advice = row.map_or(String::new(), |row| format!(": {}", row.remedy));
            format!("{message} (error {code}){advice}")
        }
        Error::IoError(error) if is_timeout(error) => "the server did not answer in time".to_owned(),
        Error::IoError(error) => error.to_string(),
        Error::CodecError(error) => error.to_string(),
        Error::TlsError(error) => format!("TLS: {error}"),
        Error::DriverError(error) => error.to_string(),
        Error::FromValueError(_) | Error::FromRowError(_) => "a column holds what does not belong there".to_owned(),
        other => other.to_string(),
    }
}

/// What is wrong with the certificate that the server has shown.
fn certificate_refused(error: &Error) -> Option<&rustls::Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = match error {
        Error::IoError(error) => Some(error),
        Error::CodecError(error) => Some(error),
        _ => None,
    };
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(refused @ rustls::Error::InvalidCertificate(_)) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(refused);
        }
        next = error.source();
    }
    None
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u16) -> IndexError {
        Error::MySqlError(MySqlError { state: "HY000".into(), message: "No".into(), code }).into()
    }

    #[test]
    fn what_the_server_says_decides_what_follows() {
        for (code, kind) in [
            (1213, IndexErrorKind::Busy),
            (1205, IndexErrorKind::Busy),
            (1290, IndexErrorKind::Refused),
            (1836, IndexErrorKind::Refused),
            (1040, IndexErrorKind::Refused),
            (1142, IndexErrorKind::Refused),
            (1406, IndexErrorKind::Row),
            (1153, IndexErrorKind::Row),
            (1146, IndexErrorKind::Schema),
            (1053, IndexErrorKind::Away),
        ] {
            assert_eq!(told(code).kind(), kind, "{code}");
        }
        assert_eq!(
            told(1836).to_string(),
            "No (error 1836): the server is read-only; --mysql-metadata-url must name the primary"
        );
    }
}
