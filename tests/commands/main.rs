//! The command line, and the commands that need no servers: they read, list and verify archives in directories and in
//! the fake of Google Cloud Storage.

mod arguments;
mod follow;
mod gcs;
mod golden_reader;
mod ls;
mod memory;
mod read;
mod verify;

#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
#[path = "../support"]
mod support {
    pub(crate) mod fake_gcs;
    pub(crate) mod seed;
    pub(crate) mod segments;
}
