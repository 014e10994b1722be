//! Segments that may not have reached the disk are read before they count.

use super::identity::{Unfit, unfit};
use crate::avro::verify;
use crate::store::{ArchiveStore, LocalStore, UncleanEnds};
use kafka_store_statecharts::name::{ChainName, SegmentName};
use slog::{Logger, error, info, warn};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Reads the segments of a chain that are in doubt, each once.
pub(super) fn read_in_doubt(store: &dyn ArchiveStore, chain: &ChainName) -> Result<(), Unfit> {
    for start in store.in_doubt(chain)? {
        read_whole(store, &chain.segment(start))?;
    }
    Ok(())
}

fn read_whole(store: &dyn ArchiveStore, name: &SegmentName) -> Result<(), Unfit> {
    let location = store.location(name);
    let vanished = || Unfit::blocked(format!("{location} was there a moment ago, and is gone"));
    let object = store.open(name)?.ok_or_else(vanished)?;
    verify(object, name.start).map_err(|error| match unfit(&location, error) {
        Unfit::Blocked(blocked) => Unfit::blocked(format!(
            "{}. The process that stored it ended before it could know that its file was on the disk",
            blocked.reason
        )),
        other => other,
    })?;
    store.confirm(name);
    Ok(())
}

/// Starts to read what earlier processes left in doubt, if there is anything, in all chains; this process may be assigned
/// few of them. The walk of a chain does not wait for this, but reads its own.
pub fn read_all_in_doubt(store: &Arc<LocalStore>, log: &Logger) -> Option<JoinHandle<()>> {
    let ends = match store.unclean_ends() {
        Ok(ends) if ends.is_empty() => return None,
        Ok(ends) => ends,
        Err(error) => {
            warn!(log, "cannot find out how earlier processes ended"; "reason" => %error);
            return None;
        }
    };
    for reason in ends.reasons() {
        warn!(log, "an earlier process ended uncleanly: the segments that it stored last are read from the disk";
            "reason" => reason, "store" => store.describe());
    }
    let (store, log) = (Arc::clone(store), log.clone());
    let read = move || read_all(&store, &ends, &log);
    Some(
        std::thread::Builder::new().name("in-doubt".to_owned()).spawn(read).expect("the system starts one more thread"),
    )
}

fn read_all(store: &LocalStore, ends: &UncleanEnds, log: &Logger) {
    let mut damaged = 0;
    let read = store.chains().map_err(Unfit::from).and_then(|chains| {
        for chain in &chains {
            match read_in_doubt(store, chain) {
                Err(Unfit::Blocked(blocked)) => {
                    error!(log, "segment damaged"; "reason" => blocked.reason, "chain" => %chain);
                    damaged += 1;
                }
                other => other?,
            }
        }
        Ok(chains.len())
    });
    match read {
        // They stay in doubt, so that each walk finds them.
        Ok(_) if damaged > 0 => {}
        Ok(chains) => match store.settle_unclean_ends(ends) {
            Ok(()) => info!(log, "the segments in doubt are whole"; "chains" => chains),
            Err(error) => warn!(log, "segments stay in doubt"; "reason" => %error),
        },
        Err(Unfit::Store(error)) => warn!(log, "segments stay in doubt"; "reason" => %error),
        Err(Unfit::Blocked(blocked)) => warn!(log, "segments stay in doubt"; "reason" => blocked.reason),
    }
}
