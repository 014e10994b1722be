//! Connections: HTTP/1.1 by hyper, on sockets that can break where a test wants it.

use super::answer::{Answer, AnswerBody};
use super::service;
use super::state::Server;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// How a connection is to end, told by the answers to the socket.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Closing resets.
    resets: AtomicBool,
    /// It ends when everything that was written is on its way.
    ends: AtomicBool,
}

impl Line {
    /// The connection ends as soon as what was written so far is on its way.
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
    }
}

/// The answer is that there is none.
#[derive(Debug, thiserror::Error)]
#[error("no answer, on purpose")]
struct NoAnswer;

/// Serves a connection until it ends.
pub(crate) async fn serve(
    stream: TcpStream,
    server: Arc<Server>,
    is_down: bool,
    tls: Option<TlsAcceptor>,
    mut epoch: watch::Receiver<u64>,
) {
    let line = Arc::new(Line::default());
    if is_down {
        line.resets.store(true, Ordering::SeqCst);
        drop(Socket { stream, line });
        return;
    }
    // Errors of a connection are the client's: it has gone, or it was broken here on purpose.
    let answer = |request: Request<Incoming>| answer(request, Arc::clone(&server), Arc::clone(&line));
    let socket = Socket { stream, line: Arc::clone(&line) };
    let http = async {
        match tls {
            None => drop(Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer)).await),
            Some(tls) => {
                if let Ok(socket) = tls.accept(socket).await {
                    drop(Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer)).await);
                }
            }
        }
    };
    let mut http = std::pin::pin!(http);
    tokio::select! {
        () = &mut http => {}
        // At the end of the server as well: then there is no sender any more.
        _ = epoch.changed() => line.resets.store(true, Ordering::SeqCst),
    }
}

async fn answer(
    request: Request<Incoming>,
    server: Arc<Server>,
    line: Arc<Line>,
) -> Result<Response<AnswerBody>, NoAnswer> {
    match service::serve(server, request).await {
        Answer::Response(response) => Ok(response.map(|body| body.on(line))),
        Answer::Reset => {
            line.resets.store(true, Ordering::SeqCst);
            Err(NoAnswer)
        }
        Answer::Close | Answer::Silence => Err(NoAnswer),
    }
}

/// A socket that obeys its line.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    line: Arc<Line>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.line.resets.load(Ordering::SeqCst) {
            // If the client was faster in closing it, there is nothing to reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all that it had.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.line.ends.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.line.resets.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
