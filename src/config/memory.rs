//! `--memory-limit`: what the whole process may take, and who gets which part of it.

use super::size::{SizeError, parse_size};

/// The least limit. A batch of the brokers' usual largest size, 1 MB, may be 20 MB when it is unpacked, and
/// librdkafka unpacks it in one piece; its records take as much again.
const LEAST_BYTES: u64 = 64_000_000;

/// Why a text is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryLimitError {
    /// It is no size.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// Nothing would move.
    #[error("is too small: at least 64M, so that one batch of a producer, up to 1 MB, can be unpacked in it")]
    TooSmall,
}

/// The parts of `--memory-limit`. Everything that grows with the load is bounded by one of them.
///
/// | part | of the limit | bounds |
/// | --- | --- | --- |
/// | `batch_bytes` | at most a twelfth, and 4 MB for each core | records from when they are encoded until they are in a block or on disk; half as much again where some partitions stand still. A large one counts thrice: for itself, its block, and the block compressed |
/// | `block_bytes` | an eighth | blocks that are being filled, of all partitions, and those that wait to be written together; what does not fit goes to the disk early |
/// | `queue_bytes`, `queue_records` | at most a 32nd, and 1 MB for each core; a 32nd | what librdkafka has fetched ahead, values and what it keeps beside each record; looked at before each fetch |
/// | `at_once_bytes` | a 16th | records that are taken out of that queue at once, which librdkafka then counts no more; by the size of those before them |
/// | `fetch_bytes` | a 160th | one fetch, as it is sent. Unpacked it is 20 times that, and records of 100 bytes take five times their size in librdkafka: more than half of the limit, by which the queue overshoots |
///
/// What waits between Kafka and the disk is kept short on purpose: it is as much as keeps the cores at work, and what is
/// handed on soon still lies in their caches. With queues of 32 and 64 MB, archiving took a fifth more CPU time.
///
/// They add up to less than the limit. The program itself, its threads, and what each partition takes are the 64
/// MiB by which the process may exceed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// `--memory-limit`.
    pub limit_bytes: u64,
    /// For records between Kafka and the disk.
    pub batch_bytes: u64,
    /// For blocks that are being filled.
    pub block_bytes: u64,
    /// For the values of records that librdkafka has fetched ahead.
    pub queue_bytes: u64,
    /// How many records librdkafka may have fetched ahead.
    pub queue_records: u64,
    /// What is taken at once of what it has fetched ahead, with what it keeps beside each record.
    pub at_once_bytes: u64,
    /// One answer of one broker.
    pub fetch_bytes: u64,
    /// A record larger than this is handled alone.
    pub large_record_bytes: u64,
}

/// What librdkafka keeps beside the bytes of a record, rounded up.
pub const QUEUED_RECORD_BYTES: u64 = 512;
/// How many bytes of batches keep a core at work.
const BATCH_BYTES_A_CORE: u64 = 4_000_000;
/// How many bytes fetched ahead do, while the next fetch is under way.
const QUEUE_BYTES_A_CORE: u64 = 1_000_000;

impl MemoryPlan {
    /// The parts of a limit, for this machine.
    pub fn new(limit_bytes: u64) -> MemoryPlan {
        MemoryPlan::for_cores(limit_bytes, std::thread::available_parallelism().map_or(1, usize::from) as u64)
    }

    fn for_cores(limit_bytes: u64, cores: u64) -> MemoryPlan {
        // The upper bounds are librdkafka's own.
        MemoryPlan {
            limit_bytes,
            batch_bytes: (limit_bytes / 12).min(cores * BATCH_BYTES_A_CORE),
            block_bytes: limit_bytes / 8,
            queue_bytes: (limit_bytes / 32).min(cores * QUEUE_BYTES_A_CORE).min(2_000_000_000),
            queue_records: (limit_bytes / 32 / QUEUED_RECORD_BYTES).min(1_000_000),
            at_once_bytes: limit_bytes / 16,
            fetch_bytes: (limit_bytes / 160).min(50 << 20),
            large_record_bytes: limit_bytes / 8,
        }
    }

    /// Reads `--memory-limit`.
    ///
    /// # Errors
    /// If it is no size, or too small.
    pub fn parse(text: &str) -> Result<MemoryPlan, MemoryLimitError> {
        match parse_size(text)?.get() {
            limit_bytes if limit_bytes < LEAST_BYTES => Err(MemoryLimitError::TooSmall),
            limit_bytes => Ok(MemoryPlan::new(limit_bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_sizes_with_a_least_one() {
        assert_eq!(MemoryPlan::parse("64M"), Ok(MemoryPlan::new(64_000_000)));
        assert_eq!(MemoryPlan::parse("63.9M"), Err(MemoryLimitError::TooSmall));
        assert_eq!(MemoryPlan::parse("64X"), Err(MemoryLimitError::Size(SizeError::NotASize)));
    }

    #[test]
    fn the_parts_are_less_than_the_whole() {
        for (limit, cores) in
            [LEAST_BYTES, 256_000_000, 1 << 40].into_iter().flat_map(|limit| [(limit, 1), (limit, 999)])
        {
            let plan = MemoryPlan::for_cores(limit, cores);
            let unpacked = plan.fetch_bytes * 20 * 5;
            let all = plan.batch_bytes * 3 / 2
                + plan.block_bytes
                + plan.queue_bytes
                + plan.at_once_bytes
                + plan.queue_records * QUEUED_RECORD_BYTES
                + unpacked;
            assert!(all <= limit, "{limit}, {cores} cores: {all}");
            // A record that is not handled alone: thrice in the batches, in the queue, and in librdkafka's hands.
            let record = plan.large_record_bytes;
            assert!(3 * record + plan.block_bytes + plan.queue_bytes + 2 * record <= limit, "{limit}, {cores} cores");
        }
    }
}
