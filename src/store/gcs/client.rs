//! HTTP, as the service speaks it.

use super::answer::{Answer, Meaning, Trouble};
use super::auth::{Auth, GcsCredentials};
use super::runtime::runtime;
use super::settings::GcsSettings;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use kafka_store_statecharts::backoff;
use reqwest::redirect::Policy;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Google's own.
const ENDPOINT: &str = "https://storage.googleapis.com";
const USER_AGENT: &str = concat!("kafka-store/", env!("CARGO_PKG_VERSION"));
/// An answer that is not an object's bytes is never longer; a page of a listing has some megabytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often a request is made that changes nothing.
const TRIES: u32 = 5;

/// The service, as far as a bucket needs it.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: String,
    auth: Auth,
    idle: Duration,
    jitter: Jitter,
}

/// Draws between 0 and 1, given from outside: one seed is one run.
pub type Jitter = Arc<dyn Draw>;

/// See [`Jitter`].
pub trait Draw: Send + Sync + std::fmt::Debug {
    /// The next one.
    fn draw(&self) -> f64;
}

/// A request, to be made any number of times.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Below the endpoint.
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn get(path: String) -> Call {
        Call { method: Method::GET, path, headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn post(path: String, content_type: &str, body: Vec<u8>) -> Call {
        let headers = vec![(http::header::CONTENT_TYPE, content_type.to_owned())];
        Call { method: Method::POST, path, headers, body: body.into() }
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Call {
        self.headers.push((name, value.into()));
        self
    }
}

/// When something last moved on a connection.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    started: Instant,
    at_ms: Arc<AtomicU64>,
}

impl Moved {
    pub(super) fn now() -> Moved {
        Moved { started: Instant::now(), at_ms: Arc::default() }
    }

    /// Something has moved.
    pub(super) fn touch(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.at_ms.store(elapsed, Ordering::Relaxed);
    }

    fn still_for(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.at_ms.load(Ordering::Relaxed)))
    }
}

