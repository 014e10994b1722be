//! An archive in Google Cloud Storage.
//!
//! By the JSON API over HTTP/1.1, for no published client keeps a resumable session's address, without which an upload
//! cannot go on in another process. All calls block; what they wait for runs on a small runtime of its own.

mod answer;
mod auth;
mod bucket;
mod client;
mod list;
mod place;
mod read;
mod runtime;
mod session;
mod settings;
mod small;
mod strangers;
mod transitions;
mod upload;

pub use auth::GcsCredentials;
pub use client::{Draw, Jitter};
pub use place::{GcsUrl, GcsUrlError};
pub use session::Sessions;
pub use settings::GcsSettings;
pub use transitions::UploadTransitions;

use super::error::{StoreError, StoreErrorKind};
use super::{
    ArchiveStore, CreateOutcome, ObjectStat, SMALL_OBJECT_BYTES_MAX, Scope, SegmentFile, SmallOutcome, crc32c_of_file,
};
use answer::{Meaning, Trouble, stat};
use bucket::{Bucket, Unusable};
use client::Client;
use kafka_store_statecharts::failure::Class;
use kafka_store_statecharts::name::{ChainName, RESERVED, SegmentName};
use kafka_store_statecharts::offset::Offset;
use kafka_store_statecharts::topic::TopicName;
use list::Listing;
use read::ObjectReader;
use runtime::runtime;
use rustix::io::Errno;
use serde_json::Value;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use upload::{UploadEnd, Uploading};

/// A bucket that holds an archive, under the names that the original tool gives its objects.
///
/// Any number of processes may write to the same bucket.
#[derive(Debug)]
pub struct GcsStore {
    bucket: Arc<Bucket>,
    sessions: Sessions,
    transitions: UploadTransitions,
}

/// Folders and objects of one folder.
struct Level {
    folders: Vec<String>,
    objects: Vec<String>,
}

impl GcsStore {
    /// Opens the archive, and looks whether it can be listed.
    ///
    /// # Errors
    /// If there are no credentials, no such bucket, or no right to list it; if nothing answers; or if it holds two
    /// archives in one place.
    pub fn open(settings: &GcsSettings) -> Result<GcsStore, StoreError> {
        let location = settings.url.to_string();
        let client = Client::new(settings).map_err(|reason| {
            StoreError::at(StoreErrorKind::Invalid, "open", location.clone(), None::<String>).with_advice(reason)
        })?;
        let mut bucket = Bucket::new(client, settings.clone());
        match runtime().block_on(bucket.settle_layout()) {
            Ok(()) => Ok(GcsStore {
                bucket: Arc::new(bucket),
                sessions: Sessions::in_memory(&settings.log),
                transitions: UploadTransitions::default(),
            }),
            Err(Unusable::Trouble(trouble)) => Err(failed(&bucket, "list", location, LIST, trouble)),
            Err(Unusable::TwoLayouts) => {
                let advice = "it holds objects that begin with a slash, as kafka-store 0.1.4 writes them without a \
                              prefix, and others of this program that do not: move either to a prefix of its own";
                Err(StoreError::at(StoreErrorKind::Invalid, "use", location, None::<String>)
                    .with_advice(advice.to_owned()))
            }
        }
    }

    /// Finds out whether objects may be created, and creates none: a session is opened, and cancelled.
    ///
    /// # Errors
    /// If not.
    pub fn try_to_create(&self) -> Result<(), StoreError> {
        let name = format!("{RESERVED}/plan");
        runtime()
            .block_on(self.bucket.try_to_create(&self.bucket.place.object(&name)))
            .map_err(|trouble| self.error("create", &name, CREATE, trouble))
    }

    /// With sessions that may outlive the process, and those of an earlier one.
    pub fn with_sessions(mut self, sessions: Sessions) -> GcsStore {
        self.sessions = sessions;
        self
    }

