//! How far a run with `--until-end` has come, for whoever shows it.

use kafka_store_statecharts::offset::Offset;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Offsets of all partitions together. Offsets, not records: what the log does not show counts, too.
#[derive(Debug, Default)]
pub struct Progress {
    wanted: AtomicU64,
    reached: AtomicU64,
}

impl Progress {
    /// How many offsets lie between where the partitions began and their targets. Grows as they are located.
    pub fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// How many of these are stored, or in open segments: the files may be as large as all there is.
    pub fn reached(&self) -> u64 {
        self.reached.load(Ordering::Relaxed)
    }
}

/// One partition's part in the progress.
#[derive(Debug)]
pub(crate) struct Share {
    all: Arc<Progress>,
    target: Option<Offset>,
    reached: Option<Offset>,
}

impl Share {
    pub(crate) fn new(all: Arc<Progress>, target: Option<Offset>) -> Share {
        Share { all, target, reached: None }
    }

    /// Everything below an offset is stored or in an open segment; the first time it says where the partition begins.
    pub(crate) fn reaches(&mut self, next_offset: Offset) {
        let Some(target) = self.target else { return };
        let now = next_offset.min(target);
        match self.reached {
            None => {
                self.all.wanted.fetch_add(now.distance_to(target), Ordering::Relaxed);
                self.reached = Some(now);
            }
            Some(before) if now > before => {
                self.all.reached.fetch_add(before.distance_to(now), Ordering::Relaxed);
                self.reached = Some(now);
            }
            Some(_) => {} // What was open was given up, or the chain ends earlier; it will come here again.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_add_up_to_their_targets() {
        let offset = |number| Offset::new(number).expect("legal");
        let all = Arc::new(Progress::default());
        let mut first = Share::new(Arc::clone(&all), Some(offset(100)));
        let mut second = Share::new(Arc::clone(&all), Some(offset(50)));
        let mut without = Share::new(Arc::clone(&all), None);
        for share in [&mut first, &mut second, &mut without] {
            share.reaches(offset(40));
        }
        assert_eq!((all.wanted(), all.reached()), (70, 0));
        first.reaches(offset(70));
        first.reaches(offset(60));
        second.reaches(offset(90));
        assert_eq!((all.wanted(), all.reached()), (70, 40));
    }
}
