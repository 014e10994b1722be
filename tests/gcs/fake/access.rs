//! Tokens, permissions and what a bucket protects.

use super::client::Reply;
use super::{BUCKET, Gcs, JSON};
use crate::support::fake_gcs::{Kind, Permissions, Protection, TokenFailure};
use std::time::Duration;

const METADATA_SERVER: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

fn get(gcs: &Gcs, authorization: &[(&str, &str)]) -> Reply {
    gcs.ask("GET", &format!("/storage/v1/b/{BUCKET}/o"), authorization, b"")
}

#[test]
fn requests_need_a_token_that_is_good() {
    let gcs = Gcs::start();
    gcs.fake.set(|settings| settings.checks_tokens = true);
    gcs.fake.accept_token("good");
    let reply = get(&gcs, &[]);
    assert_eq!((reply.status, reply.reason().as_str()), (401, "required"));
    assert!(reply.header("www-authenticate").is_some());
    for wrong in ["Bearer bad", "Bearer", "Basic good", "good"] {
        let reply = get(&gcs, &[("Authorization", wrong)]);
        assert_eq!((reply.status, reply.reason().as_str()), (401, "authError"), "{wrong}");
    }
    let good = ("Authorization", "Bearer good");
    assert_eq!(get(&gcs, &[good]).status, 200);
    let reply = gcs.ask("POST", &Gcs::initiation("a"), &[JSON], b"");
    assert_eq!(reply.status, 401);
    let session = gcs.session_of(&gcs.ask("POST", &Gcs::initiation("a"), &[JSON, good], b""));
    gcs.fake.revoke_tokens();
    assert_eq!(get(&gcs, &[good]).status, 401);
    // A session's URI needs none; but who brings a bad one is refused.
    let headers = [("Content-Range", "bytes 0-8/9"), good];
    assert_eq!(gcs.ask("PUT", &session, &headers, b"123456789").status, 401);
    assert_eq!(gcs.put(&session, "bytes 0-8/9", b"123456789").status, 200);
    assert!(gcs.fake.violations().is_empty());
}

