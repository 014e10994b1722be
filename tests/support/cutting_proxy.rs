//! A TCP proxy before a MySQL server that cuts connections at chosen packets.
//!
//! It reads the packets of the protocol (three bytes of length, one of sequence), so that "the seventh thing that the
//! client sends" is a step of the conversation and not a matter of timing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Where a connection is cut. Packets count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server does not get the client's packet.
    BeforeServer(u64),
    /// The server gets the client's packet and acts on it; the client does not get the answer.
    AfterServer(u64),
    /// The client does not get the server's packet.
    BeforeClient(u64),
}

/// A proxy that runs until the process ends.
pub(crate) struct CuttingProxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: AtomicU16,
    /// For the next connection alone.
    next: Mutex<Option<Cut>>,
    /// Of each connection, one packet of so many that the client sends is the last; 0 for none.
    one_of: AtomicU64,
    state: AtomicU64,
    /// What was said when a connection was cut.
    cuts: Mutex<Vec<String>>,
}

impl CuttingProxy {
    /// One before the server at this port of 127.0.0.1.
    pub(crate) fn before(server: u16) -> CuttingProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            server: AtomicU16::new(server),
            next: Mutex::new(None),
            one_of: AtomicU64::new(0),
            state: AtomicU64::new(0),
            cuts: Mutex::default(),
        });
        let of_listener = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, shared) = (client.expect("a connection"), Arc::clone(&of_listener));
                std::thread::spawn(move || serve(client, &shared));
            }
        });
        CuttingProxy { port, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Connects to another server from now on, as an address does that a replica takes over.
    pub(crate) fn switch_to(&self, server: u16) {
        self.shared.server.store(server, Ordering::Relaxed);
    }

    /// Cuts the next connection there.
    pub(crate) fn cut_next(&self, cut: Cut) {
        *self.shared.next.lock().expect("whole") = Some(cut);
    }

    /// Whether the cut that was planned has been made, and what was said there; a plan that was not met is withdrawn.
    pub(crate) fn made_cut(&self) -> Option<String> {
        *self.shared.next.lock().expect("whole") = None;
        self.shared.cuts.lock().expect("whole").pop()
    }

    /// Cuts all connections at random: before or after one of so many packets. 0 stops it.
    pub(crate) fn cut_at_random(&self, one_of: u64, seed: u64) {
        self.shared.state.store(seed, Ordering::Relaxed);
        self.shared.one_of.store(one_of, Ordering::Relaxed);
    }

    /// How many connections were cut.
    pub(crate) fn cut_count(&self) -> usize {
        self.shared.cuts.lock().expect("whole").len()
    }
}

impl Shared {
    /// What chance wants for this packet.
    fn drawn(&self) -> Option<Cut> {
        let one_of = self.one_of.load(Ordering::Relaxed);
        if one_of == 0 {
            return None;
        }
        let state = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        // SplitMix64: less mixing leaves draws of the same kind next to each other.
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let draw = mixed ^ (mixed >> 31);
        match draw % (2 * one_of) {
            0 => Some(Cut::BeforeServer(0)),
            1 => Some(Cut::AfterServer(0)),
            _ => None,
        }
    }
}

fn serve(client: TcpStream, shared: &Arc<Shared>) {
    let cut = shared.next.lock().expect("whole").take();
    // A server that is away takes its clients with it.
    let Ok(server) = TcpStream::connect(("127.0.0.1", shared.server.load(Ordering::Relaxed))) else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a TCP socket");
    }
    let both = || (client.try_clone().expect("one more handle"), server.try_clone().expect("one more handle"));
    let said = Arc::new(Mutex::new("the greeting".to_owned()));
    let lose_answer = Arc::new(AtomicBool::new(false));
    let (to_client, of_answers) = (both(), Arc::clone(shared));
    let (said_before, lost) = (Arc::clone(&said), Arc::clone(&lose_answer));
    let answers = std::thread::spawn(move || {
        let (mut client, mut server) = to_client;
        for number in 1.. {
            let Some(packet) = read_packet(&mut server) else { break };
            let is_last = cut == Some(Cut::BeforeClient(number)) || lost.load(Ordering::SeqCst);
            if is_last {
                let said = said_before.lock().expect("whole").clone();
                of_answers.cuts.lock().expect("whole").push(format!("answer to {said}"));
            }
            if is_last || client.write_all(&packet).is_err() {
                break;
            }
        }
        close(&client, &server);
    });
    let (mut client, mut server) = both();
    for number in 1.. {
        let Some(packet) = read_packet(&mut client) else { break };
        *said.lock().expect("whole") = words(&packet);
        let drawn = if number > 2 { shared.drawn() } else { None };
        if cut == Some(Cut::AfterServer(number)) || matches!(drawn, Some(Cut::AfterServer(_))) {
            lose_answer.store(true, Ordering::SeqCst);
        }
        if cut == Some(Cut::BeforeServer(number)) || matches!(drawn, Some(Cut::BeforeServer(_))) {
            shared.cuts.lock().expect("whole").push(words(&packet));
            break;
        }
        if server.write_all(&packet).is_err() {
            break;
        }
    }
    if !lose_answer.load(Ordering::SeqCst) {
        close(&client, &server);
    }
    let _ = answers.join();
}

fn close(client: &TcpStream, server: &TcpStream) {
    // Either may be closed already.
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

/// A whole packet; `None` at the end of the connection.
fn read_packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut packet = vec![0; 4];
    read_whole(stream, &mut packet)?;
    let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    packet.resize(4 + length, 0);
    read_whole(stream, &mut packet[4..])?;
    Some(packet)
}

fn read_whole(stream: &mut TcpStream, bytes: &mut [u8]) -> Option<()> {
    match stream.read_exact(bytes) {
        Ok(()) => Some(()),
        Err(error) if error.kind() == ErrorKind::Interrupted => read_whole(stream, bytes),
        Err(_) => None,
    }
}

/// What a client's packet asks for, for people and for assertions.
fn words(packet: &[u8]) -> String {
    let text = || String::from_utf8_lossy(&packet[5..]).chars().take(40).collect::<String>();
    match packet.get(4) {
        Some(3) if packet[3] == 0 => text(),
        Some(0x16) if packet[3] == 0 => format!("prepare {}", text()),
        Some(0x17) if packet[3] == 0 => "execute".to_owned(),
        Some(0x19) if packet[3] == 0 => "close a statement".to_owned(),
        Some(1) if packet[3] == 0 => "quit".to_owned(),
        _ => "the log-in".to_owned(),
    }
}
