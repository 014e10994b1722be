//! The body of a request, as it comes.

use super::content::Content;
use super::state::Server;
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use std::sync::Arc;
use std::time::Duration;

/// A body that is read by and by.
///
/// What is left of it when this is dropped is read and thrown away: an answer that was given early is not lost with
/// the connection then.
#[derive(Debug)]
pub(crate) struct Intake {
    body: Option<Incoming>,
    server: Arc<Server>,
    /// How many bytes may come until the fault.
    until_fault: Option<u64>,
    /// What came after that together with the last bytes before it.
    fault_is_due: bool,
}

/// Why a body does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The connection is gone, or is not HTTP any more.
    ByClient,
    ByFault,
}

impl Intake {
    pub(crate) fn new(body: Incoming, server: Arc<Server>) -> Intake {
        Intake { body: Some(body), server, until_fault: None, fault_is_due: false }
    }

    /// The body is interrupted when so many bytes have come.
    pub(crate) fn stop_after(&mut self, bytes: Option<u64>) {
        self.until_fault = bytes;
        self.fault_is_due = bytes == Some(0);
    }

    /// The next bytes, or `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Interrupted> {
        if self.fault_is_due {
            return Err(Interrupted::ByFault);
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        let Some(mut bytes) = next_data(body).await.map_err(|()| Interrupted::ByClient)? else {
            self.body = None;
            return Ok(None);
        };
        let rate = {
            let mut state = self.server.lock();
            state.counts.bytes_received += bytes.len() as u64;
            state.settings.bytes_per_second
        };
        if let Some(rate) = rate {
            tokio::time::sleep(Duration::from_secs_f64(bytes.len() as f64 / rate as f64)).await;
        }
        if let Some(left) = &mut self.until_fault {
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= bytes.len() as u64;
            self.fault_is_due = *left == 0;
        }
        Ok(Some(bytes))
    }

    /// What is left stays unread.
    pub(crate) fn leave(&mut self) -> Option<Incoming> {
        self.body.take()
    }

    /// All that is left.
    pub(crate) async fn all(&mut self) -> Result<Content, Interrupted> {
        let mut content = Content::default();
        while let Some(bytes) = self.next().await? {
            content.push(bytes);
        }
        Ok(content)
    }
}

/// The next bytes of a body; trailers are skipped.
async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, ()> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(()),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take() else { return };
        let server = Arc::clone(&self.server);
        // Outside of a runtime there is no connection left either.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            while let Ok(Some(bytes)) = next_data(&mut body).await {
                server.lock().counts.bytes_received += bytes.len() as u64;
            }
        });
    }
}
