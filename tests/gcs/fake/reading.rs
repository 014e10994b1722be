//! Reading objects, buckets and listings.

use super::{BUCKET, Gcs, MIB, bytes};
use serde_json::Value;

fn target(name: &str, parameters: &str) -> String {
    format!("/storage/v1/b/{BUCKET}/o/{name}?{parameters}")
}

#[test]
fn resources_and_parts_of_them() {
    let gcs = Gcs::start();
    let generation = gcs.fake.put_object(BUCKET, "orders/000007/é %", b"123456789", &[("first", "7")]);
    let name = "orders%2F000007%2F%C3%A9%20%25";
    let resource = gcs.get(&target(name, "")).json();
    assert_eq!(resource["name"], "orders/000007/é %");
    assert_eq!(resource["generation"], generation.to_string());
    let asked = "fields=generation,size,crc32c,md5Hash,metadata";
    let expected = serde_json::json!({
        "generation": generation.to_string(),
        "size": "9",
        "crc32c": "4waSgw==",
        "md5Hash": "JfnnlDI7RTiF9RgfG2JNCw==",
        "metadata": { "first": "7" },
    });
    assert_eq!(gcs.get(&target(name, asked)).json(), expected, "what is not asked for does not come");
    assert_eq!(
        gcs.get(&target(name, "fields=metadata(first)")).json(),
        serde_json::json!({"metadata": {"first": "7"}})
    );
    assert_eq!(gcs.get(&target(name, "fields=metadata(")).status, 400);
    let reply = gcs.get(&target("nothing", ""));
    assert_eq!((reply.status, reply.reason().as_str()), (404, "notFound"));
    let reply = gcs.get("/storage/v1/b/nowhere/o/a");
    assert_eq!((reply.status, reply.reason().as_str()), (404, "notFound"));
    // Composite objects have no MD5.
    gcs.fake.spoil_object(BUCKET, "orders/000007/é %", |object| object.has_md5 = false);
    assert_eq!(gcs.get(&target(name, "")).json()["md5Hash"], Value::Null);
    assert_eq!(gcs.get(&target(name, "alt=media")).header("x-goog-hash"), Some("crc32c=4waSgw=="));
}

#[test]
fn bytes_and_ranges_of_them() {
    let gcs = Gcs::start();
    let all = bytes(2 * MIB + 5);
    let generation = gcs.fake.put_object(BUCKET, "a", &all, &[]);
    for path in ["storage", "download/storage"] {
        let reply = gcs.get(&format!("/{path}/v1/b/{BUCKET}/o/a?alt=media"));
        assert!(reply.status == 200 && reply.body == all, "{path}");
    }
    let resource = gcs.get(&target("a", "")).json();
    let hash = format!(
        "crc32c={},md5={}",
        resource["crc32c"].as_str().expect("a text"),
        resource["md5Hash"].as_str().expect("a text")
    );
    let length = all.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=5-1048580", 5, MIB + 5),
        ("bytes=2097152-", 2 * MIB, length),
        ("bytes=2097156-99999999", length - 1, length),
        ("bytes=-5", length - 5, length),
    ] {
        let reply = gcs.ask("GET", &target("a", "alt=media"), &[("Range", range)], b"");
        assert_eq!(reply.status, 206, "{range}");
        assert!(reply.body == all[from..to], "{range}");
        let expected = format!("bytes {from}-{}/{length}", to - 1);
        assert_eq!(reply.header("content-range"), Some(expected.as_str()));
        assert_eq!(reply.header("x-goog-hash"), Some(hash.as_str()), "always of the whole object");
        assert_eq!(reply.header("x-goog-generation"), Some(generation.to_string().as_str()));
        assert_eq!(reply.header("x-goog-stored-content-length"), Some("2097157"));
    }
    let reply = gcs.ask("GET", &target("a", "alt=media"), &[("Range", "bytes=2097157-")], b"");
    assert_eq!((reply.status, reply.header("content-range")), (416, Some("bytes */2097157")));
    // Several ranges are no single one: HTTP lets the server ignore them.
    assert_eq!(gcs.ask("GET", &target("a", "alt=media"), &[("Range", "bytes=0-1,4-5")], b"").status, 200);
    assert_eq!(gcs.get(&target("b", "alt=media")).status, 404);
}

