//! Resumable sessions without faults.

use super::{BUCKET, Gcs, JSON, KIB_256, MIB, bytes, persisted_of};
use crate::support::fake_gcs::Kind;
use std::time::Duration;

/// Checksums as other programs compute them: `printf 123456789 | gsutil hash -` and `openssl md5 -binary | base64`.
const CHECK_INPUT: &[u8] = b"123456789";
const CHECK_CRC32C: &str = "4waSgw==";
const CHECK_MD5: &str = "JfnnlDI7RTiF9RgfG2JNCw==";

#[test]
fn an_upload_in_chunks_and_a_rest() {
    let gcs = Gcs::start();
    let all = bytes(2 * MIB + 77);
    let session = gcs.open_session("orders%2F7", r#"{"metadata": {"first": "7"}, "contentType": "application/avro"}"#);
    assert_eq!(gcs.fake.open_sessions(), 1);
    let reply = gcs.put(&session, "bytes */*", b"");
    assert_eq!((reply.status, reply.header("range"), reply.body.len()), (308, None, 0));
    let reply = gcs.put(&session, &format!("bytes 0-{}/{}", MIB - 1, all.len()), &all[..MIB]);
    assert_eq!((reply.status, reply.header("range")), (308, Some("bytes=0-1048575")));
    assert!(reply.header("location").is_none(), "a 308 is no redirection");
    let reply = gcs.put(&session, &format!("bytes {}-{}/*", MIB, 2 * MIB - 1), &all[MIB..2 * MIB]);
    assert_eq!((reply.status, persisted_of(&reply)), (308, 2 * MIB as u64));
    assert!(gcs.fake.object(BUCKET, "orders/7").is_none(), "nothing is visible before the end");
    let reply = gcs.put(&session, &format!("bytes {}-{}/{}", 2 * MIB, all.len() - 1, all.len()), &all[2 * MIB..]);
    assert_eq!(reply.status, 200);
    let object = gcs.fake.object(BUCKET, "orders/7").expect("it is there");
    assert_eq!(object.bytes(), all);
    let resource = reply.json();
    assert_eq!(resource["kind"], "storage#object");
    assert_eq!(resource["name"], "orders/7");
    assert_eq!(resource["bucket"], BUCKET);
    assert_eq!(resource["size"], all.len().to_string(), "a decimal string");
    assert_eq!(resource["generation"], object.generation.to_string(), "a decimal string");
    assert_eq!(resource["metageneration"], "1");
    assert_eq!(resource["contentType"], "application/avro");
    assert_eq!(resource["storageClass"], "STANDARD");
    assert_eq!(resource["metadata"]["first"], "7");
    assert_eq!(gcs.fake.generations(BUCKET, "orders/7").len(), 1);
    assert_eq!(gcs.fake.counts().of(Kind::DataPut), 3);
    assert_eq!(gcs.fake.counts().bytes_sent_twice, 0);
    assert_eq!(gcs.fake.open_sessions(), 0);
    assert!(gcs.fake.violations().is_empty());
}

#[test]
fn checksums_are_those_of_other_programs() {
    let gcs = Gcs::start();
    let session = gcs.open_session("check", "");
    let reply = gcs.put(&session, "bytes 0-8/9", CHECK_INPUT).json();
    assert_eq!((reply["crc32c"].as_str(), reply["md5Hash"].as_str()), (Some(CHECK_CRC32C), Some(CHECK_MD5)));
    let times = [&reply["timeCreated"], &reply["updated"]].map(|time| time.as_str().expect("RFC 3339").to_owned());
    assert!(
        times.iter().all(|time| time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T'),
        "{times:?}"
    );
}

#[test]
fn chunks_are_multiples_of_256_kib() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    let session = gcs.open_session("a", "");
    let reply = gcs.put(&session, &format!("bytes 0-{}/*", KIB_256), &all[..=KIB_256]);
    assert_eq!(reply.status, 400);
    assert_eq!(gcs.persisted(&session), 0);
    gcs.fake.set(|settings| settings.odd_chunks_are_rounded = true);
    let reply = gcs.put(&session, &format!("bytes 0-{}/*", KIB_256 + 5), &all[..KIB_256 + 6]);
    assert_eq!((reply.status, persisted_of(&reply)), (308, KIB_256 as u64), "rounded down");
}

#[test]
fn chunks_come_in_order_and_leave_no_gap() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    let session = gcs.open_session("a", "");
    gcs.put(&session, &format!("bytes 0-{}/{MIB}", KIB_256 - 1), &all[..KIB_256]);
    let reply = gcs.put(&session, &format!("bytes {}-{}/{MIB}", 2 * KIB_256, MIB - 1), &all[2 * KIB_256..]);
    assert_eq!(reply.status, 503);
    assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    let message = "According to the Content-Range header, the upload offset is 524288 byte(s), which exceeds already \
                   uploaded size of 262144 byte(s).";
    assert!(reply.text().starts_with("Invalid request.") && reply.text().contains(message), "{}", reply.text());
    assert_eq!(gcs.persisted(&session), KIB_256 as u64);
}

