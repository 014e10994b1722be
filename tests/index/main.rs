//! The index in a real MariaDB server, alone and under daemons that archive from a real broker.

mod archive;
mod failover;
mod large;
mod rebuild;
mod schema;
mod tls;

#[allow(dead_code, reason = "other test programs use the rest")]
#[path = "../support"]
mod support {
    pub(crate) mod archive;
    pub(crate) mod broker;
    pub(crate) mod cutting_proxy;
    pub(crate) mod daemon;
    pub(crate) mod mysql;
    pub(crate) mod ports;
    pub(crate) mod random;
    pub(crate) mod records;
    pub(crate) mod rows;
    pub(crate) mod seed;
    pub(crate) mod traffic;
    mod waiting;

    pub(crate) use waiting::wait_until;
}
