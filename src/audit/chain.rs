//! The segments of all instances, put together: they must form chains.

use super::entry::{Content, PartitionKey};
use super::report::{Place, ProblemKind, Problems};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What all instances say of what is stored.
#[derive(Debug, Default)]
pub(super) struct Chains(BTreeMap<PartitionKey, Chain>);

#[derive(Debug, Default)]
struct Chain {
    stored: BTreeMap<u64, (Content, Place)>,
    /// Uploads that nobody knows the end of: the offsets after what was to be stored, by its start.
    doubts: BTreeMap<u64, BTreeSet<u64>>,
    /// Where walks found the chain to go on.
    located: BTreeMap<u64, Place>,
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:06}", self.topic, self.partition)?;
        if self.lineage > 1 {
            write!(f, "~{}", self.lineage)?;
        }
        Ok(())
    }
}

impl Chains {
    /// How many chains have segments.
    pub(super) fn count(&self) -> usize {
        self.0.values().filter(|chain| !chain.stored.is_empty()).count()
    }

    fn of(&mut self, key: &PartitionKey) -> &mut Chain {
        if !self.0.contains_key(key) {
            self.0.insert(key.clone(), Chain::default());
        }
        self.0.get_mut(key).expect("just inserted")
    }

    /// The store holds this under the segment's name. Who says so again must say the same.
    pub(super) fn stored(
        &mut self,
        key: &PartitionKey,
        start: u64,
        content: &Content,
        place: &Place,
        problems: &mut Problems,
    ) {
        let stored = &mut self.of(key).stored;
        let Some((other, other_place)) = stored.get(&start) else {
            stored.insert(start, (content.clone(), place.clone()));
            return;
        };
        if other != content {
            let what = if other.final_offset == content.final_offset { "other content" } else { "another end" };
            let message = format!("{key}/{start:020} is said to have {what} at {other_place}");
            problems.add(ProblemKind::DifferentContent, place, message);
        }
    }

    /// An upload may or may not have come to its end.
    pub(super) fn in_doubt(&mut self, key: &PartitionKey, start: u64, next_offset: u64) {
        self.of(key).doubts.entry(start).or_default().insert(next_offset);
    }

    /// A walk found that the chain goes on here.
    pub(super) fn located(&mut self, key: &PartitionKey, position: u64, place: &Place) {
        self.of(key).located.entry(position).or_insert_with(|| place.clone());
    }

    /// Judges each chain; returns how many segments that were in doubt are in the archive.
    pub(super) fn check(&self, problems: &mut Problems) -> u64 {
        self.0.iter().map(|(key, chain)| chain.check(key, problems)).sum()
    }
}

impl Chain {
    fn check(&self, key: &PartitionKey, problems: &mut Problems) -> u64 {
        let mut filled = 0;
        // The end of the chain so far: the offset after the last segment. Before the first there is nothing to know.
        let mut end: Option<u64> = None;
        for (begin, place) in self.begins() {
            let stored = self.stored.get(&begin);
            match end {
                Some(end) if begin < end => {
                    let message = match stored {
                        Some(_) => format!("{key}/{begin:020} starts before {end}, where the segment before it ends"),
                        None => format!("{key} is said to go on at {begin}, within a segment that ends before {end}"),
                    };
                    problems.add(ProblemKind::Overlap, place, message);
                }
                Some(end) if begin > end => match self.fill(end, begin) {
                    Some(count) => filled += count,
                    None => {
                        let last = begin - 1;
                        let message = format!("{key}: no log says who stored the offsets {end} to {last}");
                        problems.add(ProblemKind::BrokenChain, place, message);
                    }
                },
                _ => {}
            }
            let next = stored.map_or(begin, |(content, _)| content.next_offset());
            end = Some(end.map_or(next, |end| end.max(next)));
        }
        filled
    }

    /// Where segments start and walks ended, in order, each with a line that says so.
    fn begins(&self) -> BTreeMap<u64, &Place> {
        let mut begins: BTreeMap<u64, &Place> = self.located.iter().map(|(at, place)| (*at, place)).collect();
        begins.extend(self.stored.iter().map(|(at, (_, place))| (*at, place)));
        begins
    }

    /// How many segments that are in doubt lead from one offset to the other.
    fn fill(&self, from: u64, to: u64) -> Option<u64> {
        if from == to {
            return Some(0);
        }
        let ends = self.doubts.get(&from)?;
        ends.range(from + 1..=to).rev().find_map(|next| Some(self.fill(*next, to)? + 1))
    }
}