    /// Which tells each change of an upload's state.
    pub fn with_transitions(mut self, transitions: UploadTransitions) -> GcsStore {
        self.transitions = transitions;
        self
    }

    fn error(&self, action: &'static str, name: &str, right: &str, trouble: Trouble) -> StoreError {
        failed(&self.bucket, action, self.bucket.place.location(name), right, trouble)
    }

    fn folders(&self, below: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.level(below)?.folders)
    }

    /// What lies directly below a folder, by the names that it has there.
    fn level(&self, below: &str) -> Result<Level, StoreError> {
        let prefix = self.bucket.place.object(below);
        let listing = Listing { prefix: &prefix, by_folder: true, ..Listing::default() };
        let listed = runtime()
            .block_on(self.bucket.list(listing))
            .map_err(|trouble| self.error("list", below, LIST, trouble))?;
        let folder = |name: String| Some(name.strip_prefix(&prefix)?.strip_suffix('/')?.to_owned());
        let object = |object: Value| Some(object["name"].as_str()?.strip_prefix(&prefix)?.to_owned());
        Ok(Level {
            folders: listed.folders.into_iter().filter_map(folder).collect(),
            objects: listed.objects.into_iter().filter_map(object).collect(),
        })
    }

    fn segments(
        &self,
        chain: &ChainName,
        from: Option<Offset>,
        with_stats: bool,
    ) -> Result<Vec<(Offset, Value)>, StoreError> {
        let folder = format!("{chain}/");
        let prefix = self.bucket.place.object(&folder);
        let from = from.map(|from| self.bucket.place.object(&chain.segment(from).to_string()));
        let listing = Listing { prefix: &prefix, from: from.as_deref(), with_stats, ..Listing::default() };
        let listed = runtime()
            .block_on(self.bucket.list(listing))
            .map_err(|trouble| self.error("list", &folder, LIST, trouble))?;
        let start =
            |resource: &Value| resource["name"].as_str()?.strip_prefix(&prefix).and_then(SegmentName::parse_file_name);
        let mut segments: Vec<(Offset, Value)> =
            listed.objects.into_iter().filter_map(|resource| Some((start(&resource)?, resource))).collect();
        segments.sort_by_key(|(start, _)| *start);
        Ok(segments)
    }
}

