//! What fails outside the process, and what follows: one table for all ports, which decides, and which
//! `docs/failures.md` shows.
//!
//! A *sign* is what the other side said: the name of a Kafka error, an `errno`, an HTTP status, the number of a MySQL
//! error, a reason in an answer's body. Adapters look signs up; nothing else in the program tells a failure that passes
//! from one that does not.

mod table;

use alloc::format;
use alloc::string::String;
pub use table::FAILURES;

/// Where a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// The brokers, asked for records, log ends and topics.
    Kafka,
    /// The group's coordinator, asked for commits.
    Commit,
    /// The store whose create-only write decides.
    Store,
    /// The other stores.
    Mirrors,
    /// The MySQL index.
    Index,
    /// The disk below the spool.
    Spool,
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// No connection, no name, or no answer in time.
    Unreachable,
    /// The other side answers that it cannot answer now.
    Unavailable,
    /// The partition has no leader, or another one than was asked.
    Leaderless,
    /// The group's coordinator is loading, moving, or rebalancing.
    Coordinator,
    /// Too many requests, or too many connections.
    Throttled,
    /// Another transaction was in the way.
    Busy,
    /// The credentials do not count: expired, revoked, or wrong.
    Login,
    /// The credentials count, and a right is missing.
    Forbidden,
    /// A topic, bucket or directory does not exist.
    Absent,
    /// Disk, quota or inodes are used up.
    NoSpace,
    /// As many files are open as may be, or memory is short.
    TooManyFiles,
    /// The disk or the network file system stutters.
    Io,
    /// The file system or the server takes no writes.
    ReadOnly,
    /// A file of the spool is gone or came back changed.
    Lost,
    /// The certificate of the other side is not trusted.
    Certificate,
    /// The proxy wants a login.
    ProxyLogin,
    /// The key that encrypts the bucket cannot be used.
    Key,
    /// The bucket bills who asks.
    RequesterPays,
    /// A retention policy or a hold keeps what is there.
    Protected,
    /// The request itself is refused.
    Refused,
    /// The other side lacks what is needed.
    Unsupported,
    /// What is stored there cannot be read.
    Damaged,
    /// Something else is where a segment, a row or a topic belongs.
    Conflict,
    /// The index has another schema.
    Schema,
    /// Everything that no sign names.
    Other,
}

/// How long a failure lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// It passes by itself: the call is made again for as long as it takes.
    ForNow,
    /// Somebody has to act: the partition freezes, and is examined again later.
    UntilSomebodyActs,
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub port: Port,
    /// Which kind.
    pub class: Class,
    /// What was tried, and what the other side said.
    pub reason: String,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct FailureRow {
    /// Where.
    pub ports: &'static [Port],
    /// Which kind.
    pub class: Class,
    /// How the other side says it.
    pub signs: &'static [&'static str],
    /// How long it lasts.
    pub lasts: Lasts,
    /// What to do about it.
    pub remedy: &'static str,
}

/// The row of a sign.
fn row_of_sign(port: Port, sign: &str) -> Option<&'static FailureRow> {
    FAILURES.iter().find(|row| row.ports.contains(&port) && row.signs.contains(&sign))
}

impl Class {
    /// The class of the first sign that a row of the port has; [`Class::Other`] if there is none.
    pub fn of_signs<'a>(port: Port, signs: impl IntoIterator<Item = &'a str>) -> Class {
        signs.into_iter().find_map(|sign| row_of_sign(port, sign)).map_or(Class::Other, |row| row.class)
    }

    /// Its name, in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Unreachable => "unreachable",
            Class::Unavailable => "unavailable",
            Class::Leaderless => "leaderless",
            Class::Coordinator => "coordinator",
            Class::Throttled => "throttled",
            Class::Busy => "busy",
            Class::Login => "login",
            Class::Forbidden => "forbidden",
            Class::Absent => "absent",
            Class::NoSpace => "no_space",
            Class::TooManyFiles => "too_many_files",
            Class::Io => "io",
            Class::ReadOnly => "read_only",
            Class::Lost => "lost",
            Class::Certificate => "certificate",
            Class::ProxyLogin => "proxy_login",
            Class::Key => "key",
            Class::RequesterPays => "requester_pays",
            Class::Protected => "protected",
            Class::Refused => "refused",
            Class::Unsupported => "unsupported",
            Class::Damaged => "damaged",
            Class::Conflict => "conflict",
            Class::Schema => "schema",
            Class::Other => "other",
        }
    }
}

