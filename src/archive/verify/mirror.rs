//! Checks that a mirror holds the same segments.

use super::VerifyReport;
use super::problem::{Problem, ProblemKind};
use super::segment::text_of;
use crate::archive::stored_header::Front;
use crate::store::{ArchiveStore, ObjectStat, Scope, StoreError};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use kafka_store_statecharts::offset::Offset;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read};

/// A mirror's segments, chain by chain.
#[derive(Debug)]
pub(super) struct Mirror<'a> {
    store: &'a dyn ArchiveStore,
    copies: BTreeMap<ChainName, BTreeMap<Offset, ObjectStat>>,
    /// The archive's own.
    own: BTreeMap<ChainName, BTreeSet<Offset>>,
}

impl<'a> Mirror<'a> {
    /// Lists the part of the mirror that is compared: after the archive's `own`, for the archive is written first.
    pub(super) fn list(
        store: &'a dyn ArchiveStore,
        scope: &Scope,
        own: BTreeMap<ChainName, BTreeSet<Offset>>,
    ) -> Result<Mirror<'a>, StoreError> {
        let mut chains: BTreeSet<ChainName> = own.keys().cloned().collect();
        match scope {
            Scope::Archive => chains.extend(store.chains()?),
            Scope::Topic(topic) => chains.extend(store.chains_of(topic)?),
            Scope::Chain(_) => {}
        }
        let mut copies = BTreeMap::new();
        for chain in chains {
            let objects = store.objects_from(&chain, None)?.into_iter().collect();
            copies.insert(chain, objects);
        }
        Ok(Mirror { store, copies, own })
    }

    /// Describes what is wrong with the mirror's copy of a segment. `crc32c` is that of the archive's bytes, if they were read.
    pub(super) fn compare(
        &self,
        archive: &dyn ArchiveStore,
        name: &SegmentName,
        stat: &ObjectStat,
        crc32c: Option<u32>,
        is_deep: bool,
    ) -> Option<(ProblemKind, String)> {
        let copies = self.copies.get(&name.chain)?;
        let location = self.store.location(name);
        let Some(copy) = copies.get(&name.start) else {
            // The front of a mirror may be pruned like that of an archive.
            let is_before_front = copies.keys().next().is_some_and(|first| name.start < *first);
            let lacks = || format!("{location} is not there: a daemon that writes to both stores fills it in");
            return (!is_before_front).then(|| (ProblemKind::NotMirrored, lacks()));
        };
        let differs = |how: String| Some((ProblemKind::MirrorDiffers, format!("{location} {how}")));
        if copy.bytes != stat.bytes {
            return differs(format!("has {} bytes, and this one {}", copy.bytes, stat.bytes));
        }
        let own = crc32c.or(stat.crc32c);
        let is_same = match copy.crc32c {
            Some(copy) if !is_deep && own.is_some() => Ok(own == Some(copy)),
            _ if is_deep => checksum(self.store, name).and_then(|copy| match own {
                Some(own) => Ok(own == copy),
                None => Ok(checksum(archive, name)? == copy),
            }),
            _ => same_front(archive, self.store, name),
        };
        match is_same {
            Ok(true) => None,
            Ok(false) => {
                differs("holds other bytes: one of the two is damaged, or they are of two archives".to_owned())
            }
            Err(text) => Some((ProblemKind::Unreadable, text)),
        }
    }

    /// Reports segments that only the mirror has, and fronts that differ.
    pub(super) fn compare_names(&self, report: &mut VerifyReport) {
        for (chain, copies) in &self.copies {
            let Some(first_copy) = copies.keys().next() else { continue };
            let own = self.own.get(chain);
            let first_own = own.and_then(BTreeSet::first);
            for start in copies.keys().filter(|start| first_own.is_none_or(|first| first <= *start)) {
                if own.is_none_or(|own| !own.contains(start)) {
                    report.problems.push(Problem {
                        kind: ProblemKind::MirrorDiffers,
                        chain: Some(chain.clone()),
                        location: self.store.location(&chain.segment(*start)),
                        message: "the archive has no such segment: is this the mirror of it?".to_owned(),
                    });
                }
            }
            match first_own {
                Some(first) if first < first_copy => {
                    report.notes.push(format!("the mirror's {chain} begins at {first_copy}, later than the archive's"));
                }
                Some(first) if first_copy < first => {
                    report.notes.push(format!("the mirror's {chain} begins at {first_copy}, before the archive's"));
                }
                _ => {}
            }
        }
    }
}

fn same_front(archive: &dyn ArchiveStore, mirror: &dyn ArchiveStore, name: &SegmentName) -> Result<bool, String> {
    let front = |store: &dyn ArchiveStore| match Front::of_object(store, name) {
        Ok(front) => Ok(front.map(|front| front.bytes)),
        Err(error) => Err(text_of(&error)),
    };
    Ok(front(archive)? == front(mirror)?)
}

/// The checksum of an object's bytes as they are read.
fn checksum(store: &dyn ArchiveStore, name: &SegmentName) -> Result<u32, String> {
    let failed = |error: &dyn std::error::Error| format!("{} cannot be read: {}", store.location(name), text_of(error));
    let object = store.open(name).map_err(|error| text_of(&error))?;
    let mut object = object.ok_or_else(|| format!("{} is gone", store.location(name)))?;
    let (mut crc32c, mut buffer) = (0, vec![0; 1 << 18]);
    loop {
        match object.read(&mut buffer) {
            Ok(0) => return Ok(crc32c),
            Ok(count) => crc32c = crc32c::crc32c_append(crc32c, &buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(&error)),
        }
    }
}
