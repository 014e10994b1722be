//! A strict fake of Google Cloud Storage: a real HTTP/1.1 server on the loopback, with the JSON API of resumable and
//! other uploads, of reading and of listing, and with switches for everything that may go wrong.
//!
//! It is stricter than the service where the service's answer is not known: what it accepts, the service accepts.
//! A test looks at what is stored, generation for generation, without asking by HTTP.

mod answer;
mod auth;
mod clock;
mod connection;
mod content;
mod faults;
mod fields;
mod intake;
mod list;
mod multipart;
mod object;
mod observation;
mod read;
mod request;
mod service;
mod session;
mod settings;
mod spoil;
mod state;
mod tls;
mod upload;
mod view;

pub(crate) use faults::{After, Fault};
pub(crate) use object::StoredObject;
pub(crate) use request::Kind;
pub(crate) use session::QUANTUM;
pub(crate) use settings::{Permissions, Protection, TokenFailure};

use state::Server;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// A running server. It ends when this is dropped; connections are reset then.
#[derive(Debug)]
pub(crate) struct FakeGcs {
    server: Arc<Server>,
    port: u16,
    is_down: Arc<AtomicBool>,
    /// Changes when all connections are to be reset; closed at the end.
    epoch: Option<watch::Sender<u64>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeGcs {
    /// Starts a server that has these buckets, on a port that the system chooses.
    pub(crate) fn start(buckets: &[&str]) -> FakeGcs {
        FakeGcs::start_with(buckets, None, None)
    }

    /// The same behind a proxy at this port of 127.0.0.1, through which sessions go, too.
    pub(crate) fn start_behind(buckets: &[&str], proxy_port: u16) -> FakeGcs {
        FakeGcs::start_with(buckets, None, Some(format!("http://127.0.0.1:{proxy_port}")))
    }

    /// The same with TLS: certificate and private key are PEM.
    pub(crate) fn start_with_tls(buckets: &[&str], certificate: &[u8], key: &[u8]) -> FakeGcs {
        FakeGcs::start_with(buckets, Some(tls::acceptor(certificate, key)), None)
    }

    fn start_with(buckets: &[&str], tls: Option<TlsAcceptor>, public_url: Option<String>) -> FakeGcs {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port on the loopback");
        listener.set_nonblocking(true).expect("a socket of ours");
        let address = listener.local_addr().expect("it is bound");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base_url = public_url.unwrap_or_else(|| format!("{scheme}://{address}"));
        let server = Arc::new(Server::new(base_url, buckets));
        let is_down = Arc::new(AtomicBool::new(false));
        let (sender, epoch) = watch::channel(0);
        let thread = {
            let (server, is_down) = (Arc::clone(&server), Arc::clone(&is_down));
            let name = "fake-gcs".to_owned();
            std::thread::Builder::new().name(name).spawn(move || run(listener, tls, server, is_down, epoch))
        };
        FakeGcs { server, port: address.port(), is_down, epoch: Some(sender), thread: Some(thread.expect("a thread")) }
    }

    /// `http://127.0.0.1:PORT`, or `https`.
    pub(crate) fn base_url(&self) -> &str {
        &self.server.base_url
    }

    /// The port on which it listens itself.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> &str {
        self.base_url().split_once("://").expect("it is made so").1
    }

    /// Resets all connections, and from now on each new one.
    pub(crate) fn go_down(&self) {
        self.is_down.store(true, Ordering::SeqCst);
        self.reset_connections();
    }

    /// Answers again.
    pub(crate) fn come_back(&self) {
        self.is_down.store(false, Ordering::SeqCst);
    }

    /// Resets all connections.
    pub(crate) fn reset_connections(&self) {
        self.epoch.as_ref().expect("it runs").send_modify(|epoch| *epoch += 1);
    }
}

impl Drop for FakeGcs {
    fn drop(&mut self) {
        drop(self.epoch.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it was printed; the test has its own.
            let _ = thread.join();
        }
    }
}

/// The server's thread.
fn run(
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    server: Arc<Server>,
    is_down: Arc<AtomicBool>,
    mut epoch: watch::Receiver<u64>,
) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("a socket of ours");
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                changed = epoch.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            let Ok((stream, _)) = accepted else { continue };
            server.lock().counts.connections += 1;
            let (server, is_down) = (Arc::clone(&server), is_down.load(Ordering::SeqCst));
            tokio::spawn(connection::serve(stream, server, is_down, tls.clone(), epoch.clone()));
        }
    });
    // Connections that stall on purpose end with it.
    runtime.shutdown_background();
}