#[test]
fn what_is_persisted_cannot_be_replaced() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    let session = gcs.open_session("a", "");
    gcs.put(&session, &format!("bytes 0-{}/{MIB}", 2 * KIB_256 - 1), &all[..2 * KIB_256]);
    // From before the persisted offset on, and other bytes there.
    let mut other = all.clone();
    other[KIB_256] ^= 1;
    let reply = gcs.put(&session, &format!("bytes {}-{}/{MIB}", KIB_256, MIB - 1), &other[KIB_256..]);
    assert_eq!(reply.status, 200);
    assert_eq!(gcs.fake.object(BUCKET, "a").expect("there").bytes(), all);
    assert_eq!(gcs.fake.counts().bytes_sent_twice, KIB_256 as u64);
    assert_eq!(gcs.fake.sessions()[0].received_twice, KIB_256 as u64);
}

#[test]
fn a_query_of_the_exact_total_finalizes_and_others_never_fail() {
    let gcs = Gcs::start();
    let all = bytes(MIB);
    let session = gcs.open_session("a", "");
    let reply = gcs.put(&session, &format!("bytes 0-{}/*", MIB - 1), &all);
    assert_eq!((reply.status, persisted_of(&reply)), (308, MIB as u64));
    for wrong in [0, 1, MIB - 1, MIB + 1] {
        let reply = gcs.put(&session, &format!("bytes */{wrong}"), b"");
        assert_eq!((reply.status, persisted_of(&reply)), (308, MIB as u64), "{wrong}");
    }
    assert_eq!(gcs.persisted(&session), MIB as u64, "a pure query");
    assert!(gcs.fake.object(BUCKET, "a").is_none());
    let reply = gcs.put(&session, &format!("bytes */{MIB}"), b"");
    assert_eq!((reply.status, reply.json()["size"].as_str()), (200, Some("1048576")));
    assert_eq!(gcs.fake.object(BUCKET, "a").expect("there").bytes(), all);
    // An empty object: nothing is persisted, and nothing is the total.
    let session = gcs.open_session("empty", "");
    let reply = gcs.put(&session, "bytes */0", b"");
    assert_eq!((reply.status, reply.json()["crc32c"].as_str()), (200, Some("AAAAAA==")));
}

#[test]
fn after_completion_every_request_has_the_object() {
    let gcs = Gcs::start();
    let session = gcs.open_session("a", "");
    let first = gcs.put(&session, "bytes 0-8/9", CHECK_INPUT).json();
    for (range, body) in
        [("bytes */*", 0), ("bytes */9", 0), ("bytes */700", 0), ("bytes 0-8/9", 9), ("bytes 9-99/100", 91)]
    {
        let reply = gcs.put(&session, range, &bytes(body));
        assert_eq!((reply.status, reply.json()), (200, first.clone()), "{range}");
    }
    assert_eq!(gcs.ask("DELETE", &session, &[], b"").status, 200);
    assert_eq!(gcs.fake.all_generations(BUCKET).len(), 1);
}

