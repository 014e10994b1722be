//! Faults that take their time: daemons that are killed, stopped and thrown out of their group again and again, stores
//! that hang, an index that goes away.
//!
//! `tests/faults` runs this program; `cargo test` alone does not (`test = false` in Cargo.toml).

mod chaos;
mod cluster;
mod departing;
mod gcs_broken;
mod gcs_kills;
mod groups;
mod histories;
mod index;
mod index_cuts;
mod kill;
mod memory;
mod verify_histories;
mod writers;

#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
#[path = "../support"]
mod support {
    pub(crate) mod archive;
    pub(crate) mod broker;
    pub(crate) mod bucket;
    pub(crate) mod cluster;
    pub(crate) mod cutting_proxy;
    pub(crate) mod daemon;
    pub(crate) mod fake_gcs;
    pub(crate) mod http;
    pub(crate) mod memory;
    pub(crate) mod metrics;
    pub(crate) mod mysql;
    pub(crate) mod ports;
    pub(crate) mod random;
    pub(crate) mod records;
    pub(crate) mod rows;
    pub(crate) mod seed;
    pub(crate) mod seen;
    pub(crate) mod shaky_proxy;
    pub(crate) mod small_disk;
    pub(crate) mod traffic;
    pub(crate) mod verified;
    mod waiting;

    pub(crate) use waiting::wait_until;
}
