//! The flags that say how Google Cloud Storage is reached, for every command that does.

use crate::store::GcsCredentials;
use clap::Args;

/// How Google Cloud Storage is reached.
#[derive(Args, Clone, Debug, Default)]
pub struct GcsArgs {
    /// Another service than Google's: an emulator or a private endpoint, http://HOST:PORT [default: $STORAGE_EMULATOR_HOST]
    #[arg(long, value_name = "URL", help_heading = "Google Cloud Storage")]
    pub gcs_endpoint: Option<String>,

    /// Who asks
    ///
    /// google: application default credentials. auto: the same, but none at another endpoint than Google's.
    #[arg(long, value_name = "WHO", value_enum, default_value_t = GcsCredentials::Auto, help_heading = "Google Cloud Storage")]
    pub gcs_credentials: GcsCredentials,

    /// Give a request up in which nothing has moved for this long: 30 or 30s, 5m
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        allow_negative_numbers = true,
        help_heading = "Google Cloud Storage"
    )]
    pub gcs_idle_timeout: String,
}