#[test]
fn sessions_are_cancelled_unknown_and_expired() {
    let gcs = Gcs::start();
    let cancelled = gcs.open_session("a", "");
    let reply = gcs.ask("DELETE", &cancelled, &[], b"");
    assert_eq!((reply.status, reply.body.len()), (499, 0));
    assert_eq!(gcs.put(&cancelled, "bytes */*", b"").status, 499);
    assert_eq!(gcs.put(&cancelled, "bytes 0-8/9", CHECK_INPUT).status, 499);

    let session = gcs.open_session("b", "");
    assert_eq!(gcs.put(&session.replace("upload_id=", "upload_id=x"), "bytes */*", b"").status, 404);
    assert!(gcs.fake.violations().is_empty());
    // The same session by a URI that was taken apart and put together again.
    assert_eq!(gcs.put(&session.replace("%7E", "~"), "bytes */*", b"").status, 404);
    assert_eq!(gcs.fake.violations().len(), 1);

    gcs.fake.put_clock_forward(Duration::from_secs(7 * 24 * 3600 - 60));
    assert_eq!(gcs.persisted(&session), 0);
    gcs.fake.put_clock_forward(Duration::from_secs(120));
    assert_eq!(gcs.put(&session, "bytes */*", b"").status, 404);
    assert_eq!(gcs.put(&session, "bytes 0-8/9", CHECK_INPUT).status, 404);
    assert!(gcs.fake.objects(BUCKET).is_empty());
}

