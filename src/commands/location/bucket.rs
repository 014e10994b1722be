//! Locations in Google Cloud Storage: `gs://bucket/prefix`, and a topic, a partition or a segment below that.

use super::{Location, Place, Segments};
use crate::cli::GcsArgs;
use crate::commands::CommandError;
use crate::config::GcsAccess;
use crate::exit::ExitCode;
use crate::store::{ArchiveStore, GcsStore, GcsUrl, Scope};
use kafka_store_statecharts::name::{ChainName, RESERVED, SegmentName};
use kafka_store_statecharts::topic::TopicName;
use slog::{Discard, Logger, o};
use std::sync::Arc;

/// What such locations begin with.
pub(in crate::commands) const SCHEME: &str = "gs://";

/// A bucket, and the way to its service.
struct Bucket<'a> {
    access: GcsAccess,
    name: &'a str,
}

/// What the listing says that a location is. A folder says what it is by what lies below it: a topic may have the name
/// of a partition, and an archive that of a topic.
pub(super) fn find(url: &str, gcs: &GcsArgs, segments: Segments) -> Result<Location, CommandError> {
    let (bucket, parts) = split(url, gcs)?;
    let failed = |error| CommandError::from_error(&error);
    let place = |store, scope| Ok(Location::Place(Place { store, scope, is_remote: true }));
    let has_origins = |store: &dyn ArchiveStore, below: &str| match segments {
        Segments::Required => Ok(false),
        Segments::Optional => store.list_small(&format!("{RESERVED}/origins{below}")).map(|names| !names.is_empty()),
    };
    if let [root @ .., topic, partition, file] = &parts[..]
        && let Some(name) = segment_of(topic, partition, file)
    {
        let store = bucket.open(root)?;
        if store.head(&name).map_err(failed)?.is_some() {
            return Ok(Location::Object { store, name });
        }
    }
    if let [root @ .., topic, partition] = &parts[..]
        && let Some(chain) = ChainName::parse(topic, partition)
    {
        let store = bucket.open(root)?;
        let has_origin = || match segments {
            Segments::Required => Ok(false),
            Segments::Optional => store.read_small(&chain.origin_object()).map(|origin| origin.is_some()),
        };
        if !store.segments_from(&chain, None).map_err(failed)?.is_empty() || has_origin().map_err(failed)? {
            return place(store, Scope::Chain(chain));
        }
    }
    if let [root @ .., topic] = &parts[..]
        && let Ok(topic) = TopicName::new(topic)
    {
        let store = bucket.open(root)?;
        let below = format!("/{topic}");
        if !store.chains_of(&topic).map_err(failed)?.is_empty()
            || has_origins(store.as_ref(), &below).map_err(failed)?
        {
            return place(store, Scope::Topic(topic));
        }
    }
    let store = bucket.open(&parts)?;
    if store.chains().map_err(failed)?.is_empty() && !has_origins(store.as_ref(), "").map_err(failed)? {
        return Err(CommandError::new(format!(
            "{url} holds no segments: give gs://BUCKET/PREFIX of an archive, or a topic, a partition or a segment below \
             it (PREFIX/TOPIC/PARTITION/OFFSET)"
        )));
    }
    place(store, Scope::Archive)
}

/// The archive and the name of a segment that need not be there yet.
pub(in crate::commands) fn segment(
    url: &str,
    gcs: &GcsArgs,
) -> Result<(Arc<dyn ArchiveStore>, SegmentName), CommandError> {
    let (bucket, parts) = split(url, gcs)?;
    let [root @ .., topic, partition, file] = &parts[..] else { return Err(no_segment(url)) };
    let name = segment_of(topic, partition, file).ok_or_else(|| no_segment(url))?;
    Ok((bucket.open(root)?, name))
}

/// The archive itself, whatever it holds.
pub(in crate::commands) fn archive(url: &str, gcs: &GcsArgs) -> Result<Arc<dyn ArchiveStore>, CommandError> {
    if !url.starts_with(SCHEME) {
        let message = format!("--gcloud-store-url {url} is no bucket: write gs://BUCKET or gs://BUCKET/PREFIX");
        return Err(CommandError::with_code(message, ExitCode::WrongUsage));
    }
    let (bucket, parts) = split(url, gcs)?;
    bucket.open(&parts)
}

fn no_segment(url: &str) -> CommandError {
    CommandError::new(format!(
        "{url} is not the name of a segment: give one, as in gs://bucket/prefix/sample/000000/00000000000000000000"
    ))
}

fn segment_of(topic: &str, partition: &str, file: &str) -> Option<SegmentName> {
    Some(ChainName::parse(topic, partition)?.segment(SegmentName::parse_file_name(file)?))
}

fn split<'a>(url: &'a str, gcs: &GcsArgs) -> Result<(Bucket<'a>, Vec<&'a str>), CommandError> {
    let access = GcsAccess::parse(gcs).map_err(|error| CommandError::with_code(error, ExitCode::WrongUsage))?;
    let mut parts = url.trim_start_matches(SCHEME).split('/').filter(|part| !part.is_empty());
    let name = parts.next().unwrap_or("");
    Ok((Bucket { access, name }, parts.collect()))
}

impl Bucket<'_> {
    /// The archive whose names begin with these parts.
    fn open(&self, root: &[&str]) -> Result<Arc<dyn ArchiveStore>, CommandError> {
        let text = format!("{SCHEME}{}/{}", self.name, root.join("/"));
        let url: GcsUrl = text.parse().map_err(|error| CommandError::new(format!("{text} {error}")))?;
        // What is tried again is tried a bounded number of times, and then said.
        let settings = self.access.settings(url, &Logger::root(Discard, o!()));
        let store = GcsStore::open(&settings).map_err(|error| CommandError::from_error(&error))?;
        Ok(Arc::new(store))
    }
}
