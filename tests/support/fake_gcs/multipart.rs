//! Bodies of `multipart/related` with two parts: the resource and the bytes.

/// Both parts.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) resource: Vec<u8>,
    pub(crate) content_type: Option<String>,
    pub(crate) media: Vec<u8>,
}

/// Takes a body apart. `None` if it is not as it must be.
pub(crate) fn parse(content_type: &str, body: &[u8]) -> Option<Parts> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/related") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let boundary = boundary.trim_matches('"');
    let (_, rest) = split(body, format!("--{boundary}\r\n").as_bytes()).filter(|(before, _)| before.is_empty())?;
    let separator = format!("\r\n--{boundary}\r\n");
    let (first, rest) = split(rest, separator.as_bytes())?;
    let (second, end) = split(rest, format!("\r\n--{boundary}--").as_bytes())?;
    if !matches!(end, b"" | b"\r\n") {
        return None;
    }
    let (resource_type, resource) = part(first)?;
    if !resource_type?.starts_with("application/json") {
        return None;
    }
    let (content_type, media) = part(second)?;
    Some(Parts { resource: resource.to_vec(), content_type, media: media.to_vec() })
}

/// The content type of a part, and its bytes.
fn part(text: &[u8]) -> Option<(Option<String>, &[u8])> {
    if let Some(bytes) = text.strip_prefix(b"\r\n") {
        return Some((None, bytes));
    }
    let (headers, bytes) = split(text, b"\r\n\r\n")?;
    let headers = std::str::from_utf8(headers).ok()?;
    let content_type = headers.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
    });
    Some((content_type, bytes))
}

fn split<'a>(bytes: &'a [u8], by: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(by.len()).position(|window| window == by)?;
    Some((&bytes[..at], &bytes[at + by.len()..]))
}
