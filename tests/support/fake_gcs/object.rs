//! Objects as the server keeps them, and as clients describe them.

use super::answer::Refusal;
use super::clock::rfc_3339;
use super::content::{Checksums, Content, Declared};
use super::request::encode;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// One generation of an object. It never changes, and it is kept after it was replaced or deleted.
#[derive(Clone, Debug)]
pub(crate) struct StoredObject {
    pub(crate) bucket: String,
    pub(crate) name: String,
    pub(crate) generation: i64,
    pub(crate) content: Content,
    pub(crate) checksums: Checksums,
    /// Composite objects have no MD5.
    pub(crate) has_md5: bool,
    pub(crate) content_type: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) storage_class: String,
    pub(crate) kms_key: Option<String>,
    pub(crate) custom_time: Option<String>,
    /// When it was finalized.
    pub(crate) created: OffsetDateTime,
}

impl StoredObject {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.content.to_vec()
    }

    /// Its resource in JSON.
    pub(crate) fn resource(&self, base_url: &str) -> Value {
        let StoredObject { bucket, name, generation, .. } = self;
        let link = format!("{base_url}/storage/v1/b/{bucket}/o/{}", encode(name));
        let created = rfc_3339(self.created);
        let mut resource = json!({
            "kind": "storage#object",
            "id": format!("{bucket}/{name}/{generation}"),
            "selfLink": link,
            "mediaLink": format!("{base_url}/download{}?generation={generation}&alt=media", &link[base_url.len()..]),
            "name": name,
            "bucket": bucket,
            "generation": generation.to_string(),
            "metageneration": "1",
            "contentType": self.content_type,
            "storageClass": self.storage_class,
            "size": self.content.length().to_string(),
            "crc32c": self.checksums.crc32c_text(),
            "etag": self.etag(),
            "timeCreated": created,
            "updated": created,
            "timeStorageClassUpdated": created,
            "timeFinalized": created,
        });
        if self.has_md5 {
            resource["md5Hash"] = json!(self.checksums.md5_text());
        }
        if !self.metadata.is_empty() {
            resource["metadata"] = json!(self.metadata);
        }
        if let Some(key) = &self.kms_key {
            resource["kmsKeyName"] = json!(format!("{key}/cryptoKeyVersions/1"));
        }
        if let Some(time) = &self.custom_time {
            resource["customTime"] = json!(time);
        }
        resource
    }

    pub(crate) fn etag(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(self.generation.to_be_bytes())
    }

    /// What the header `X-Goog-Hash` says of it.
    pub(crate) fn hash_header(&self) -> String {
        let crc32c = format!("crc32c={}", self.checksums.crc32c_text());
        if self.has_md5 { format!("{crc32c},md5={}", self.checksums.md5_text()) } else { crc32c }
    }
}

/// What a client says of an object before its bytes come.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObjectRequest {
    pub(crate) bucket: String,
    pub(crate) name: String,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) storage_class: Option<String>,
    pub(crate) kms_key: Option<String>,
    pub(crate) custom_time: Option<String>,
    pub(crate) declared: Declared,
    pub(crate) if_generation_match: Option<i64>,
    /// It asks for an encoding, with which the service would change the bytes that readers get.
    pub(crate) content_encoding: bool,
}

const STORAGE_CLASSES: [&str; 4] = ["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"];

impl ObjectRequest {
    /// Takes over the object resource of a request's body. Unknown fields are ignored, as the service does.
    pub(crate) fn take_resource(&mut self, body: &[u8]) -> Result<(), Refusal> {
        if body.is_empty() {
            return Ok(());
        }
        let parsed: Value = serde_json::from_slice(body)
            .map_err(|error| Refusal::json(400, "parseError", format!("Parse Error: {error}")))?;
        let Value::Object(resource) = parsed else {
            return Err(Refusal::json(400, "parseError", "Parse Error: no JSON object"));
        };
        if let Some(name) = text_field(&resource, "name")? {
            if !self.name.is_empty() && self.name != name {
                return Err(Refusal::json(400, "required", "the names in the query and in the resource differ"));
            }
            self.name = name;
        }
        self.content_type = text_field(&resource, "contentType")?;
        self.storage_class = text_field(&resource, "storageClass")?;
        self.custom_time = text_field(&resource, "customTime")?;
        self.content_encoding = text_field(&resource, "contentEncoding")?.is_some_and(|encoding| !encoding.is_empty());
        if let Some(crc32c) = text_field(&resource, "crc32c")? {
            require(self.declared.take_crc32c(&crc32c), "Invalid CRC32C")?;
        }
        if let Some(md5) = text_field(&resource, "md5Hash")? {
            require(self.declared.take_md5(&md5), "Invalid MD5")?;
        }
        self.take_metadata(resource.get("metadata"))
    }

    fn take_metadata(&mut self, metadata: Option<&Value>) -> Result<(), Refusal> {
        match metadata {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Object(entries)) => entries.iter().try_for_each(|(key, value)| {
                let value = value.as_str().ok_or_else(|| Refusal::invalid("metadata values must be strings"))?;
                self.metadata.insert(key.clone(), value.to_owned());
                Ok(())
            }),
            Some(_) => Err(Refusal::invalid("metadata must be an object")),
        }
    }

    /// Takes over the checksums of a header `X-Goog-Hash`: `crc32c=…,md5=…`.
    pub(crate) fn take_hash_header(&mut self, header: &str) -> Result<(), Refusal> {
        header.split(',').map(str::trim).try_for_each(|part| match part.split_once('=') {
            Some(("crc32c", text)) => require(self.declared.take_crc32c(text), "Invalid CRC32C in X-Goog-Hash"),
            Some(("md5", text)) => require(self.declared.take_md5(text), "Invalid MD5 in X-Goog-Hash"),
            _ => Err(Refusal::invalid("Invalid X-Goog-Hash")),
        })
    }

    /// The rules for names and settings.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.name.is_empty() {
            return Err(Refusal::json(400, "required", "Required"));
        }
        let is_reserved = self.name == "." || self.name == ".." || self.name.starts_with(".well-known/acme-challenge/");
        if self.name.len() > 1024 || self.name.contains(['\r', '\n']) || is_reserved {
            return Err(Refusal::invalid("Invalid object name"));
        }
        let bytes: usize = self.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > 8 * 1024 {
            return Err(Refusal::invalid("The metadata is larger than 8 KiB"));
        }
        if self.storage_class.as_ref().is_some_and(|class| !STORAGE_CLASSES.contains(&class.as_str())) {
            return Err(Refusal::invalid("Invalid argument: storageClass"));
        }
        if self.kms_key.as_ref().is_some_and(|key| !is_key_name(key)) {
            return Err(Refusal::invalid("Malformed Cloud KMS crypto key"));
        }
        Ok(())
    }
}

fn is_key_name(key: &str) -> bool {
    let parts: Vec<&str> = key.split('/').collect();
    let words = ["projects", "locations", "keyRings", "cryptoKeys"];
    parts.len() == 8
        && parts.iter().all(|part| !part.is_empty())
        && words.iter().enumerate().all(|(index, word)| parts[2 * index] == *word)
}

fn text_field(resource: &Map<String, Value>, field: &str) -> Result<Option<String>, Refusal> {
    match resource.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::invalid(format!("Invalid value for: {field}"))),
    }
}

fn require(holds: bool, message: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::invalid(message)) }
}
