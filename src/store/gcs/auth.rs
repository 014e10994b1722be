//! Who asks: tokens of the application default credentials, in all their forms.

use super::answer::Trouble;
use google_cloud_auth::credentials::{Builder, CacheableResource, Credentials};
use http::{Extensions, HeaderMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// All that reading and creating objects needs.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// How long credentials are left alone before they are made anew once more.
const LEAST_AGE: Duration = Duration::from_secs(5);

/// Which credentials are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GcsCredentials {
    /// Google's application default credentials; none where the endpoint is not Google's.
    #[default]
    Auto,
    /// Google's application default credentials, whatever the endpoint.
    Google,
    /// None.
    Anonymous,
}

/// Makes the headers that say who asks.
pub(super) enum Auth {
    Anonymous,
    Google(Mutex<Held>),
}

/// Credentials refresh their tokens by themselves. What they answer for good they answer for ever, even when the reason
/// has gone; and nobody can tell them that a token does not count any more. Both ways out are to make them anew.
pub(super) struct Held {
    credentials: Credentials,
    made: Instant,
}

impl Auth {
    /// Reads the environment. Must be called on the runtime on which the credentials are to live.
    pub(super) fn google() -> Result<Auth, String> {
        Ok(Auth::Google(Mutex::new(Held { credentials: make()?, made: Instant::now() })))
    }

    /// The headers of a request: at once, as long as there is a token that counts.
    pub(super) async fn headers(&self) -> Result<HeaderMap, Trouble> {
        let Auth::Google(held) = self else { return Ok(HeaderMap::new()) };
        let credentials = lock(held).credentials.clone();
        match credentials.headers(Extensions::new()).await {
            Ok(CacheableResource::New { data, .. }) => Ok(data),
            Ok(CacheableResource::NotModified) => Err(Trouble::unknown("there is no token")),
            Err(error) => {
                if !error.is_transient() {
                    self.renew();
                }
                Err(Trouble::unknown(format!("there is no token: {error}")).of_sign("token"))
            }
        }
    }

    /// Makes the credentials anew, unless they have just been made: many requests may find out at once.
    pub(super) fn renew(&self) {
        let Auth::Google(held) = self else { return };
        let mut held = lock(held);
        if held.made.elapsed() < LEAST_AGE {
            return;
        }
        held.made = Instant::now();
        // What cannot be read for the moment (a file that is being replaced) is tried again later.
        if let Ok(credentials) = make() {
            held.credentials = credentials;
        }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make() -> Result<Credentials, String> {
    Builder::default().with_scopes([SCOPE]).build().map_err(|error| {
        format!(
            "there are no usable Google credentials: {error}; set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth \
             application-default login"
        )
    })
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Auth::Anonymous => "Anonymous",
            Auth::Google(_) => "Google",
        })
    }
}
