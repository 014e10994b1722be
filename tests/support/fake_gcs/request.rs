//! What a request asks for.

use super::answer::Refusal;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use std::collections::BTreeMap;

/// Kinds of requests, for faults and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The POST that opens a resumable session.
    Initiate,
    /// A PUT that carries bytes to a session.
    DataPut,
    /// A PUT without bytes: a status query, or a finalization without further bytes.
    Query,
    /// The DELETE of a session.
    Cancel,
    /// An upload in one request: the bytes alone.
    InsertMedia,
    /// An upload in one request: resource and bytes.
    InsertMultipart,
    /// The resource of an object.
    MetadataGet,
    /// The bytes of an object.
    MediaGet,
    List,
    BucketGet,
    /// A request for a token, wherever.
    Token,
    /// Whatever a client of ours must not ask for.
    Forbidden,
    /// What the server does not know.
    Unknown,
}

impl Kind {
    /// The PUTs to a session.
    pub(crate) const SESSION: &[Kind] = &[Kind::DataPut, Kind::Query];
    /// All that belongs to a resumable upload.
    pub(crate) const UPLOAD: &[Kind] = &[Kind::Initiate, Kind::DataPut, Kind::Query];
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Initiate { bucket: String },
    InsertMedia { bucket: String },
    InsertMultipart { bucket: String },
    Session { upload_id: String },
    Object { bucket: String, name: String },
    Media { bucket: String, name: String },
    List { bucket: String },
    Bucket { bucket: String },
    DeleteObject { bucket: String, name: String },
    Token,
    Impersonate,
    MetadataToken,
    MetadataUniverse,
    Unknown,
}

/// A request without its body.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) route: Route,
    pub(crate) method: Method,
    /// Path and query, as they came.
    pub(crate) target: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
}

impl Call {
    pub(crate) fn new(head: Parts) -> Result<Call, Refusal> {
        let query = Query::parse(head.uri.query().unwrap_or_default())?;
        let route = route(&head.method, head.uri.path(), &query)?;
        let target = head.uri.path_and_query().map(|target| target.as_str().to_owned()).unwrap_or_default();
        let kind = kind(&head.method, &route, &head.headers);
        Ok(Call { kind, route, method: head.method, target, query, headers: head.headers })
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The length of the body, as the header tells it.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length").and_then(|text| text.parse().ok())
    }

    /// The time or byte that a parameter means.
    pub(crate) fn number(&self, parameter: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.query.get(parameter) else { return Ok(None) };
        let number = text.parse().map_err(|_| Refusal::invalid(format!("Invalid value for: {parameter}")))?;
        Ok(Some(number))
    }
}

fn kind(method: &Method, route: &Route, headers: &HeaderMap) -> Kind {
    match route {
        Route::Initiate { .. } => Kind::Initiate,
        Route::InsertMedia { .. } => Kind::InsertMedia,
        Route::InsertMultipart { .. } => Kind::InsertMultipart,
        Route::Session { .. } if method == Method::DELETE => Kind::Cancel,
        Route::Session { .. } => {
            let range = headers.get("content-range").and_then(|value| value.to_str().ok());
            let is_query = range.is_some_and(|range| range.trim_start_matches("bytes").trim_start().starts_with('*'));
            if is_query { Kind::Query } else { Kind::DataPut }
        }
        Route::Object { .. } => Kind::MetadataGet,
        Route::Media { .. } => Kind::MediaGet,
        Route::List { .. } => Kind::List,
        Route::Bucket { .. } => Kind::BucketGet,
        Route::DeleteObject { .. } => Kind::Forbidden,
        Route::Token | Route::Impersonate | Route::MetadataToken => Kind::Token,
        Route::MetadataUniverse | Route::Unknown => Kind::Unknown,
    }
}

fn route(method: &Method, path: &str, query: &Query) -> Result<Route, Refusal> {
    if let Some(rest) = path.strip_prefix("/upload/storage/v1/b/") {
        return upload_route(method, rest, query);
    }
    match (method.as_str(), path) {
        ("POST", "/token") => return Ok(Route::Token),
        ("POST", _)
            if path.starts_with("/v1/projects/-/serviceAccounts/") && path.ends_with(":generateAccessToken") =>
        {
            return Ok(Route::Impersonate);
        }
        ("GET", "/computeMetadata/v1/instance/service-accounts/default/token") => return Ok(Route::MetadataToken),
        ("GET", "/computeMetadata/v1/universe/universe_domain" | "/computeMetadata/v1/universe/universe-domain") => {
            return Ok(Route::MetadataUniverse);
        }
        _ => {}
    }
    let is_media = query.get("alt") == Some("media");
    let rest = path.strip_prefix("/storage/v1/b/");
    let Some(rest) = rest.or_else(|| path.strip_prefix("/download/storage/v1/b/").filter(|_| is_media)) else {
        return Ok(Route::Unknown);
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let bucket = decode(parts[0], false)?;
    Ok(match (method.as_str(), &parts[1..]) {
        ("GET", []) => Route::Bucket { bucket },
        ("GET", ["o"]) => Route::List { bucket },
        ("GET", ["o", name]) if is_media => Route::Media { bucket, name: decode(name, false)? },
        ("GET", ["o", name]) => Route::Object { bucket, name: decode(name, false)? },
        ("DELETE", ["o", name]) => Route::DeleteObject { bucket, name: decode(name, false)? },
        // A name with a plain slash is another path.
        _ => Route::Unknown,
    })
}

fn upload_route(method: &Method, rest: &str, query: &Query) -> Result<Route, Refusal> {
    let Some((bucket, "o")) = rest.split_once('/') else { return Ok(Route::Unknown) };
    let bucket = decode(bucket, false)?;
    if let Some(upload_id) = query.get("upload_id") {
        let upload_id = upload_id.to_owned();
        let is_known = [Method::PUT, Method::DELETE].contains(method);
        return Ok(if is_known { Route::Session { upload_id } } else { Route::Unknown });
    }
    Ok(match (method.as_str(), query.get("uploadType")) {
        ("POST", Some("resumable")) => Route::Initiate { bucket },
        ("POST", Some("media")) => Route::InsertMedia { bucket },
        ("POST", Some("multipart")) => Route::InsertMultipart { bucket },
        _ => Route::Unknown,
    })
}

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    fn parse(text: &str) -> Result<Query, Refusal> {
        let mut parameters = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name, true)?;
            if parameters.insert(name.clone(), decode(value, true)?).is_some() {
                return Err(Refusal::invalid(format!("{name} is given twice")));
            }
        }
        Ok(Query(parameters))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Percent-decodes; in a query `+` is a space.
fn decode(text: &str, in_query: bool) -> Result<String, Refusal> {
    let malformed = || Refusal::invalid("malformed percent-encoding");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or_else(malformed);
                let (high, low) = (digit()?, digit()?);
                bytes.push((high * 16 + low) as u8);
            }
            b'+' if in_query => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

/// Percent-encodes all that is not unreserved: also `/`.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
