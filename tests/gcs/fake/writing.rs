//! How uploads begin, uploads in one request, and limits.

use super::client::{Connection, Reply};
use super::{BUCKET, Gcs, JSON, KIB_256, MIB, bytes};
use crate::support::fake_gcs::{Kind, QUANTUM};
use crate::wait_until;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

const KEY: &str = "projects/p/locations/l/keyRings/r/cryptoKeys/k";

#[track_caller]
fn refused(reply: &Reply, status: u16, reason: &str) {
    assert_eq!((reply.status, reply.reason().as_str()), (status, reason), "{}", reply.text());
}

#[test]
fn the_name_is_in_the_query_or_in_the_resource() {
    let gcs = Gcs::start();
    let upload = |query: &str, resource: &str| {
        let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&ifGenerationMatch=0{query}");
        gcs.ask("POST", &target, &[JSON], resource.as_bytes())
    };
    assert_eq!(upload("", r#"{"name": "a/b"}"#).status, 200);
    assert_eq!(upload("&name=a%2Fb", r#"{"name": "a/b"}"#).status, 200);
    assert_eq!(upload("&name=a+b%2Bc", "").status, 200);
    let names: Vec<String> = gcs.fake.sessions().into_iter().map(|session| session.name).collect();
    assert_eq!(names, ["a/b", "a/b", "a b+c"], "a plus in a query is a space");
    refused(&upload("&name=a", r#"{"name": "b"}"#), 400, "required");
    refused(&upload("", ""), 400, "required");
    refused(&upload("&name=a&name=b", ""), 400, "invalid");
    refused(&upload("&name=%ff", ""), 400, "invalid");
    let long = "x".repeat(1024);
    assert_eq!(upload(&format!("&name={long}"), "").status, 200);
    for wrong in [format!("{long}x"), ".".to_owned(), "..".to_owned(), "a%0Ab".to_owned()] {
        refused(&upload(&format!("&name={wrong}"), ""), 400, "invalid");
    }
}

#[test]
fn what_a_session_is_opened_with_is_what_the_object_gets() {
    let gcs = Gcs::start();
    let target = format!("{}&kmsKeyName={}", Gcs::initiation("a"), KEY.replace('/', "%2F"));
    let resource = r#"{"metadata": {"k": "v"}, "storageClass": "NEARLINE", "customTime": "2026-01-01T00:00:00Z"}"#;
    let headers = [JSON, ("X-Upload-Content-Type", "application/avro"), ("X-Upload-Content-Length", "9")];
    let session = gcs.session_of(&gcs.ask("POST", &target, &headers, resource.as_bytes()));
    gcs.fake.put_clock_forward(Duration::from_secs(60));
    let opened = gcs.fake.sessions()[0].clone();
    assert!(opened.is_open && opened.uri.ends_with(&session));
    // The last request may add metadata.
    let headers = [("Content-Range", "bytes 0-8/9"), ("X-Goog-Meta-Added", "late")];
    let resource = gcs.ask("PUT", &session, &headers, b"123456789").json();
    let object = gcs.fake.object(BUCKET, "a").expect("there");
    assert_eq!(
        object.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(),
        ["added=late", "k=v"]
    );
    assert_eq!((object.storage_class.as_str(), object.content_type.as_str()), ("NEARLINE", "application/avro"));
    assert_eq!((object.kms_key.as_deref(), object.custom_time.as_deref()), (Some(KEY), Some("2026-01-01T00:00:00Z")));
    assert_eq!(resource["kmsKeyName"], format!("{KEY}/cryptoKeyVersions/1"));
    assert_eq!(
        (resource["storageClass"].as_str(), resource["customTime"].as_str()),
        (Some("NEARLINE"), Some("2026-01-01T00:00:00Z"))
    );
    assert_eq!(gcs.fake.sessions()[0].finalized, Some(object.generation));
}

#[test]
fn settings_that_cannot_be() {
    let gcs = Gcs::start();
    let with = |resource: &str| gcs.ask("POST", &Gcs::initiation("a"), &[JSON], resource.as_bytes());
    refused(&with("{"), 400, "parseError");
    refused(&with("[]"), 400, "parseError");
    for resource in [
        r#"{"storageClass": "COLD"}"#,
        r#"{"metadata": {"n": 1}}"#,
        r#"{"metadata": "x"}"#,
        r#"{"md5Hash": "4waSgw=="}"#,
    ] {
        refused(&with(resource), 400, "invalid");
    }
    assert_eq!(with(&format!(r#"{{"metadata": {{"k": "{}"}}}}"#, "v".repeat(8191))).status, 200);
    refused(&with(&format!(r#"{{"metadata": {{"k": "{}"}}}}"#, "v".repeat(8192))), 400, "invalid");
    for parameter in ["kmsKeyName=key", "predefinedAcl=private", "ifGenerationMatch=x", "ifMetagenerationMatch=1"] {
        let target = Gcs::initiation("a").replace("ifGenerationMatch=0", parameter);
        refused(&gcs.ask("POST", &target, &[JSON], b""), 400, "invalid");
    }
    gcs.fake.set(|settings| settings.uniform_access = false);
    let target = format!("{}&predefinedAcl=private", Gcs::initiation("a"));
    assert_eq!(gcs.ask("POST", &target, &[JSON], b"").status, 200);
    let headers = [JSON, ("X-Upload-Content-Type", "text/plain")];
    refused(&gcs.ask("POST", &Gcs::initiation("a"), &headers, br#"{"contentType": "text/html"}"#), 400, "invalid");
    refused(&gcs.ask("POST", &Gcs::initiation("a"), &[JSON, ("X-Upload-Content-Length", "-1")], b""), 400, "invalid");
    refused(&gcs.ask("POST", &Gcs::initiation("a"), &[("Content-Type", "text/plain")], b"x"), 400, "badContent");
    let elsewhere = Gcs::initiation("a").replace(BUCKET, "nowhere");
    refused(&gcs.ask("POST", &elsewhere, &[JSON], b""), 404, "notFound");
}

#[test]
fn the_declared_length_is_kept() {
    let gcs = Gcs::start();
    let open =
        || gcs.session_of(&gcs.ask("POST", &Gcs::initiation("a"), &[JSON, ("X-Upload-Content-Length", "9")], b""));
    let session = open();
    for range in ["bytes 0-9/10", "bytes 0-7/8"] {
        let length = range.split(['-', '/']).nth(1).and_then(|last| last.parse::<usize>().ok()).expect("a number") + 1;
        refused(&gcs.put(&session, range, &bytes(length)), 400, "badRequest");
    }
    assert_eq!(gcs.put(&session, "bytes */0", b"").status, 308, "a query with a wrong total never fails");
    assert_eq!(gcs.put(&session, "bytes 0-8/9", b"123456789").status, 200);
    // A total that is less than what is persisted.
    let session = gcs.open_session("a", "");
    gcs.put(&session, &format!("bytes 0-{}/*", KIB_256 - 1), &bytes(KIB_256));
    refused(&gcs.put(&session, "bytes 0-8/9", &bytes(9)), 400, "badRequest");
    assert_eq!(gcs.persisted(&session), KIB_256 as u64);
    // A total that was said once binds as well.
    let session = gcs.open_session("b", "");
    let total = 4 * KIB_256;
    gcs.put(&session, &format!("bytes 0-{}/{total}", KIB_256 - 1), &bytes(KIB_256));
    let reply = gcs.put(&session, &format!("bytes {KIB_256}-{}/{}", total, total + 1), &bytes(total + 1 - KIB_256));
    refused(&reply, 400, "badRequest");
}

#[test]
fn ranges_that_cannot_be() {
    let gcs = Gcs::start();
    let session = gcs.open_session("a", "");
    for (range, length) in [
        ("bytes 0-8/9", 8),
        ("bytes 8-0/9", 9),
        ("bytes 0-8/8", 9),
        ("bytes 0-8", 9),
        ("0-8/9", 9),
        ("bytes 0-*/9", 9),
        ("bytes +0-8/9", 9),
        ("bytes */*", 1),
        ("bytes */9", 9),
    ] {
        refused(&gcs.put(&session, range, &bytes(length)), 400, "badRequest");
    }
    assert_eq!(gcs.persisted(&session), 0);
    // A body of unknown length.
    let mut connection = Connection::open(gcs.fake.address()).expect("it listens");
    let headers = [("Content-Range", "bytes 0-8/9"), ("Transfer-Encoding", "chunked")];
    connection.head("PUT", &session, &headers).expect("sent");
    connection.send(b"9\r\n123456789\r\n0\r\n\r\n").expect("sent");
    assert_eq!(connection.reply().expect("an answer").status, 411);
    // Without a Content-Range the body is the whole object.
    assert_eq!(gcs.ask("PUT", &session, &[], b"123456789").status, 200);
    assert_eq!(gcs.fake.object(BUCKET, "a").expect("there").bytes(), b"123456789");
}

#[test]
fn one_connection_serves_many_requests() {
    let gcs = Gcs::start();
    let session = gcs.open_session("a", "");
    let mut connection = Connection::open(gcs.fake.address()).expect("it listens");
    let headers = [("Content-Range", "bytes 0-8/9"), ("Content-Length", "9"), ("Expect", "100-continue")];
    connection.head("PUT", &session, &headers).expect("sent");
    assert_eq!(connection.reply().expect("an answer").status, 100, "before the body");
    connection.send(b"123456789").expect("sent");
    assert_eq!(connection.reply().expect("an answer").status, 200);
    for _ in 0..3 {
        connection.head("PUT", &session, &[("Content-Range", "bytes */*"), ("Content-Length", "0")]).expect("sent");
        assert_eq!(connection.reply().expect("an answer").status, 200);
    }
    assert_eq!(gcs.fake.counts().connections, 2);
}

#[test]
fn who_asks_for_no_308_gets_a_200() {
    let gcs = Gcs::start();
    let session = gcs.open_session("a", "");
    let headers = [("Content-Range", "bytes */*"), ("X-GUploader-No-308", "yes")];
    let reply = gcs.ask("PUT", &session, &headers, b"");
    assert_eq!((reply.status, reply.header("x-http-status-code-override"), reply.body.len()), (200, Some("308"), 0));
}

#[test]
fn uploads_in_one_request() {
    let gcs = Gcs::start();
    let media = |name: &str, headers: &[(&str, &str)]| {
        let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}&ifGenerationMatch=0");
        gcs.ask("POST", &target, headers, b"123456789")
    };
    let reply = media("a", &[("Content-Type", "text/x"), ("X-Goog-Hash", "crc32c=4waSgw==")]);
    assert_eq!((reply.status, reply.json()["contentType"].as_str()), (200, Some("text/x")));
    refused(&media("a", &[]), 412, "conditionNotMet");
    refused(&media("b", &[("X-Goog-Hash", "crc32c=AAAAAA==")]), 400, "invalid");
    refused(&media("", &[]), 400, "required");

    let multipart = |resource: &str, content_type: &str| {
        let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart&ifGenerationMatch=0");
        let body = format!(
            "--xyz\r\nContent-Type: application/json\r\n\r\n{resource}\r\n--xyz\r\ncontent-type: text/y\r\n\r\n1234\r\n56789\r\n--xyz--\r\n"
        );
        gcs.ask("POST", &target, &[("Content-Type", content_type)], body.as_bytes())
    };
    let related = "multipart/related; boundary=xyz";
    let resource = r#"{"name": "c", "metadata": {"k": "v"}}"#;
    assert_eq!(multipart(resource, related).json()["size"], "11");
    let object = gcs.fake.object(BUCKET, "c").expect("there");
    assert_eq!((object.bytes().as_slice(), object.metadata["k"].as_str()), (&b"1234\r\n56789"[..], "v"));
    assert_eq!(object.content_type, "text/y");
    refused(&multipart(resource, related), 412, "conditionNotMet");
    refused(&multipart(r#"{"name": "d", "crc32c": "AAAAAA=="}"#, related), 400, "invalid");
    for wrong in ["multipart/related; boundary=xy", "multipart/form-data; boundary=xyz", "text/plain"] {
        refused(&multipart(resource, wrong), 400, "badContent");
    }
    assert_eq!(gcs.fake.all_generations(BUCKET).len(), 2);
    assert_eq!((gcs.fake.counts().of(Kind::InsertMedia), gcs.fake.counts().of(Kind::InsertMultipart)), (4, 6));
    assert!(gcs.fake.violations().is_empty());
}

#[test]
fn one_write_a_second_to_a_name() {
    let gcs = Gcs::start();
    gcs.fake.set(|settings| settings.one_write_a_second = true);
    let finalize = |name: &str| {
        let session = gcs.open_session(name, "");
        (gcs.put(&session, "bytes 0-8/9", b"123456789").status, session)
    };
    assert_eq!(finalize("a").0, 200);
    gcs.fake.delete_object(BUCKET, "a");
    let (status, session) = finalize("a");
    assert_eq!(status, 429);
    assert_eq!(finalize("b").0, 200, "another name");
    assert_eq!(gcs.persisted(&session), 0, "the session lives, and kept whole quanta");
    gcs.fake.put_clock_forward(Duration::from_secs(1));
    assert_eq!(gcs.put(&session, "bytes 0-8/9", b"123456789").status, 200);
    // Or the session dies by it.
    gcs.fake.set(|settings| settings.rate_limit_kills_session = true);
    gcs.fake.delete_object(BUCKET, "a");
    let (status, session) = finalize("a");
    assert_eq!((status, gcs.put(&session, "bytes */*", b"").status), (410, 410));
}

#[test]
fn all_bytes_can_be_persisted_and_nothing_be_finalized() {
    let gcs = Gcs::start();
    gcs.fake.set(|settings| settings.one_write_a_second = true);
    gcs.fake.put_object(BUCKET, "a", b"", &[]);
    gcs.fake.delete_object(BUCKET, "a");
    let session = gcs.open_session("a", "");
    let whole = format!("bytes 0-{}/{QUANTUM}", QUANTUM - 1);
    assert_eq!(gcs.put(&session, &whole, &bytes(KIB_256)).status, 429);
    assert_eq!(gcs.persisted(&session), QUANTUM);
    gcs.fake.put_clock_forward(Duration::from_secs(1));
    assert_eq!(gcs.put(&session, &format!("bytes */{QUANTUM}"), b"").status, 200);
}

#[test]
fn of_two_connections_that_feed_a_session_none_spoils_it() {
    let gcs = Gcs::start();
    let all = bytes(4 * MIB);
    let session = gcs.open_session("a", "");
    let range = format!("bytes 0-{}/{}", all.len() - 1, all.len());
    let length = all.len().to_string();
    let mut old = Connection::open(gcs.fake.address()).expect("it listens");
    old.head("PUT", &session, &[("Content-Range", &range), ("Content-Length", &length)]).expect("sent");
    old.send(&all[..MIB + 5]).expect("sent");
    wait_until("its bytes are there", || gcs.persisted(&session) == MIB as u64);
    // The client believes that the connection is gone.
    let rest = format!("bytes {MIB}-{}/{}", all.len() - 1, all.len());
    assert_eq!(gcs.put(&session, &rest, &all[MIB..]).status, 200);
    old.send(&all[MIB + 5..]).expect("sent");
    assert_eq!(old.reply().expect("an answer").status, 200);
    assert_eq!(gcs.fake.generations(BUCKET, "a").len(), 1);
    assert!(gcs.fake.object(BUCKET, "a").expect("there").bytes() == all);
    assert_eq!(gcs.fake.counts().data_puts_at_most, 2);
}

#[test]
fn a_connection_that_breaks_leaves_whole_quanta() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    let session = gcs.open_session("a", "");
    let mut connection = Connection::open(gcs.fake.address()).expect("it listens");
    let range = format!("bytes 0-{}/{MIB}", MIB - 1);
    connection.head("PUT", &session, &[("Content-Range", &range), ("Content-Length", "1048576")]).expect("sent");
    connection.send(&all[..3 * KIB_256 - 1]).expect("sent");
    drop(connection);
    wait_until("the server has noticed", || {
        let counts = gcs.fake.counts();
        counts.of(Kind::DataPut) == 1 && counts.data_puts_now == 0
    });
    assert_eq!(gcs.persisted(&session), 2 * KIB_256 as u64);
}

#[test]
fn a_server_that_is_down_comes_back_as_it_was() {
    let gcs = Gcs::start();
    let session = gcs.open_session("a", "");
    let mut idle = Connection::open(gcs.fake.address()).expect("it listens");
    idle.head("PUT", &session, &[("Content-Range", "bytes */*"), ("Content-Length", "0")]).expect("sent");
    assert_eq!(idle.reply().expect("an answer").status, 308);
    gcs.fake.go_down();
    assert_eq!(idle.reply().expect_err("reset").kind(), ErrorKind::ConnectionReset);
    gcs.try_to_put(&session, "bytes */*", b"").expect_err("down");
    gcs.fake.come_back();
    assert_eq!(gcs.persisted(&session), 0);
}

#[test]
fn a_slow_server_takes_its_time() {
    let gcs = Gcs::start();
    let session = gcs.open_session("a", "");
    gcs.fake.set(|settings| settings.bytes_per_second = Some(4 * MIB as u64));
    let began = Instant::now();
    assert_eq!(gcs.put(&session, &format!("bytes 0-{}/{MIB}", MIB - 1), &bytes(MIB)).status, 200);
    assert!(began.elapsed() >= Duration::from_millis(250));
}
