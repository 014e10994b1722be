//! How the C library gives memory back, for its allocator is also librdkafka's.

/// Keeps memory that is freed and soon wanted again.
///
/// Batches are unpacked into buffers of a megabyte or so. By default glibc asks the system for each of them and gives
/// it back at once, and the system clears every page: a tenth of what it takes to archive without compression. What is
/// larger still goes back, and so does what is kept beyond the second bound; the most that is in use is not changed.
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only sets two numbers of the allocator, which takes its own locks. Where it refuses, nothing changes.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 4 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 32 << 20);
    }
}