#[test]
fn a_generation_is_pinned() {
    let gcs = Gcs::start();
    let old = gcs.fake.put_object(BUCKET, "a", b"old", &[]);
    let read = |generation: i64| {
        let reply = gcs.get(&target("a", &format!("alt=media&generation={generation}")));
        (reply.status, reply.text())
    };
    assert_eq!(read(old), (200, "old".to_owned()));
    let new = gcs.fake.put_object(BUCKET, "a", b"new", &[]);
    assert!(new > old);
    assert_eq!((read(old).0, read(new)), (404, (200, "new".to_owned())));
    gcs.fake.set(|settings| settings.versioning = true);
    assert_eq!(read(old), (200, "old".to_owned()));
    assert_eq!(gcs.get(&target("a", &format!("ifGenerationMatch={old}"))).status, 412);
    assert_eq!(gcs.get(&target("a", "generation=x")).status, 400);
    gcs.fake.delete_object(BUCKET, "a");
    assert_eq!(gcs.get(&target("a", "alt=media")).status, 404);
    let all: Vec<i64> = gcs.fake.generations(BUCKET, "a").iter().map(|object| object.generation).collect();
    assert_eq!(all, [old, new], "the view forgets nothing");
}

#[test]
fn an_object_that_has_rotted() {
    let gcs = Gcs::start();
    gcs.fake.put_object(BUCKET, "a", b"123456789", &[]);
    gcs.fake.spoil_object(BUCKET, "a", |object| object.content = b"123456780".to_vec().into());
    let reply = gcs.get(&target("a", "alt=media"));
    assert_eq!(reply.text(), "123456780");
    assert!(reply.header("x-goog-hash").is_some_and(|hash| hash.contains("4waSgw==")), "as it was stored");
}

#[test]
fn buckets() {
    let gcs = Gcs::start();
    assert_eq!(gcs.get(&format!("/storage/v1/b/{BUCKET}")).json()["name"], BUCKET);
    let reply = gcs.get("/storage/v1/b/nowhere");
    assert_eq!((reply.status, reply.reason().as_str()), (404, "notFound"));
}

/// Names in an order that is neither that of UTF-16 nor one without case.
const NAMES: [&str; 8] = ["Z", "a", "a/1", "a/2", "a/x/1", "b", "\u{ff5e}", "\u{1f600}"];

fn with_names() -> Gcs {
    let gcs = Gcs::start();
    NAMES.iter().rev().for_each(|name| {
        gcs.fake.put_object(BUCKET, name, b"", &[]);
    });
    gcs
}

/// Page by page: the names, the prefixes and how many pages there were.
fn list(gcs: &Gcs, parameters: &str) -> (Vec<String>, Vec<String>, usize) {
    let (mut names, mut prefixes, mut pages, mut token) = (Vec::new(), Vec::new(), 0, String::new());
    loop {
        let token_parameter = if token.is_empty() { String::new() } else { format!("&pageToken={token}") };
        let reply = gcs.get(&format!("/storage/v1/b/{BUCKET}/o?{parameters}{token_parameter}"));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let page = reply.json();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        names.extend(page["items"].as_array().into_iter().flatten().map(|item| text(&item["name"])));
        prefixes.extend(page["prefixes"].as_array().into_iter().flatten().map(text));
        pages += 1;
        match page["nextPageToken"].as_str() {
            Some(next) => token = next.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"),
            None => return (names, prefixes, pages),
        }
    }
}

