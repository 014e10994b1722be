//! Ports of the loopback for servers that a test starts, stops, and starts again at the same address.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

/// Below the range from which the system gives ports to outgoing connections: such a connection could take the port of a
/// server while it is down.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Ports that this test program has given out: a server that is down still owns its own.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Returns a port on which nothing listens, and which this program has not given out before.
pub(crate) fn free_port() -> u16 {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = FIRST + u16::from_le_bytes(super::random::bytes()) % COUNT;
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
}
