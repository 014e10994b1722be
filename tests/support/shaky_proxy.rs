//! A TCP proxy that cuts, refuses and stalls connections when a test says so, whatever they carry.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// A proxy that runs until the process ends.
pub(crate) struct ShakyProxy {
    port: u16,
    shared: Arc<Shared>,
}

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Nothing moves in either direction, and nothing is closed.
    Stall,
    /// New connections are closed at once. Those that are open go on.
    Refuse,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Where connections go, once it is known.
    server: Option<u16>,
    mode: Mode,
    /// Both ends of each connection that was opened since the last cut.
    open: Vec<TcpStream>,
}

impl ShakyProxy {
    /// One on a free port of 127.0.0.1, before a server that is started later.
    pub(crate) fn start() -> ShakyProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let state = State { server: None, mode: Mode::Pass, open: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let of_listener = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                // A client that has gone meanwhile is none.
                let (Ok(client), shared) = (client, Arc::clone(&of_listener)) else { continue };
                std::thread::spawn(move || serve(client, &shared));
            }
        });
        ShakyProxy { port, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Connects to this port of 127.0.0.1 from now on.
    pub(crate) fn lead_to(&self, server: u16) {
        self.shared.state.lock().expect("whole").server = Some(server);
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.shared.state.lock().expect("whole").mode = mode;
        self.shared.changed.notify_all();
    }

    /// Cuts all connections that are open; the answer is how many.
    pub(crate) fn cut_all(&self) -> usize {
        let open = std::mem::take(&mut self.shared.state.lock().expect("whole").open);
        for stream in &open {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        open.len() / 2
    }
}

impl Shared {
    /// Waits while nothing moves.
    fn wait(&self) {
        let state = self.state.lock().expect("whole");
        drop(self.changed.wait_while(state, |state| state.mode == Mode::Stall).expect("whole"));
    }
}

fn serve(client: TcpStream, shared: &Arc<Shared>) {
    shared.wait();
    let mut state = shared.state.lock().expect("whole");
    let Some(port) = state.server.filter(|_| state.mode != Mode::Refuse) else { return };
    // A server that is away takes its clients with it.
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let handle = |stream: &TcpStream| stream.try_clone().expect("one more handle");
    state.open.extend([handle(&client), handle(&server)]);
    if state.open.len() > 1_000 {
        // Handles of connections that ended long ago.
        state.open.retain(|stream| stream.peer_addr().is_ok());
    }
    drop(state);
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a TCP socket");
    }
    let (of_answers, from, to) = (Arc::clone(shared), handle(&server), handle(&client));
    let answers = std::thread::spawn(move || copy(from, to, &of_answers));
    copy(client, server, shared);
    let _ = answers.join();
}

fn copy(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        shared.wait();
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Either may be closed already.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
