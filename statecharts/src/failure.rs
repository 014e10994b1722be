//! What fails outside the process, and what follows: one table for all ports, which decides, and which
//! `docs/failures.md` shows.
//!
//! A *sign* is what the other side said: the name of a Kafka error, an `errno`, an HTTP status, the number of a MySQL
//! error, a reason in an answer's body. Adapters look signs up; nothing else in the program tells a failure that passes
//! from one that does not.

use alloc::format;
use alloc::string::String;

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

const BROKERS: &[Port] = &[Port::Kafka, Port::Commit];
const STORES: &[Port] = &[Port::Store, Port::Mirrors];
const DISKS: &[Port] = &[Port::Store, Port::Mirrors, Port::Spool];

use Lasts::{ForNow, UntilSomebodyActs};

/// Every failure. The first row of a port that has the sign counts; a sign that no row has is [`Class::Other`].
pub const FAILURES: &[FailureRow] = &[
    FailureRow {
        ports: BROKERS,
        class: Class::Unreachable,
        signs: &[
            "_TRANSPORT",
            "_RESOLVE",
            "_ALL_BROKERS_DOWN",
            "_TIMED_OUT",
            "_TIMED_OUT_QUEUE",
            "REQUEST_TIMED_OUT",
            "BROKER_NOT_AVAILABLE",
            "NETWORK_EXCEPTION",
        ],
        lasts: ForNow,
        remedy: "check --broker-list, the brokers and the network",
    },
    FailureRow {
        ports: BROKERS,
        class: Class::Leaderless,
        signs: &[
            "LEADER_NOT_AVAILABLE",
            "NOT_LEADER_FOR_PARTITION",
            "NOT_LEADER_OR_FOLLOWER",
            "REPLICA_NOT_AVAILABLE",
            "PREFERRED_LEADER_NOT_AVAILABLE",
            "ELIGIBLE_LEADERS_NOT_AVAILABLE",
            "FENCED_LEADER_EPOCH",
            "UNKNOWN_LEADER_EPOCH",
            "OFFSET_NOT_AVAILABLE",
            "NOT_CONTROLLER",
        ],
        lasts: ForNow,
        remedy: "a leader is elected as soon as an in-sync replica is up",
    },
    FailureRow {
        ports: BROKERS,
        class: Class::Coordinator,
        signs: &[
            "COORDINATOR_NOT_AVAILABLE",
            "COORDINATOR_LOAD_IN_PROGRESS",
            "NOT_COORDINATOR",
            "_WAIT_COORD",
            "REBALANCE_IN_PROGRESS",
            "ILLEGAL_GENERATION",
            "UNKNOWN_MEMBER_ID",
            "STALE_MEMBER_EPOCH",
            "FENCED_MEMBER_EPOCH",
        ],
        lasts: ForNow,
        remedy: "the coordinator answers once it has loaded the group",
    },
    FailureRow {
        ports: BROKERS,
        class: Class::Throttled,
        signs: &["THROTTLING_QUOTA_EXCEEDED"],
        lasts: ForNow,
        remedy: "raise the quota of this user, or wait",
    },
    FailureRow {
        ports: BROKERS,
        class: Class::Unavailable,
        signs: &[
            "UNKNOWN",
            "UNKNOWN_SERVER_ERROR",
            "KAFKA_STORAGE_ERROR",
            "INCONSISTENT_TOPIC_ID",
            "FETCH_SESSION_ID_NOT_FOUND",
            "INVALID_FETCH_SESSION_EPOCH",
            "_FAIL",
            "_STATE",
        ],
        lasts: ForNow,
        remedy: "the broker's log says why: a disk, or the tiered storage behind it",
    },
    FailureRow {
        ports: BROKERS,
        class: Class::Absent,
        signs: &["UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID"],
        lasts: ForNow,
        remedy: "a topic that is new is soon known to every broker; one that was deleted is told so by itself",
    },
    FailureRow {
        ports: BROKERS,
        class: Class::Login,
        signs: &["_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "_SSL", "ILLEGAL_SASL_STATE"],
        lasts: ForNow,
        remedy: "check -X sasl.*, ssl.* and security.protocol, and whether a password, token or certificate has expired",
    },
    FailureRow {
        ports: &[Port::Kafka],
        class: Class::Forbidden,
        signs: &["TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED"],
        lasts: UntilSomebodyActs,
        remedy: "grant this user Read and Describe on the topic",
    },
    FailureRow {
        ports: &[Port::Commit],
        class: Class::Forbidden,
        signs: &["TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED"],
        lasts: ForNow,
        remedy: "grant this user Read on the group and on the topic; what is stored is safe without a commit",
    },
    FailureRow {
        ports: BROKERS,
        class: Class::Damaged,
        signs: &[
            "_BAD_MSG",
            "CORRUPT_MESSAGE",
            "INVALID_MSG",
            "INVALID_RECORD",
            "_BAD_COMPRESSION",
            "INVALID_MSG_SIZE",
        ],
        lasts: UntilSomebodyActs,
        remedy: "nothing after it is archived: check the broker's disks, and elect a replica that is whole",
    },
    FailureRow {
        ports: BROKERS,
        class: Class::Unsupported,
        signs: &[
            "UNSUPPORTED_VERSION",
            "UNSUPPORTED_FOR_MESSAGE_FORMAT",
            "UNSUPPORTED_COMPRESSION_TYPE",
            "_UNSUPPORTED_FEATURE",
            "_NOT_IMPLEMENTED",
        ],
        lasts: UntilSomebodyActs,
        remedy: "the broker and this version of kafka-store do not fit",
    },
    FailureRow {
        ports: DISKS,
        class: Class::NoSpace,
        signs: &["ENOSPC", "EDQUOT"],
        lasts: ForNow,
        remedy: "make room, or raise the quota; count inodes too (df -i)",
    },
    FailureRow {
        ports: DISKS,
        class: Class::TooManyFiles,
        signs: &["EMFILE", "ENFILE", "ENOMEM"],
        lasts: ForNow,
        remedy: "raise `ulimit -n`, or start more daemons",
    },
    FailureRow {
        ports: DISKS,
        class: Class::Io,
        signs: &["EIO", "ESTALE", "ETIMEDOUT", "EBUSY", "EAGAIN", "EINTR", "EREMOTEIO", "ECONNRESET", "EHOSTDOWN"],
        lasts: ForNow,
        remedy: "check the disk or the file server, and the kernel's log",
    },
    FailureRow {
        ports: DISKS,
        class: Class::ReadOnly,
        signs: &["EROFS"],
        lasts: UntilSomebodyActs,
        remedy: "mount the file system for writing; the kernel makes it read-only when its disk fails",
    },
    FailureRow {
        ports: &[Port::Spool],
        class: Class::Lost,
        signs: &["ENOENT", "EUCLEAN", "EBADMSG"],
        lasts: ForNow,
        remedy: "its records are fetched again; keep cleaners of /tmp and /var/tmp away from --spool-dir",
    },
    FailureRow {
        ports: DISKS,
        class: Class::Forbidden,
        signs: &["EACCES", "EPERM", "403"],
        lasts: UntilSomebodyActs,
        remedy: "give the user that runs kafka-store the right to do so",
    },
    FailureRow {
        ports: STORES,
        class: Class::Absent,
        signs: &["ENOENT", "ENODEV", "ENXIO", "404"],
        lasts: UntilSomebodyActs,
        remedy: "create the bucket or directory, mount its file system, or correct its name",
    },
    FailureRow {
        ports: DISKS,
        class: Class::Refused,
        signs: &[
            "EISDIR",
            "ENOTDIR",
            "EEXIST",
            "ENAMETOOLONG",
            "EINVAL",
            "EFBIG",
            "ELOOP",
            "400",
            "405",
            "411",
            "413",
            "4xx",
        ],
        lasts: UntilSomebodyActs,
        remedy: "look at what is there, and move away what kafka-store has not made",
    },
    FailureRow {
        ports: DISKS,
        class: Class::Unsupported,
        signs: &["EOPNOTSUPP", "ENOSYS", "ENOTTY", "EXDEV", "EMLINK", "ENOLCK"],
        lasts: UntilSomebodyActs,
        remedy: "use a file system that has hard links (or renameat2) and file locks",
    },
    FailureRow {
        ports: STORES,
        class: Class::Unreachable,
        signs: &["connect", "resolve", "timeout", "connection lost", "408"],
        lasts: ForNow,
        remedy: "check the network, the proxy and the name of the endpoint",
    },
    FailureRow {
        ports: STORES,
        class: Class::Unavailable,
        signs: &["409", "410", "499", "500", "502", "503", "504", "5xx", "no answer of Google's"],
        lasts: ForNow,
        remedy: "the service's status page says more",
    },
    FailureRow {
        ports: STORES,
        class: Class::Throttled,
        signs: &["429", "rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded"],
        lasts: ForNow,
        remedy: "raise the quota of the project",
    },
    FailureRow {
        ports: STORES,
        class: Class::Login,
        signs: &["401", "token"],
        lasts: ForNow,
        remedy: "check the credentials and the clock of this machine",
    },
    FailureRow {
        ports: STORES,
        class: Class::Certificate,
        signs: &["certificate"],
        lasts: UntilSomebodyActs,
        remedy: "put the authority that signed the endpoint's (or the proxy's) certificate into the system's trust store",
    },
    FailureRow {
        ports: STORES,
        class: Class::ProxyLogin,
        signs: &["407"],
        lasts: UntilSomebodyActs,
        remedy: "put user and password into HTTPS_PROXY, or leave the proxy out with NO_PROXY",
    },
    FailureRow {
        ports: STORES,
        class: Class::Key,
        signs: &["Cloud KMS"],
        lasts: UntilSomebodyActs,
        remedy: "enable the bucket's key, and let the storage service agent use it",
    },
    FailureRow {
        ports: STORES,
        class: Class::RequesterPays,
        signs: &["requester pays"],
        lasts: UntilSomebodyActs,
        remedy: "the bucket bills who asks: switch Requester Pays off, or archive to another bucket",
    },
    FailureRow {
        ports: STORES,
        class: Class::Protected,
        signs: &["retentionPolicyNotMet", "objectUnderActiveHold"],
        lasts: UntilSomebodyActs,
        remedy: "a retention policy or a hold keeps an object of this name",
    },
    FailureRow {
        ports: STORES,
        class: Class::Lost,
        signs: &["spool file lost"],
        lasts: ForNow,
        remedy: "its records are fetched again; keep cleaners of /tmp and /var/tmp away from --spool-dir",
    },
    FailureRow {
        ports: STORES,
        class: Class::Conflict,
        signs: &["other content", "checksum"],
        lasts: UntilSomebodyActs,
        remedy: "kafka-store resolve shows the ways out",
    },
    FailureRow {
        ports: &[Port::Index],
        class: Class::Unavailable,
        signs: &["connection", "1053", "1077", "1152", "1184", "1317", "1927", "3169", "2006", "2013"],
        lasts: ForNow,
        remedy: "check the server and the network",
    },
    FailureRow {
        ports: &[Port::Index],
        class: Class::Busy,
        signs: &["1205", "1213", "1020"],
        lasts: ForNow,
        remedy: "another daemon writes the same rows",
    },
    FailureRow {
        ports: &[Port::Index],
        class: Class::Throttled,
        signs: &["1040", "1203", "1226"],
        lasts: ForNow,
        remedy: "the server has no connection left: raise max_connections, or max_user_connections",
    },
    FailureRow {
        ports: &[Port::Index],
        class: Class::ReadOnly,
        signs: &["1290", "1792", "1836"],
        lasts: ForNow,
        remedy: "the server is read-only; --mysql-metadata-url must name the primary",
    },
    FailureRow {
        ports: &[Port::Index],
        class: Class::Login,
        signs: &["1044", "1045", "1698", "3159"],
        lasts: ForNow,
        remedy: "check user, password and --mysql-tls",
    },
    FailureRow {
        ports: &[Port::Index],
        class: Class::Forbidden,
        signs: &["1142", "1143", "1227"],
        lasts: ForNow,
        remedy: "grant SELECT, INSERT and UPDATE",
    },
    FailureRow {
        ports: &[Port::Index],
        class: Class::NoSpace,
        signs: &["1021", "1114"],
        lasts: ForNow,
        remedy: "the server's disk is full",
    },
    FailureRow {
        ports: &[Port::Index],
        class: Class::Certificate,
        signs: &["certificate"],
        lasts: ForNow,
        remedy: "check --mysql-ca, and that the certificate names the host of --mysql-metadata-url",
    },
    FailureRow {
        ports: &[Port::Index],
        class: Class::Schema,
        signs: &["1049", "1054", "1136", "1146", "1364"],
        lasts: UntilSomebodyActs,
        remedy: "the database does not hold an index of this version: kafka-store index migrate makes one",
    },
    FailureRow {
        ports: &[Port::Index],
        class: Class::Refused,
        signs: &["1153", "1264", "1265", "1366", "1292", "1406", "packet too large"],
        lasts: UntilSomebodyActs,
        remedy: "the server has no room for this row: raise max_allowed_packet, and compare the columns with docs/index.md",
    },
];

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