#[test]
fn tokens_are_issued_expire_and_are_refused() {
    let gcs = Gcs::start();
    gcs.fake.set(|settings| settings.checks_tokens = true);
    let credentials: serde_json::Value = serde_json::from_str(&gcs.fake.authorized_user()).expect("JSON");
    assert_eq!(
        (credentials["type"].as_str(), credentials["token_uri"].as_str()),
        (Some("authorized_user"), Some(format!("{}/token", gcs.fake.base_url()).as_str()))
    );
    let ask = || gcs.ask("POST", "/token", &[], b"grant_type=refresh_token&refresh_token=x");
    let issued = ask().json();
    assert_eq!((issued["token_type"].as_str(), issued["expires_in"].as_u64()), (Some("Bearer"), Some(3600)));
    let bearer = format!("Bearer {}", issued["access_token"].as_str().expect("a token"));
    assert_eq!(get(&gcs, &[("Authorization", &bearer)]).status, 200);
    gcs.fake.put_clock_forward(Duration::from_secs(3600));
    assert_eq!(get(&gcs, &[("Authorization", &bearer)]).status, 401, "expired");
    assert_ne!(ask().json()["access_token"], issued["access_token"]);
    assert_eq!(gcs.fake.tokens_issued(), 2);
    gcs.fake.set(|settings| settings.token_failure = Some(TokenFailure::Unavailable));
    assert_eq!(ask().status, 503);
    gcs.fake.set(|settings| settings.token_failure = Some(TokenFailure::InvalidGrant));
    let reply = ask();
    assert_eq!((reply.status, reply.json()["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!((gcs.fake.tokens_issued(), gcs.fake.counts().of(Kind::Token)), (2, 4));
}

#[test]
fn tokens_of_the_other_sources() {
    let gcs = Gcs::start();
    gcs.fake.set(|settings| settings.checks_tokens = true);
    let reply = gcs.get(METADATA_SERVER);
    assert_eq!(reply.status, 403, "without the header that no browser sends");
    let flavor = ("Metadata-Flavor", "Google");
    let reply = gcs.ask("GET", METADATA_SERVER, &[flavor], b"");
    assert_eq!(reply.header("metadata-flavor"), Some("Google"));
    let works = |token: &serde_json::Value| {
        let bearer = format!("Bearer {}", token.as_str().expect("a token"));
        get(&gcs, &[("Authorization", &bearer)]).status == 200
    };
    assert!(works(&reply.json()["access_token"]));
    assert_eq!(gcs.ask("GET", "/computeMetadata/v1/universe/universe_domain", &[flavor], b"").text(), "googleapis.com");
    let body = b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
    let exchanged = gcs.ask("POST", "/token", &[], body).json();
    assert_eq!(exchanged["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert!(works(&exchanged["access_token"]));
    let target = "/v1/projects/-/serviceAccounts/a@b.iam.gserviceaccount.com:generateAccessToken";
    let impersonated = gcs.ask("POST", target, &[JSON], b"{}").json();
    assert!(works(&impersonated["accessToken"]) && impersonated["expireTime"].is_string());
}

#[test]
fn each_permission_is_needed_for_its_own() {
    let gcs = Gcs::start();
    gcs.fake.put_object(BUCKET, "a", b"1", &[]);
    let object = format!("/storage/v1/b/{BUCKET}/o/a");
    type Case<'a> = (&'a str, &'a dyn Fn() -> Reply, &'a dyn Fn(&mut Permissions));
    let asks: [Case<'_>; 4] = [
        ("storage.objects.create", &|| gcs.ask("POST", &Gcs::initiation("b"), &[JSON], b""), &|all| all.create = false),
        ("storage.objects.get", &|| gcs.get(&object), &|all| all.get = false),
        ("storage.objects.list", &|| get(&gcs, &[]), &|all| all.list = false),
        ("storage.buckets.get", &|| gcs.get(&format!("/storage/v1/b/{BUCKET}")), &|all| all.get_bucket = false),
    ];
    for (name, _, take) in &asks {
        let mut permissions = Permissions::all();
        take(&mut permissions);
        gcs.fake.set(|settings| settings.permissions = permissions);
        for (other, ask, _) in &asks {
            let reply = ask();
            if name == other {
                assert_eq!((reply.status, reply.reason().as_str()), (403, "forbidden"));
                assert!(reply.text().contains(&format!("does not have {name} access")), "{}", reply.text());
            } else {
                assert_eq!(reply.status, 200, "{other} without {name}");
            }
        }
    }
    gcs.fake.set(|settings| settings.permissions = Permissions::creator());
    assert_eq!(gcs.get(&format!("{object}?alt=media")).status, 403);
    gcs.fake.set(|settings| settings.permissions = Permissions::creator_and_viewer());
    assert_eq!(gcs.get(&format!("{object}?alt=media")).status, 200);
}

/// Finalizes a session for a name that is taken.
fn refused(gcs: &Gcs, target: &str) -> (u16, String) {
    let session = gcs.session_of(&gcs.ask("POST", target, &[JSON], b""));
    let reply = gcs.put(&session, "bytes 0-8/9", b"123456789");
    (reply.status, reply.reason())
}

#[test]
fn replacing_needs_more_than_creating() {
    let gcs = Gcs::start();
    gcs.fake.put_object(BUCKET, "a", b"1", &[]);
    let create_only = Gcs::initiation("a");
    let replace = create_only.replace("&ifGenerationMatch=0", "");
    gcs.fake.set(|settings| settings.permissions = Permissions::creator_and_viewer());
    assert_eq!(refused(&gcs, &replace), (403, "forbidden".to_owned()));
    // Which of the two comes with a precondition is not known.
    assert_eq!(refused(&gcs, &create_only), (412, "conditionNotMet".to_owned()));
    gcs.fake.set(|settings| settings.forbidden_before_precondition = true);
    let session = gcs.session_of(&gcs.ask("POST", &create_only, &[JSON], b""));
    let reply = gcs.put(&session, "bytes 0-8/9", b"123456789");
    assert_eq!((reply.status, reply.reason().as_str()), (403, "forbidden"));
    assert!(reply.text().contains("does not have storage.objects.delete access"), "{}", reply.text());
    gcs.fake.set(|settings| settings.permissions = Permissions::all());
    for (protection, reason) in
        [(Protection::Retention, "retentionPolicyNotMet"), (Protection::Hold, "objectUnderActiveHold")]
    {
        gcs.fake.set(|settings| settings.protection = Some(protection));
        assert_eq!(refused(&gcs, &create_only), (403, reason.to_owned()));
        assert_eq!(refused(&gcs, &replace), (403, reason.to_owned()));
        // Only replacing is blocked.
        let session = gcs.open_session(reason, "");
        assert_eq!(gcs.put(&session, "bytes 0-8/9", b"123456789").status, 200);
    }
    assert_eq!(gcs.fake.object(BUCKET, "a").expect("there").bytes(), b"1");
    gcs.fake.set(|settings| settings.protection = None);
    let session = gcs.session_of(&gcs.ask("POST", &replace, &[JSON], b""));
    assert_eq!(gcs.put(&session, "bytes 0-8/9", b"123456789").status, 200, "who may replace and does not ask, does");
    assert_eq!(gcs.fake.generations(BUCKET, "a").len(), 2);
}
