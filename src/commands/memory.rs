//! The memory of commands that decode records.

use crate::avro::DecodeMemory;
use crate::config::parse_size;
use clap::Args;

/// Memory for decoding.
#[derive(Args, Clone, Copy, Debug)]
pub struct MemoryArgs {
    /// Memory for records that are read and decoded; at least 16M
    ///
    /// Blocks as they are stored, blocks decompressed, and lines that wait to be printed stay below this together. The
    /// program itself takes up to 64 MiB more. A block must fit alone: its stored and its decompressed bytes may have
    /// seven eighths of it. A larger one ends the command with an error that says its size.
    // Global for kafka-store-reader, and so by another name than the daemon's.
    #[arg(
        id = "decode_memory",
        long = "memory-limit",
        value_name = "SIZE",
        env = "KAFKA_STORE_MEMORY_LIMIT",
        hide_env_values = true,
        default_value = "256M",
        value_parser = parse_limit,
        allow_negative_numbers = true,
        global = true
    )]
    pub memory_limit: u64,
}

/// The least limit: a few blocks of common size for each of a few threads.
const LEAST_BYTES: u64 = 16_000_000;

fn parse_limit(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text).map_err(|error| error.to_string())?.get();
    if bytes < LEAST_BYTES {
        return Err("is too small: at least 16M, so that blocks can be decoded on some threads".into());
    }
    Ok(bytes)
}

impl Default for MemoryArgs {
    fn default() -> MemoryArgs {
        MemoryArgs { memory_limit: crate::avro::DECODE_MEMORY_DEFAULT }
    }
}

impl MemoryArgs {
    /// Sets the limit for every reader of this process.
    pub(super) fn limit_process(self) {
        DecodeMemory::limit_process(self.memory_limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_sizes_with_a_least_one() {
        assert_eq!(parse_limit("16M"), Ok(16_000_000));
        assert_eq!(parse_limit("1Gi"), Ok(1 << 30));
        for (wrong, why) in [("15.9M", "too small"), ("much", "not a size"), ("0", "more than zero"), ("-1", "zero")] {
            assert!(parse_limit(wrong).expect_err(wrong).contains(why), "{wrong}");
        }
    }
}
