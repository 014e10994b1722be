//! Arguments that may hold a secret.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(String);

impl Redacted {
    /// Keeps a text.
    pub fn new(text: &str) -> Redacted {
        Redacted(text.to_owned())
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Redacted {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Redacted, Infallible> {
        Ok(Redacted(text.to_owned()))
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}
