//! A client of HTTP/1.1 that knows nothing of the server: bytes on a socket.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A header by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The reason in the JSON of an error.
    #[track_caller]
    pub(crate) fn reason(&self) -> String {
        let error = self.json()["error"].take();
        assert_eq!(error["code"], self.status, "the JSON repeats the status");
        assert_eq!(error["errors"][0]["message"], error["message"]);
        assert_eq!(error["errors"][0]["domain"], "global");
        error["errors"][0]["reason"].as_str().expect("a reason").to_owned()
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    stream: TcpStream,
    /// What was read and belongs to nothing yet.
    read: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Connection { address: address.to_owned(), stream, read: Vec::new() })
    }

    /// Sends the head of a request.
    pub(crate) fn head(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> io::Result<()> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.address);
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head.push_str("\r\n");
        self.send(head.as_bytes())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// How long the next read waits.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a socket of ours");
    }

    /// Waits until so much of the next answer's body has come; [`Connection::reply`] has it then.
    pub(crate) fn wait_for(&mut self, body_bytes: usize) -> io::Result<()> {
        loop {
            let head = self.read.windows(4).position(|window| window == b"\r\n\r\n");
            if head.is_some_and(|end| self.read.len() >= end + 4 + body_bytes) {
                return Ok(());
            }
            self.read_more()?;
        }
    }

    /// The next answer. Its body's length must be known.
    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break self.read.drain(..end + 4).collect::<Vec<u8>>();
            }
            self.read_more()?;
        };
        let head = String::from_utf8(head).expect("a head in ASCII");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().expect("a status line");
        assert!(status_line.starts_with("HTTP/1."), "{status_line:?}");
        let status = status_line[9..12].parse().expect("a status");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut reply = Reply { status, headers, body: Vec::new() };
        let length: usize = reply.header("content-length").unwrap_or("0").parse().expect("a length");
        while self.read.len() < length {
            if let Err(error) = self.read_more() {
                reply.body = std::mem::take(&mut self.read);
                return Err(io::Error::other(Cut { reply, error }));
            }
        }
        reply.body = self.read.drain(..length).collect();
        Ok(reply)
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => {
                self.read.extend_from_slice(&buffer[..bytes]);
                Ok(())
            }
        }
    }
}

/// An answer whose body did not come whole.
#[derive(Debug, thiserror::Error)]
#[error("{} of the body of {} came, then {error}", .reply.body.len(), .reply.status)]
pub(crate) struct Cut {
    pub(crate) reply: Reply,
    pub(crate) error: io::Error,
}

/// One request on a connection of its own.
pub(crate) fn request(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Reply> {
    let mut connection = Connection::open(address)?;
    let length = body.len().to_string();
    let mut all = vec![("Content-Length", length.as_str())];
    all.extend(headers);
    connection.head(method, target, &all)?;
    // If the answer comes early and the rest is not wanted, the answer counts.
    let sent = connection.send(body);
    connection.reply().map_err(|error| sent.err().filter(|_| error.kind() != io::ErrorKind::Other).unwrap_or(error))
}
