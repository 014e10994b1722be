//! A bucket, and the place of an archive in it.

use super::answer::Trouble;
use super::client::Client;
use super::list::Listing;
use super::place::{Place, encoded};
use super::settings::GcsSettings;
use kafka_store_statecharts::name::RESERVED;

/// A bucket, and the place of an archive in it.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) client: Client,
    pub(super) place: Place,
    pub(super) settings: GcsSettings,
}

/// Why a bucket cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    Trouble(Trouble),
    /// Two archives in one place.
    TwoLayouts,
}

impl From<Trouble> for Unusable {
    fn from(trouble: Trouble) -> Unusable {
        Unusable::Trouble(trouble)
    }
}

impl Bucket {
    pub(super) fn new(client: Client, settings: GcsSettings) -> Bucket {
        Bucket { client, place: Place::of(&settings.url), settings }
    }

    /// Looks where in the bucket the names begin.
    ///
    /// Without a prefix the original tool writes names that begin with a slash. What it began is gone on with, for
    /// another chain beside it would hold the same records once more.
    pub(super) async fn settle_layout(&mut self) -> Result<(), Unusable> {
        let listing = Listing { prefix: &self.place.root, by_folder: true, ..Listing::default() };
        let listed = self.list(listing).await?;
        if !self.place.root.is_empty() || !listed.folders.iter().any(|folder| folder == "/") {
            return Ok(());
        }
        if listed.folders.iter().any(|folder| *folder == format!("{RESERVED}/")) {
            return Err(Unusable::TwoLayouts);
        }
        self.place = self.place.with_leading_slash();
        Ok(())
    }

    /// An object as messages name it.
    pub(super) fn location_of(&self, object: &str) -> String {
        format!("gs://{}/{object}", self.place.bucket)
    }

    /// The key that is to encrypt a new object, as a part of a query.
    pub(super) fn kms_query(&self) -> String {
        self.settings.kms_key.as_ref().map(|key| format!("&kmsKeyName={}", encoded(key))).unwrap_or_default()
    }
}
