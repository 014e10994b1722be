//! The allocator of the process, which is also librdkafka's.

/// Each record that librdkafka hands over is some pieces of memory that one thread allocates and another one frees, which
/// jemalloc does in half of glibc's time; and it keeps the buffers of a megabyte or so that batches are unpacked into,
/// where glibc asks the system for each of them and gives it back at once.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
