//! The flags that name an index: of the daemon, and of the commands that ask one.

use super::Redacted;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Where the index is. What the texts mean is [`crate::config::index_config`]'s affair.
#[derive(Args, Clone, Debug, Default)]
pub struct IndexArgs {
    /// MySQL database to keep a row of each file in: mysql://user:password@host:port/database
    ///
    /// A row is written after its file is stored, and before its offset is committed. The user is root and the port
    /// 3306 where none is named. `kafka-store index init` makes the table; one of the Python tool is taken over by
    /// `kafka-store index migrate`.
    // The aliases are the prefixes that were unique in the original and no longer are.
    #[arg(long, value_name = "URL", aliases = ["m", "my", "mys", "mysq", "mysql", "mysql-"], help_heading = "Index")]
    pub mysql_metadata_url: Option<Redacted>,

    /// File with the password, instead of the URL's; KAFKA_STORE_MYSQL_PASSWORD may hold it, too
    #[arg(long, value_name = "FILE", help_heading = "Index")]
    pub mysql_password_file: Option<PathBuf>,

    /// Whether the connection is encrypted [default: off; verify, if one of the files below is named]
    #[arg(long, value_name = "MODE", value_enum, help_heading = "Index")]
    pub mysql_tls: Option<TlsMode>,

    /// Authorities (PEM) that may have signed the server's certificate, beside the public ones
    #[arg(long, value_name = "FILE", help_heading = "Index")]
    pub mysql_ca: Option<PathBuf>,

    /// Certificate (PEM) that the server is shown
    #[arg(long, value_name = "FILE", requires = "mysql_client_key", help_heading = "Index")]
    pub mysql_client_certificate: Option<PathBuf>,

    /// Key (PEM) of that certificate
    #[arg(long, value_name = "FILE", requires = "mysql_client_certificate", help_heading = "Index")]
    pub mysql_client_key: Option<PathBuf>,

    /// The password of the environment: an argument could be seen by every user of the machine.
    #[arg(skip)]
    pub mysql_password: Option<Redacted>,
}

/// `--mysql-tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsMode {
    /// Not encrypted
    Off,
    /// Encrypted, and the server's certificate must be for this host
    Verify,
    /// Encrypted, whatever the server's certificate says: anybody between could read along
    Unverified,
}