impl Port {
    /// All of them.
    pub const ALL: [Port; 6] = [Port::Kafka, Port::Commit, Port::Store, Port::Mirrors, Port::Index, Port::Spool];

    /// Its name, in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Port::Kafka => "kafka",
            Port::Commit => "commit",
            Port::Store => "store",
            Port::Mirrors => "mirrors",
            Port::Index => "index",
            Port::Spool => "spool",
        }
    }

    /// The row of a class. `None` for [`Class::Other`], and where the port has no such class.
    pub fn row(self, class: Class) -> Option<&'static FailureRow> {
        FAILURES.iter().find(|row| row.class == class && row.ports.contains(&self))
    }

    /// How long a failure of this class lasts. One that nobody foresaw passes: trying again loses nothing, and giving up
    /// stops the archive.
    pub fn lasts(self, class: Class) -> Lasts {
        self.row(class).map_or(Lasts::ForNow, |row| row.lasts)
    }
}

impl Failure {
    /// A failure.
    pub fn new(port: Port, class: Class, reason: impl Into<String>) -> Failure {
        Failure { port, class, reason: reason.into() }
    }

    /// How long it lasts.
    pub fn lasts(&self) -> Lasts {
        self.port.lasts(self.class)
    }

    /// True if it passes by itself.
    pub fn passes(&self) -> bool {
        self.lasts() == Lasts::ForNow
    }

    /// The reason, and what to do about it.
    pub fn advice(&self) -> String {
        match self.port.row(self.class) {
            Some(row) if !self.reason.contains(row.remedy) => format!("{}; {}", self.reason, row.remedy),
            _ => self.reason.clone(),
        }
    }
}

/// The table in Markdown, one line for each row.
pub fn table() -> String {
    let mut text = String::from("| Where | Class | Signs | What follows | What to do |\n|---|---|---|---|---|\n");
    for row in FAILURES {
        let ports = row.ports.iter().map(|port| port.as_str()).collect::<alloc::vec::Vec<_>>().join(", ");
        let signs = row.signs.iter().map(|sign| format!("`{sign}`")).collect::<alloc::vec::Vec<_>>().join(" ");
        let lasts = match row.lasts {
            Lasts::ForNow => "retried",
            Lasts::UntilSomebodyActs => "freezes",
        };
        text.push_str(&format!("| {ports} | {} | {signs} | {lasts} | {} |\n", row.class.as_str(), row.remedy));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_has_one_row_of_a_port_and_a_class_has_one() {
        for port in Port::ALL {
            let rows: alloc::vec::Vec<&FailureRow> = FAILURES.iter().filter(|row| row.ports.contains(&port)).collect();
            for (number, row) in rows.iter().enumerate() {
                for later in &rows[number + 1..] {
                    assert_ne!(row.class, later.class, "{port:?}");
                    assert!(
                        !row.signs.iter().any(|sign| later.signs.contains(sign)),
                        "{port:?}: {row:?} and {later:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_nobody_foresaw_is_tried_again() {
        assert_eq!(Class::of_signs(Port::Store, ["x", "y"]), Class::Other);
        assert!(Failure::new(Port::Store, Class::Other, "x").passes());
        let gone = Failure::new(Port::Store, Class::of_signs(Port::Store, ["x", "404"]), "no bucket");
        assert_eq!((gone.class, gone.passes()), (Class::Absent, false));
        assert!(gone.advice().starts_with("no bucket; create the bucket"));
    }
}
