//! The same script, spoken to the fake and to a server by others: where that one is right, both answer the same.

use super::client::request;
use super::{BUCKET, Gcs, JSON, KIB_256, MIB, bytes};
use crate::support::gcs_emulator::GcsEmulator;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What was asked, and what came of it.
type Told = Vec<(&'static str, Value)>;

/// A server, whichever.
struct Script<'a> {
    address: &'a str,
    told: Told,
}

impl Script<'_> {
    fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> super::Reply {
        request(self.address, method, target, headers, body)
            .unwrap_or_else(|error| panic!("{}: {method} {target}: {error}", self.address))
    }

    fn open_session(&self, name: &str, resource: &Value) -> String {
        let reply = self.ask("POST", &Gcs::initiation(name), &[JSON], resource.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{}", self.address);
        let uri = reply.header("location").expect("the URI of a session");
        assert!(uri.contains("upload_id="), "{uri}");
        uri.strip_prefix(&format!("http://{}", self.address)).expect("an absolute URI").to_owned()
    }

    /// Sends to a session; status and Range are told.
    fn put(&mut self, what: &'static str, session: &str, range: &str, body: &[u8]) -> super::Reply {
        let reply = self.ask("PUT", session, &[("Content-Range", range)], body);
        self.told.push((what, json!([reply.status, reply.header("range")])));
        reply
    }

    fn object_fields(&mut self, what: &'static str, resource: &Value) {
        let fields = ["kind", "bucket", "name", "size", "crc32c", "md5Hash", "metadata", "storageClass"];
        let told: Vec<&Value> = fields.iter().map(|field| &resource[*field]).collect();
        assert!(resource["generation"].as_str().is_some_and(|text| text.parse::<i64>().is_ok()), "a decimal string");
        self.told.push((what, json!(told)));
    }
}

/// Upload, resume, and checksums that are wrong.
fn speak(address: &str) -> Told {
    let mut script = Script { address, told: Told::new() };
    let all = bytes(MIB + 77);
    let (total, half) = (all.len(), 2 * KIB_256);
    let crc32c = STANDARD.encode(crc32c::crc32c(&all).to_be_bytes());
    let resource = json!({ "metadata": { "first": "7" }, "crc32c": crc32c });
    let session = script.open_session("orders%2F7", &resource);
    script.put("first chunk", &session, &format!("bytes 0-{}/{total}", half - 1), &all[..half]);
    script.put("pure query", &session, "bytes */*", b"");
    script.put("query", &session, &format!("bytes */{total}"), b"");
    // A gap is 503 at the service and 400 at the other: refused by both, and nothing of it is kept.
    let gap =
        script.ask("PUT", &session, &[("Content-Range", &format!("bytes {MIB}-{}/{total}", total - 1))], &all[MIB..]);
    assert!([400, 503].contains(&gap.status), "{address}: {}", gap.status);
    script.put("after a gap", &session, "bytes */*", b"");
    script.put("chunk of unknown total", &session, &format!("bytes {half}-{}/*", MIB - 1), &all[half..MIB]);
    let reply = script.put("last chunk", &session, &format!("bytes {MIB}-{}/{total}", total - 1), &all[MIB..]);
    script.object_fields("object", &reply.json());
    let object = format!("/storage/v1/b/{BUCKET}/o/orders%2F7");
    let reply = script.ask("GET", &object, &[], b"");
    script.object_fields("resource", &reply.json());
    let reply = script.ask("GET", &format!("{object}?alt=media"), &[], b"");
    assert!(reply.status == 200 && reply.body == all, "{address}");
    let reply = script.ask("GET", &format!("{object}?alt=media"), &[("Range", "bytes=1000000-")], b"");
    assert!(reply.body == all[1_000_000..], "{address}");
    script.told.push(("range", json!([reply.status, reply.header("content-range")])));

    let empty = script.open_session("empty", &json!({}));
    let reply = script.put("empty object", &empty, "bytes */0", b"");
    script.object_fields("empty", &reply.json());

    for (what, name, wrong) in [
        ("wrong crc32c", "wrong-crc32c", json!({ "crc32c": "AAAAAA==" })),
        ("wrong md5", "wrong-md5", json!({ "md5Hash": "AAAAAAAAAAAAAAAAAAAAAA==" })),
    ] {
        let session = script.open_session(name, &wrong);
        let reply = script.put(what, &session, "bytes 0-8/9", b"123456789");
        script.told.push((what, json!(reply.reason())));
        let status = script.ask("GET", &format!("/storage/v1/b/{BUCKET}/o/{name}"), &[], b"").status;
        script.told.push((what, json!(status)));
    }
    script.told
}

#[test]
fn both_servers_answer_the_same() {
    let gcs = Gcs::start();
    let emulator = GcsEmulator::start(BUCKET);
    let (ours, others) = (speak(gcs.fake.address()), speak(emulator.address()));
    for (our, other) in ours.iter().zip(&others) {
        assert_eq!(our, other, "ours, the other");
    }
    assert_eq!(ours.len(), others.len());
    assert!(gcs.fake.violations().is_empty(), "{:?}", gcs.fake.violations());
}
