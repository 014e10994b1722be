//! Files, and the local store that holds them: the format, its codecs, what damage does to them, and reading many at
//! once. The library alone: no daemon, no broker, no SQL. Python and fastavro are the second opinion.

mod codecs;
mod damage;
mod every_bit;
mod format;
mod guarantees;
mod header;
mod local_store;
mod open_segment;
mod page_cache;
mod parallel_reading;

#[path = "../support"]
mod support {
    pub(crate) mod page_cache;
    pub(crate) mod seed;
    pub(crate) mod segments;
}