impl Client {
    pub(super) fn new(settings: &GcsSettings) -> Result<Client, String> {
        // Whoever was first has installed the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wants_google = match settings.credentials {
            GcsCredentials::Auto => settings.endpoint.is_none(),
            GcsCredentials::Google => true,
            GcsCredentials::Anonymous => false,
        };
        let endpoint = settings.endpoint.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/').to_owned();
        // Both start tasks.
        let _on_runtime = runtime().enter();
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none()) // 308 means "go on", and is no redirect here.
            .connect_timeout(settings.idle_timeout.min(Duration::from_secs(10)))
            .build()
            .map_err(|error| format!("HTTP cannot be used: {}", in_full(&error)))?;
        let auth = if wants_google { Auth::google()? } else { Auth::Anonymous };
        Ok(Client { http, endpoint, auth, idle: settings.idle_timeout, jitter: Arc::clone(&settings.jitter) })
    }

    /// The service's address.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Another number each time, so that many who failed together do not come back together.
    pub(super) fn salt(&self) -> u64 {
        self.jitter.draw().to_bits()
    }

    pub(super) fn renew_token(&self) {
        self.auth.renew();
    }

    /// Makes a request once, and says who asks.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer, Trouble> {
        let response = self.start(call).await?;
        self.whole(response).await
    }

    /// Makes a request that changes nothing until it has an answer; waits between tries.
    pub(super) async fn ask(&self, call: &Call) -> Result<Answer, Trouble> {
        let mut failures = 0;
        loop {
            let trouble = match self.call(call).await {
                Ok(answer) => match answer.meaning() {
                    Meaning::Unknown | Meaning::Unauthorised => answer.trouble(),
                    _ => return Ok(answer),
                },
                Err(trouble) => trouble,
            };
            self.before_retry(&mut failures, trouble).await?;
        }
    }

    /// Waits before a try, or says that there have been enough.
    pub(super) async fn before_retry(&self, failures: &mut u32, trouble: Trouble) -> Result<(), Trouble> {
        if trouble.meaning == Meaning::Unauthorised {
            self.renew_token();
        }
        *failures += 1;
        if *failures >= TRIES {
            return Err(Trouble { meaning: Meaning::Unknown, ..trouble });
        }
        tokio::time::sleep(backoff::delay(*failures, self.salt())).await;
        Ok(())
    }

    /// Makes a request once; the body is left to the caller.
    pub(super) async fn start(&self, call: &Call) -> Result<reqwest::Response, Trouble> {
        let headers = self.timed(self.auth.headers()).await??;
        let url = format!("{}{}", self.endpoint, call.path);
        let mut request = self.http.request(call.method.clone(), url).headers(headers);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if call.method != Method::GET {
            request = request.body(call.body.clone());
        }
        self.timed(request.send()).await?.map_err(unreached)
    }

    /// Sends to an address that is its own key: nobody needs to say who asks.
    pub(super) async fn put(
        &self,
        address: &str,
        headers: HeaderMap,
        body: reqwest::Body,
        moved: &Moved,
    ) -> Result<Answer, Trouble> {
        let sending = self.http.put(address).headers(headers).body(body).send();
        tokio::pin!(sending);
        let response = loop {
            let rest = self.idle.saturating_sub(moved.still_for());
            match timeout(rest, &mut sending).await {
                Ok(response) => break response.map_err(unreached)?,
                Err(_) if moved.still_for() >= self.idle => return Err(self.stalled()),
                Err(_) => {}
            }
        };
        self.whole(response).await
    }

    /// Ends a session.
    pub(super) async fn cancel(&self, address: &str) {
        let cancelling = self.http.delete(address).header(http::header::CONTENT_LENGTH, 0).send();
        // Nothing follows from the answer.
        let _ = self.timed(cancelling).await;
    }

    async fn whole(&self, mut response: reqwest::Response) -> Result<Answer, Trouble> {
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = self.timed(response.chunk()).await?.map_err(unreached)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(Trouble::unknown("its answer is too long"));
            }
        }
        Ok(Answer { status, headers, body })
    }

    /// What a response that is not wanted means.
    pub(super) async fn refused(&self, response: reqwest::Response) -> Trouble {
        match self.whole(response).await {
            Ok(answer) => answer.trouble(),
            Err(trouble) => trouble,
        }
    }

    pub(super) async fn timed<T>(&self, future: impl Future<Output = T>) -> Result<T, Trouble> {
        timeout(self.idle, future).await.map_err(|_| self.stalled())
    }

    fn stalled(&self) -> Trouble {
        Trouble::unknown(format!("nothing moved for {} s", self.idle.as_secs_f64())).of_sign("timeout")
    }
}

/// What went wrong with a connection; the address may be a secret, and is left out.
pub(super) fn unreached(error: reqwest::Error) -> Trouble {
    let error = error.without_url();
    let text = in_full(&error);
    // Who is not trusted now is not trusted later either.
    if refuses_certificate(&error) {
        let trouble = Trouble::unknown(text).of_sign("certificate");
        return Trouble { meaning: Meaning::Refused, ..trouble };
    }
    // A proxy that wants a login says so before there is a connection: the status is in the text alone.
    if text.contains("proxy auth") {
        let trouble = Trouble::unknown(text).of_sign("407");
        return Trouble { meaning: Meaning::Refused, ..trouble };
    }
    let sign = if error.is_timeout() { "timeout" } else { "connect" };
    Trouble::unknown(text).of_sign(sign)
}

/// True if TLS failed because of the other side's certificate, and not because it has expired: that passes once it is
/// renewed.
fn refuses_certificate(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref::<rustls::Error>().or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        if let Some(rustls::Error::InvalidCertificate(why)) = tls {
            return !matches!(why, rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. });
        }
        cause = error.source();
    }
    false
}

/// An error with all of its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
