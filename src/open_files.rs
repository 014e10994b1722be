//! How many files the process may have open: one for each open segment, and sockets.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides the files of open segments: sockets to brokers, logs, files being stored or walked.
const OTHERS: u64 = 256;

/// Raises the limit to what the process may raise it to, and returns how many segments may be open then.
pub fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let raised = match (current, maximum) {
        (None, _) => None,
        (Some(soft), hard) if hard.is_none_or(|hard| soft < hard) => {
            match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
                Ok(()) => maximum,
                // It stays as it is; the check of the assigned partitions says what follows.
                Err(_) => current,
            }
        }
        (soft, _) => soft,
    };
    raised.map_or(usize::MAX, segments_of)
}

/// How many segments may be open under a limit.
fn segments_of(limit: u64) -> usize {
    // Half of a small limit, so that some work is done under any.
    usize::try_from(limit.saturating_sub(OTHERS).max(limit / 2).max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_leaves_room_for_sockets() {
        let segments = raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(segments, limit.current.map_or(usize::MAX, segments_of));
        assert_eq!([1_024, 256, 20].map(segments_of), [768, 128, 10]);
    }
}