/// True if a file has lost what was written to it.
fn is_lost(error: &io::Error) -> bool {
    error.kind() == ErrorKind::UnexpectedEof || error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

/// Where the bytes were damaged: on the disk, or on their way.
fn quarantined(file: &SegmentFile, trouble: &Trouble) -> (Class, String) {
    let (class, where_to_look) = match crc32c_of_file(&file.path) {
        Ok((_, crc32c)) if crc32c == file.crc32c => {
            (Class::Conflict, "the spool file is whole, so they are damaged on their way: check the network")
        }
        Ok(_) => {
            let advice =
                "the spool file has changed since it was sealed: check the disk; its records are fetched again";
            (Class::Lost, advice)
        }
        Err(_) => (Class::Lost, "the spool file cannot be read: check the disk; its records are fetched again"),
    };
    let reason = format!("its bytes do not arrive as they were sealed, twice ({}); {where_to_look}", trouble.reason);
    (class, reason)
}

/// The rights that calls need.
const LIST: &str = "storage.objects.list (in roles/storage.objectViewer)";
const GET: &str = "storage.objects.get (in roles/storage.objectViewer)";
const CREATE: &str = "storage.objects.create (in roles/storage.objectCreator)";

/// Says what is missing, where something is.
fn failed(bucket: &Bucket, action: &'static str, location: String, right: &str, trouble: Trouble) -> StoreError {
    let kind = trouble.kind();
    let Trouble { meaning, class, reason } = trouble;
    let name = &bucket.place.bucket;
    let advice = match meaning {
        Meaning::Forbidden => format!("{reason}; give its account the right {right} on the bucket {name}"),
        Meaning::Protected => format!(
            "{reason}; no right helps: kafka-store replaces nothing, and an object that does not show has this name. Look \
             for it (gcloud storage ls --all-versions), or begin a new chain (kafka-store resolve)"
        ),
        Meaning::NotFound => format!("{reason}; is there a bucket {name}?"),
        Meaning::Unauthorised => format!("{reason}; check the credentials"),
        Meaning::Unknown => format!("{reason}; it may pass by itself"),
        _ => reason,
    };
    StoreError::at(kind, action, location, None::<String>).with_advice(advice).with_class(class)
}

impl ArchiveStore for GcsStore {
    fn create_segment(&self, file: &SegmentFile) -> Result<CreateOutcome, StoreError> {
        let uploading = Uploading::new(&self.bucket, &self.sessions, file);
        let mut log = self.transitions.upload(&file.name);
        let name = file.name.to_string();
        let error =
            |kind, advice| StoreError::at(kind, "store", self.location(&file.name), None::<String>).with_advice(advice);
        match runtime().block_on(uploading.run(&mut log)) {
            UploadEnd::Created(stat) => Ok(CreateOutcome::Created(stat)),
            UploadEnd::AlreadyExists => Ok(CreateOutcome::AlreadyExists),
            UploadEnd::Refused(trouble, right) => Err(self.error("store", &name, right, trouble)),
            UploadEnd::Later(trouble) => {
                let advice = format!("{}; it may pass by itself", trouble.reason);
                Err(error(StoreErrorKind::Transient, advice).with_class(trouble.class))
            }
            UploadEnd::Unreadable(io) if io.kind() == ErrorKind::NotFound => Err(error(
                StoreErrorKind::SpoolFileMissing,
                "its spool file is gone; its records are fetched again".to_owned(),
            )),
            // What the disk does not give back once it does not give back later.
            UploadEnd::Unreadable(io) if is_lost(&io) => Err(error(
                StoreErrorKind::Refused,
                format!("its spool file cannot be read: {io}; check the disk; its records are fetched again"),
            )
            .with_class(Class::Lost)),
            UploadEnd::Unreadable(io) => {
                Err(error(StoreErrorKind::Transient, format!("its spool file cannot be read: {io}")))
            }
            UploadEnd::Quarantined(trouble) => {
                let (class, advice) = quarantined(file, &trouble);
                Err(error(StoreErrorKind::Refused, advice).with_class(class))
            }
        }
    }

    fn create_small(&self, name: &str, bytes: &[u8]) -> Result<SmallOutcome, StoreError> {
        let object = self.small_object(name)?;
        if bytes.len() > SMALL_OBJECT_BYTES_MAX {
            let location = self.bucket.place.location(name);
            return Err(StoreError::too_large(location, bytes.len()));
        }
        runtime()
            .block_on(self.bucket.create_small(&object, bytes))
            .map_err(|trouble| self.error("create", name, CREATE, trouble))
    }

    fn read_small(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let object = self.small_object(name)?;
        runtime().block_on(self.bucket.read_small(&object)).map_err(|trouble| self.error("read", name, GET, trouble))
    }

    fn list_small(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let root = self.bucket.place.object("");
        let prefix = format!("{}/", self.small_object(folder)?);
        let listed = runtime()
            .block_on(self.bucket.list(Listing { prefix: &prefix, ..Listing::default() }))
            .map_err(|trouble| self.error("list", folder, LIST, trouble))?;
        let name = |object: &Value| Some(object["name"].as_str()?.strip_prefix(&root)?.to_owned());
        let mut names: Vec<String> = listed.objects.iter().filter_map(name).collect();
        names.sort();
        Ok(names)
    }

    fn chains(&self) -> Result<Vec<ChainName>, StoreError> {
        let mut chains = Vec::new();
        for topic in self.folders("")?.iter().filter_map(|folder| TopicName::new(folder).ok()) {
            chains.append(&mut self.chains_of(&topic)?);
        }
        chains.sort();
        Ok(chains)
    }

    fn chains_of(&self, topic: &TopicName) -> Result<Vec<ChainName>, StoreError> {
        let folders = self.folders(&format!("{topic}/"))?;
        let mut chains: Vec<ChainName> =
            folders.iter().filter_map(|folder| ChainName::parse(topic.as_str(), folder)).collect();
        chains.sort();
        Ok(chains)
    }

    fn segments_from(&self, chain: &ChainName, from: Option<Offset>) -> Result<Vec<Offset>, StoreError> {
        Ok(self.segments(chain, from, false)?.into_iter().map(|(start, _)| start).collect())
    }

    fn has_segments(&self, chain: &ChainName) -> Result<bool, StoreError> {
        let folder = format!("{chain}/");
        let prefix = self.bucket.place.object(&folder);
        let listing = Listing { prefix: &prefix, ..Listing::default() };
        let is_segment = |name: &str| name.strip_prefix(&prefix).and_then(SegmentName::parse_file_name).is_some();
        runtime()
            .block_on(self.bucket.has_any(listing, is_segment))
            .map_err(|trouble| self.error("list", &folder, LIST, trouble))
    }

    fn objects_from(&self, chain: &ChainName, from: Option<Offset>) -> Result<Vec<(Offset, ObjectStat)>, StoreError> {
        let unreadable = |start: Offset| {
            let trouble = Trouble::unknown("what it says of the object cannot be read");
            self.error("list", &chain.segment(start).to_string(), LIST, trouble)
        };
        let segments = self.segments(chain, from, true)?;
        segments
            .into_iter()
            .map(|(start, resource)| Ok((start, stat(&resource).ok_or_else(|| unreadable(start))?)))
            .collect()
    }

    fn head(&self, name: &SegmentName) -> Result<Option<ObjectStat>, StoreError> {
        let name = name.to_string();
        runtime()
            .block_on(self.bucket.stat(&self.bucket.place.object(&name)))
            .map_err(|trouble| self.error("look at", &name, GET, trouble))
    }

    fn open(&self, name: &SegmentName) -> Result<Option<Box<dyn Read + Send>>, StoreError> {
        let object = self.bucket.place.object(&name.to_string());
        let reader = |stat| Box::new(ObjectReader::new(Arc::clone(&self.bucket), object, stat)) as Box<dyn Read + Send>;
        Ok(self.head(name)?.map(reader))
    }

    fn read_front(&self, name: &SegmentName, length: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let name = name.to_string();
        runtime()
            .block_on(self.bucket.front(&self.bucket.place.object(&name), length))
            .map_err(|trouble| self.error("read", &name, GET, trouble))
    }

    fn strangers(&self, scope: &Scope) -> Result<Vec<String>, StoreError> {
        strangers::find(self, scope)
    }

    fn way_back(&self) -> &'static str {
        "bring back what is missing: what a lifecycle rule or somebody deleted, from its soft-deleted or noncurrent version \
         (gcloud storage restore), else from a copy; and have no rule delete what is in this archive"
    }

    fn location(&self, name: &SegmentName) -> String {
        self.bucket.place.location(&name.to_string())
    }

    fn describe(&self) -> String {
        let place = &self.bucket.place;
        format!("gs://{}/{}", place.bucket, place.root)
    }
}

impl GcsStore {
    /// The whole name of a small object, which must be below [`RESERVED`].
    fn small_object(&self, name: &str) -> Result<String, StoreError> {
        let mut parts = name.split('/');
        let legal = parts.next() == Some(RESERVED)
            && parts.clone().next().is_some()
            && parts.all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\0', '\r', '\n']));
        if legal {
            return Ok(self.bucket.place.object(name));
        }
        let location = self.bucket.place.location(name);
        Err(StoreError::at(StoreErrorKind::Invalid, "use as the name of a small object", location, None::<String>))
    }
}