#[test]
fn listings_are_in_the_order_of_bytes_and_bounded() {
    let gcs = with_names();
    let names = |parameters: &str| list(&gcs, parameters).0;
    assert_eq!(names(""), NAMES);
    assert_eq!(names("prefix=a%2F"), ["a/1", "a/2", "a/x/1"]);
    assert_eq!(names("prefix=a%2F&startOffset=a%2F2"), ["a/2", "a/x/1"], "the start is in it");
    assert_eq!(names("startOffset=a%2F2&endOffset=b"), ["a/2", "a/x/1"], "the end is not");
    assert_eq!(names("prefix=a%2F&startOffset=A"), ["a/1", "a/2", "a/x/1"]);
    assert!(names("prefix=nothing").is_empty());
    let (items, prefixes, _) = list(&gcs, "delimiter=%2F");
    assert_eq!(
        (items, prefixes),
        (["Z", "a", "b", "\u{ff5e}", "\u{1f600}"].map(str::to_owned).to_vec(), vec!["a/".to_owned()])
    );
    let (items, prefixes, _) = list(&gcs, "delimiter=%2F&prefix=a%2F");
    assert_eq!((items, prefixes), (["a/1", "a/2"].map(str::to_owned).to_vec(), vec!["a/x/".to_owned()]));
    let page = gcs.get(&format!("/storage/v1/b/{BUCKET}/o?prefix=nothing")).json();
    assert_eq!(page, serde_json::json!({"kind": "storage#objects"}), "what is empty is not there");
    let page = gcs.get(&format!("/storage/v1/b/{BUCKET}/o?maxResults=1&fields=items(name)")).json();
    assert_eq!(page, serde_json::json!({"items": [{"name": "Z"}]}), "not even the token");
}

#[test]
fn listings_come_in_pages() {
    let gcs = with_names();
    for size in 1..=9 {
        let (names, _, pages) = list(&gcs, &format!("maxResults={size}"));
        assert_eq!((names, pages), (NAMES.map(str::to_owned).to_vec(), NAMES.len().div_ceil(size)));
        let (names, prefixes, _) = list(&gcs, &format!("maxResults={size}&delimiter=%2F"));
        assert_eq!((names.len(), prefixes.len()), (5, 1));
    }
    gcs.fake.set(|settings| {
        settings.page_limit = 3;
        settings.empty_pages = true;
    });
    let (names, _, pages) = list(&gcs, "maxResults=1000");
    assert_eq!((names, pages), (NAMES.map(str::to_owned).to_vec(), 6), "an empty page before each of three");
    gcs.fake.set(|settings| settings.empty_pages = false);
    let token = |parameters: &str| {
        let page = gcs.get(&format!("/storage/v1/b/{BUCKET}/o?{parameters}")).json();
        page["nextPageToken"].as_str().expect("more").replace('=', "%3D")
    };
    let of_all = token("maxResults=1");
    for wrong in [
        format!("prefix=a&pageToken={of_all}"),
        "pageToken=AAAA".to_owned(),
        "maxResults=0".to_owned(),
        "maxResults=-1".to_owned(),
    ] {
        assert_eq!(gcs.get(&format!("/storage/v1/b/{BUCKET}/o?{wrong}")).status, 400, "{wrong}");
    }
    // More than a thousand at once are not to be had.
    gcs.fake.set(|settings| settings.page_limit = usize::MAX);
    (0..1001).for_each(|number| {
        gcs.fake.put_object(BUCKET, &format!("many/{number:04}"), b"", &[]);
    });
    let page = gcs.get(&format!("/storage/v1/b/{BUCKET}/o?prefix=many%2F&maxResults=5000")).json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1000));
    assert!(page["nextPageToken"].is_string());
}

/// A listing that goes on shows what was created meanwhile, if it comes later in the order.
#[test]
fn listings_are_strongly_consistent() {
    let gcs = with_names();
    let page = gcs.get(&format!("/storage/v1/b/{BUCKET}/o?maxResults=2")).json();
    let token = page["nextPageToken"].as_str().expect("more").replace('=', "%3D");
    gcs.fake.put_object(BUCKET, "a/0", b"", &[]);
    gcs.fake.delete_object(BUCKET, "a/1");
    let page = gcs.get(&format!("/storage/v1/b/{BUCKET}/o?maxResults=2&pageToken={token}")).json();
    assert_eq!((page["items"][0]["name"].as_str(), page["items"][1]["name"].as_str()), (Some("a/0"), Some("a/2")));
}
