//! Credentials in all their forms: real processes, with the variables that users set, against the fake's places of tokens.

#[allow(clippy::duplicate_mod, reason = "the fake has its own chance")]
#[path = "support/fake_gcs/mod.rs"]
mod fake_gcs;

use fake_gcs::{FakeGcs, Fault, Kind, TokenFailure};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};

/// Made for these tests alone; it opens nothing.
const KEY: &str = include_str!("gcs_auth/key.pem");

/// A server that wants tokens, and a home for files.
struct Gcs {
    fake: FakeGcs,
    home: tempfile::TempDir,
}

impl Gcs {
    fn start() -> Gcs {
        let fake = FakeGcs::start(&["archive"]);
        fake.set(|settings| settings.checks_tokens = true);
        fake.put_object("archive", "prefix/orders/000000/00000000000000000000", b"any", &[]);
        Gcs { fake, home: tempfile::tempdir().expect("a temporary directory") }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).expect("room for it");
        path
    }

    /// A process that lists the bucket as Google's user, in an environment of its own.
    fn listing(&self, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-store"));
        command.args(["ls", "gs://archive/prefix", "--json", "--gcs-credentials", "google"]);
        command.args(["--gcs-endpoint", self.fake.base_url(), "--gcs-idle-timeout", "5s"]);
        command.env_clear().env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin");
        command.envs(variables.iter().copied()).output().expect("it runs")
    }

    /// With a file of credentials.
    fn listing_with(&self, credentials: &Value) -> Output {
        let path = self.file("credentials.json", &credentials.to_string());
        self.listing(&[("GOOGLE_APPLICATION_CREDENTIALS", path.to_str().expect("UTF-8"))])
    }

    /// What was asked was allowed. (That the object is no segment is told, and is not the point.)
    #[track_caller]
    fn was_let_in(&self, output: &Output) {
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("orders"), "{text}");
        assert!(self.fake.counts().of(Kind::List) > 0, "{text}");
        assert!(!text.contains("ya29"), "a token is a secret: {text}");
    }
}

fn authorized_user(gcs: &Gcs) -> Value {
    serde_json::from_str(&gcs.fake.authorized_user()).expect("JSON")
}

#[test]
fn a_users_login() {
    let gcs = Gcs::start();
    gcs.was_let_in(&gcs.listing_with(&authorized_user(&gcs)));
    assert!(gcs.fake.tokens_issued() > 0);
}

#[test]
fn a_login_where_gcloud_keeps_it() {
    let gcs = Gcs::start();
    std::fs::create_dir_all(gcs.home.path().join(".config/gcloud")).expect("a directory");
    gcs.file(".config/gcloud/application_default_credentials.json", &authorized_user(&gcs).to_string());
    gcs.was_let_in(&gcs.listing(&[]));
}

#[test]
fn an_external_account() {
    let gcs = Gcs::start();
    let subject = gcs.file("subject", "a token of somebody else's");
    gcs.was_let_in(&gcs.listing_with(&json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{}/token", gcs.fake.base_url()),
        "credential_source": { "file": subject },
    })));
}

#[test]
fn an_impersonation() {
    let gcs = Gcs::start();
    let url = format!(
        "{}/v1/projects/-/serviceAccounts/archiver@tests.iam.gserviceaccount.com:generateAccessToken",
        gcs.fake.base_url()
    );
    gcs.was_let_in(&gcs.listing_with(&json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": url,
        "source_credentials": authorized_user(&gcs),
        "delegates": [],
    })));
    assert!(gcs.fake.tokens_issued() >= 2, "one of the source's, one of the account's");
}

#[test]
fn the_metadata_server() {
    let gcs = Gcs::start();
    gcs.was_let_in(&gcs.listing(&[("GCE_METADATA_HOST", gcs.fake.address())]));
}

/// A service account signs its tokens itself: nobody is asked for them.
#[test]
fn a_service_accounts_key() {
    let gcs = Gcs::start();
    gcs.fake.set(|settings| settings.checks_tokens = false);
    gcs.was_let_in(&gcs.listing_with(&json!({
        "type": "service_account",
        "client_email": "archiver@tests.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": KEY,
        "project_id": "tests",
        "token_uri": format!("{}/token", gcs.fake.base_url()),
    })));
    assert_eq!(gcs.fake.tokens_issued(), 0);
}

/// A token that does not count any more is followed by another, once.
#[test]
fn an_answer_401_is_met_by_another_token() {
    let gcs = Gcs::start();
    gcs.fake.arm(&[Kind::List], Fault::Answer(401));
    gcs.was_let_in(&gcs.listing_with(&authorized_user(&gcs)));
}

#[test]
fn what_is_wrong_with_credentials_is_told() {
    let gcs = Gcs::start();
    let told = |output: Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let missing = told(gcs.listing(&[("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/credentials.json")]));
    assert!(missing.contains("there are no usable Google credentials"), "{missing}");
    gcs.fake.set(|settings| settings.token_failure = Some(TokenFailure::InvalidGrant));
    let invalid = told(gcs.listing_with(&authorized_user(&gcs)));
    assert!(invalid.contains("there is no token"), "{invalid}");
    assert!(!invalid.contains("a secret of the tests") && !invalid.contains("1//a refresh"), "{invalid}");
}
