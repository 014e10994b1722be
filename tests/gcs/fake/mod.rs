//! The fake of Google Cloud Storage keeps to the protocol, and each of its faults is what it says.
//!
//! The client here is bytes on a socket: it shares nothing with the program's own.

mod access;
mod client;
mod faults;
mod faults_elsewhere;
mod reading;
mod resumable;
mod second_opinion;
mod violations;
mod writing;

use crate::support::fake_gcs::FakeGcs;
use client::{Reply, request};
use std::io;

const BUCKET: &str = "archive";
const MIB: usize = 1 << 20;
const KIB_256: usize = 256 << 10;

/// A server and a client of it.
struct Gcs {
    fake: FakeGcs,
}

impl Gcs {
    fn start() -> Gcs {
        Gcs { fake: FakeGcs::start(&[BUCKET]) }
    }

    /// A request that must be answered.
    #[track_caller]
    fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        match self.try_to_ask(method, target, headers, body) {
            Ok(reply) => reply,
            Err(error) => panic!("{method} {target}: {error}"),
        }
    }

    fn try_to_ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Reply> {
        request(self.fake.address(), method, target, headers, body)
    }

    /// The target to open a session for a name, create-only.
    fn initiation(name: &str) -> String {
        format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name={name}&ifGenerationMatch=0")
    }

    /// Opens a session; the answer is the target of its URI.
    #[track_caller]
    fn open_session(&self, name: &str, resource: &str) -> String {
        let reply = self.ask("POST", &Gcs::initiation(name), &[JSON], resource.as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.text());
        self.session_of(&reply)
    }

    #[track_caller]
    fn session_of(&self, reply: &Reply) -> String {
        let uri = reply.header("location").expect("the URI of a session");
        uri.strip_prefix(self.fake.base_url()).expect("an absolute URI").to_owned()
    }

    /// Sends bytes to a session.
    #[track_caller]
    fn put(&self, session: &str, range: &str, body: &[u8]) -> Reply {
        self.ask("PUT", session, &[("Content-Range", range)], body)
    }

    fn try_to_put(&self, session: &str, range: &str, body: &[u8]) -> io::Result<Reply> {
        self.try_to_ask("PUT", session, &[("Content-Range", range)], body)
    }

    /// How many bytes a session says that it has.
    #[track_caller]
    fn persisted(&self, session: &str) -> u64 {
        let reply = self.put(session, "bytes */*", b"");
        assert_eq!(reply.status, 308, "{}", reply.text());
        persisted_of(&reply)
    }

    #[track_caller]
    fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, &[], b"")
    }
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// What the Range of a 308 says.
#[track_caller]
fn persisted_of(reply: &Reply) -> u64 {
    let Some(range) = reply.header("range") else { return 0 };
    let last = range.strip_prefix("bytes=0-").expect("from the front");
    last.parse::<u64>().expect("a number") + 1
}

/// Bytes of which no two quanta are equal.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[1]).collect()
}