#[test]
fn a_wrong_checksum_leaves_no_object_and_a_dead_session() {
    let good = [("crc32c", CHECK_CRC32C), ("md5Hash", CHECK_MD5)];
    let gcs = Gcs::start();
    for (number, (field, wrong)) in
        [("crc32c", "AAAAAA=="), ("md5Hash", "AAAAAAAAAAAAAAAAAAAAAA==")].into_iter().enumerate()
    {
        let session = gcs.open_session("a", &format!(r#"{{"{field}": "{wrong}"}}"#));
        let reply = gcs.put(&session, "bytes 0-8/9", CHECK_INPUT);
        assert_eq!((reply.status, reply.reason().as_str()), (400, "invalid"));
        assert!(gcs.fake.objects(BUCKET).is_empty());
        assert_eq!(gcs.put(&session, "bytes */*", b"").status, 410);
        gcs.fake.set(|settings| settings.refusal_is_repeated = true);
        assert_eq!(gcs.put(&session, "bytes */*", b"").status, 400);
        gcs.fake.set(|settings| settings.refusal_is_repeated = false);
        // In the header of the last request.
        let session = gcs.open_session("a", "");
        let header = format!("{}={wrong}", field.trim_end_matches("Hash"));
        let headers = [("Content-Range", "bytes 0-8/9"), ("X-Goog-Hash", header.as_str())];
        assert_eq!(gcs.ask("PUT", &session, &headers, CHECK_INPUT).status, 400);
        assert!(gcs.fake.objects(BUCKET).is_empty());
        // Right ones, in the body and in the header; at a query that finalizes as well.
        let (right_field, right) = good[number];
        let session = gcs.open_session(field, &format!(r#"{{"{right_field}": "{right}"}}"#));
        let header = format!("crc32c={CHECK_CRC32C},md5={CHECK_MD5}");
        let headers = [("Content-Range", "bytes 0-8/9"), ("X-Goog-Hash", header.as_str())];
        assert_eq!(gcs.ask("PUT", &session, &headers, CHECK_INPUT).status, 200);
        gcs.fake.delete_object(BUCKET, field);
    }
    // The field is `md5Hash`: what is not known is ignored.
    let session = gcs.open_session("unknown", r#"{"md5": "AAAAAAAAAAAAAAAAAAAAAA=="}"#);
    assert_eq!(gcs.put(&session, "bytes 0-8/9", CHECK_INPUT).status, 200);
    let reply = gcs.ask("POST", &Gcs::initiation("a"), &[JSON], br#"{"crc32c": "4waSg"}"#);
    assert_eq!((reply.status, reply.reason().as_str()), (400, "invalid"), "no base64 of four bytes");
}

#[test]
fn checksums_in_the_header_and_in_the_resource_must_agree() {
    let gcs = Gcs::start();
    let other = "crc32c=AAAAAA==";
    for header in [other, "crc32c=4waSg", "sha256=AAAAAA==", "4waSgw=="] {
        let session = gcs.open_session("a", &format!(r#"{{"crc32c": "{CHECK_CRC32C}"}}"#));
        let headers = [("Content-Range", "bytes 0-8/9"), ("X-Goog-Hash", header)];
        let reply = gcs.ask("PUT", &session, &headers, CHECK_INPUT);
        assert_eq!((reply.status, reply.reason().as_str()), (400, "invalid"), "{header}");
    }
    let session = gcs.open_session("a", r#"{"crc32c": "AAAAAA=="}"#);
    let headers = [("Content-Range", "bytes 0-8/9"), ("X-Goog-Hash", "crc32c=4waSgw==")];
    assert_eq!(gcs.ask("PUT", &session, &headers, CHECK_INPUT).status, 400, "also if the header is right");
    // At a query that finalizes as well.
    let session = gcs.open_session("a", "");
    gcs.put(&session, &format!("bytes 0-{}/*", KIB_256 - 1), &bytes(KIB_256));
    let headers = [("Content-Range", "bytes */262144"), ("X-Goog-Hash", other)];
    assert_eq!(gcs.ask("PUT", &session, &headers, b"").status, 400);
    assert!(gcs.fake.objects(BUCKET).is_empty());
}

/// Fails if finalizing is not one step.
#[test]
fn of_many_sessions_that_end_at_once_one_makes_the_object() {
    const WRITERS: usize = 8;
    let gcs = Gcs::start();
    let barrier = std::sync::Barrier::new(WRITERS);
    for round in 0..10 {
        let name = format!("race-{round}");
        let sessions: Vec<String> = (0..WRITERS).map(|_| gcs.open_session(&name, "")).collect();
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let finalize = |(number, session): (usize, &String)| {
                let (gcs, barrier, session) = (&gcs, &barrier, session.clone());
                scope.spawn(move || {
                    barrier.wait();
                    gcs.put(&session, "bytes 0-8/9", &[number as u8; 9]).status
                })
            };
            let threads: Vec<_> = sessions.iter().enumerate().map(finalize).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let winner = statuses.iter().position(|status| *status == 200).expect("one wins");
        assert_eq!(statuses.iter().filter(|status| **status == 412).count(), WRITERS - 1, "{statuses:?}");
        let generations = gcs.fake.generations(BUCKET, &name);
        assert_eq!((generations.len(), generations[0].bytes()), (1, vec![winner as u8; 9]));
    }
}

#[test]
fn the_precondition_is_checked_at_the_end() {
    let gcs = Gcs::start();
    let (first, second) = (gcs.open_session("a", ""), gcs.open_session("a", ""));
    let body = bytes(MIB);
    assert_eq!(gcs.put(&first, &format!("bytes 0-{}/{MIB}", KIB_256 - 1), &body[..KIB_256]).status, 308);
    assert_eq!(gcs.put(&second, "bytes 0-8/9", CHECK_INPUT).status, 200);
    assert_eq!(
        gcs.put(&first, &format!("bytes {KIB_256}-{}/{MIB}", 2 * KIB_256 - 1), &body[KIB_256..2 * KIB_256]).status,
        308
    );
    let reply = gcs.put(&first, &format!("bytes {}-{}/{MIB}", 2 * KIB_256, MIB - 1), &body[2 * KIB_256..]);
    assert_eq!((reply.status, reply.reason().as_str()), (412, "conditionNotMet"));
    assert_eq!(gcs.put(&first, "bytes */*", b"").status, 410);
    assert_eq!(gcs.fake.generations(BUCKET, "a").len(), 1);
    assert_eq!(gcs.fake.object(BUCKET, "a").expect("there").bytes(), CHECK_INPUT);
    let initiate = || gcs.ask("POST", &Gcs::initiation("a"), &[JSON], b"").status;
    assert_eq!(initiate(), 200, "not at the beginning");
    gcs.fake.set(|settings| settings.precondition_at_initiation = true);
    assert_eq!(initiate(), 412);
    gcs.fake.delete_object(BUCKET, "a");
    assert_eq!(initiate(), 200, "the name is free again");
}
