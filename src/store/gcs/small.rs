//! Small objects: created in one request, read in one.

use super::answer::{Meaning, Trouble, encode_crc32c};
use super::bucket::Bucket;
use super::client::Call;
use super::place::encoded;
use crate::store::{SMALL_OBJECT_BYTES_MAX, SmallOutcome};
use kafka_store_statecharts::failure::Class;
use serde_json::json;

impl Bucket {
    /// Creates an object of these bytes if it does not exist.
    pub(super) async fn create_small(&self, object: &str, bytes: &[u8]) -> Result<SmallOutcome, Trouble> {
        let call = self.create_call(object, bytes);
        let mut failures = 0;
        loop {
            let trouble = match self.client.call(&call).await {
                Ok(answer) => match answer.meaning() {
                    Meaning::Done => return Ok(SmallOutcome::Created),
                    Meaning::PreconditionFailed | Meaning::Forbidden | Meaning::Protected | Meaning::Unknown => {
                        // It may be there: somebody else's, or ours from a try whose answer was lost.
                        if let Some(stored) = self.read_small(object).await? {
                            return Ok(as_found(stored, bytes, failures > 0 || answer.meaning() == Meaning::Unknown));
                        }
                        if matches!(answer.meaning(), Meaning::Forbidden | Meaning::Protected) {
                            return Err(answer.trouble());
                        }
                        Trouble::unknown(answer.trouble().reason)
                    }
                    Meaning::Unauthorised => answer.trouble(),
                    _ => return Err(answer.trouble()),
                },
                Err(trouble) => match self.read_small(object).await? {
                    Some(stored) => return Ok(as_found(stored, bytes, true)),
                    None => trouble,
                },
            };
            self.client.before_retry(&mut failures, trouble).await?;
        }
    }

    /// Opens a session for an object, which needs the right to create it, and cancels it.
    pub(super) async fn try_to_create(&self, object: &str) -> Result<(), Trouble> {
        let (bucket, kms) = (encoded(&self.place.bucket), self.kms_query());
        let path = format!(
            "/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={}&ifGenerationMatch=0{kms}",
            encoded(object)
        );
        let answer = self.client.ask(&Call::post(path, "application/json; charset=UTF-8", b"{}".to_vec())).await?;
        match (answer.meaning(), answer.header("location")) {
            (Meaning::Done, Some(address)) => {
                // If this fails, the session ends by itself after a week.
                self.client.cancel(address).await;
                Ok(())
            }
            // Somebody has an object of this name: creating it was allowed.
            (Meaning::Done | Meaning::PreconditionFailed, _) => Ok(()),
            _ => Err(answer.trouble()),
        }
    }

    /// A small object's bytes, if it exists.
    pub(super) async fn read_small(&self, object: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let bytes = self.front(object, SMALL_OBJECT_BYTES_MAX as u64 + 1).await?;
        match bytes {
            // A part of it would be something else.
            Some(bytes) if bytes.len() > SMALL_OBJECT_BYTES_MAX => Err(Trouble {
                class: Class::Refused,
                meaning: Meaning::Refused,
                reason: format!("it is longer than {SMALL_OBJECT_BYTES_MAX} bytes: nothing that kafka-store has made"),
            }),
            whole => Ok(whole),
        }
    }

    fn create_call(&self, object: &str, bytes: &[u8]) -> Call {
        let bucket = encoded(&self.place.bucket);
        let mut path = format!(
            "/upload/storage/v1/b/{bucket}/o?uploadType=multipart&name={}&ifGenerationMatch=0",
            encoded(object)
        );
        path.push_str(&self.kms_query());
        let resource = json!({
            "name": object,
            "contentType": "application/json",
            "crc32c": encode_crc32c(crc32c::crc32c(bytes)),
        });
        let boundary = boundary(bytes);
        let mut body = format!(
            "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{resource}\r\n--{boundary}\r\n\
             Content-Type: application/json\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        Call::post(path, &format!("multipart/related; boundary={boundary}"), body)
    }
}

/// What was found under the name: perhaps what an earlier try of this very call has made.
fn as_found(stored: Vec<u8>, bytes: &[u8], may_be_ours: bool) -> SmallOutcome {
    if may_be_ours && stored == bytes { SmallOutcome::Created } else { SmallOutcome::AlreadyExists(stored) }
}

/// A line that is not in the bytes.
fn boundary(bytes: &[u8]) -> String {
    format!("kafka-store-{}", blake3::hash(bytes))
}
