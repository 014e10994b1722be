//! Keeps librdkafka 2.12.1 from ending the process over a batch whose checksum is wrong.
//!
//! It reports such a batch, which freezes the partition, but then reads on at a wrong place in the broker's answer
//! (`rd_kafka_buf_skip_to` is given a length, not a position). What it takes for the next batch's length there may be
//! too small; less the header it wraps around, and an assertion in `rd_slice_narrow_copy` aborts the process
//! (confluent-kafka-python issue 689). The linker puts this function before the one that lacks the check; its callers,
//! both in `rdkafka_msgset_reader.c`, take "no" for a batch that is not there whole.
//!
//! Only on Linux, whose linkers have `--wrap`; elsewhere nothing calls it.

use std::ffi::{c_int, c_void};

#[cfg(target_os = "linux")]
unsafe extern "C" {
    fn __real_rd_slice_narrow_copy_relative(orig: *const c_void, new_slice: *mut c_void, size: usize) -> c_int;
}

/// Whether the next `size` bytes of a slice are there; then `new_slice` is made of them.
///
/// # Safety
/// As librdkafka calls it: both are slices of its own.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_rd_slice_narrow_copy_relative(
    orig: *const c_void,
    new_slice: *mut c_void,
    size: usize,
) -> c_int {
    if size > isize::MAX as usize {
        return 0;
    }
    // SAFETY: by the function's own condition; the size is one that does not wrap around.
    unsafe { __real_rd_slice_narrow_copy_relative(orig, new_slice, size) }
}

/// Makes the linker find the function: nothing in Rust calls it.
pub(super) fn link() {
    #[cfg(target_os = "linux")]
    std::hint::black_box(__wrap_rd_slice_narrow_copy_relative as *const c_void);
}
