//! How the program gets at Google Cloud Storage: each form of credentials that Google's libraries know, tokens that
//! end, and TLS. What reads its environment runs in a process of its own.

use crate::support::fake_gcs::{FakeGcs, Fault, Kind, TokenFailure};
use crate::support::processes;
use crate::support::tls::{self, Certificates};
use crate::wait_until;
use kafka_store::store::{ArchiveStore, CreateOutcome, GcsCredentials, GcsSettings, GcsStore, SegmentFile, StoreError};
use kafka_store_statecharts::name::ChainName;
use kafka_store_statecharts::offset::Offset;
use serde_json::{Value, json};
use slog::Logger;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const BUCKET: &str = "archive";
const OBJECT: &str = "orders/000003/00000000000000000007";

/// The other process: stores one segment where `STORE_A_SEGMENT_AT` says. Without that, nothing in itself.
#[test]
fn store_a_segment() {
    let Ok(endpoint) = std::env::var("STORE_A_SEGMENT_AT") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("spool");
    let bytes = vec![7; 600_000];
    std::fs::write(&path, &bytes).expect("room for it");
    let settings = GcsSettings {
        endpoint: Some(endpoint),
        credentials: if std::env::var_os("ASK_AS_NOBODY").is_some() {
            GcsCredentials::Anonymous
        } else {
            GcsCredentials::Google
        },
        chunk_bytes: Some(256 << 10),
        idle_timeout: Duration::from_secs(5),
        ..GcsSettings::new(format!("gs://{BUCKET}").parse().expect("legal"), &Logger::root(slog::Discard, slog::o!()))
    };
    let file = SegmentFile {
        name: ChainName::parse("orders", "000003").expect("legal").segment(Offset::new(7).expect("legal")),
        path,
        bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(&bytes),
        attributes: [].into(),
    };
    match patiently(|| GcsStore::open(&settings)).and_then(|store| patiently(|| store.create_segment(&file))) {
        Ok(CreateOutcome::Created(_)) => println!("\nstored"),
        Ok(CreateOutcome::AlreadyExists) => println!("\nthere already"),
        Err(error) => println!("\nerror: {error}"),
    }
}

/// Where it is asked to be patient: what may pass is tried again, as a daemon does, with the same store.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let is_patient = std::env::var_os("BE_PATIENT").is_some();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match attempt() {
            Err(error) if error.is_transient() && is_patient && Instant::now() < deadline => {}
            result => return result,
        }
    }
}

/// Runs the other process in an environment with these variables alone.
fn run(fake: &FakeGcs, home: &Path, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this test's binary"));
    command
        .args(["access::store_a_segment", "--exact", "--nocapture"])
        .env_clear()
        .env("HOME", home)
        .env("STORE_A_SEGMENT_AT", fake.base_url())
        .envs(variables.iter().copied());
    let Output { stdout, stderr, .. } = processes::output(&mut command).expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    for secret in
        fake.tokens().iter().chain(&fake.sessions().iter().map(|session| session.uri.clone()).collect::<Vec<_>>())
    {
        assert!(!said.contains(secret.as_str()), "a secret is told: {said}");
    }
    said
}

#[track_caller]
fn has_stored(fake: &FakeGcs, said: &str) {
    assert!(said.contains("\nstored"), "{said}");
    assert_eq!(fake.generations(BUCKET, OBJECT).len(), 1);
    assert_eq!(fake.violations(), Vec::<String>::new());
}

/// A server that wants tokens.
fn strict() -> FakeGcs {
    let fake = FakeGcs::start(&[BUCKET]);
    fake.set(|settings| settings.checks_tokens = true);
    fake
}

/// A directory with a file of credentials in it, and the file's path.
fn credentials(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("credentials.json");
    std::fs::write(&path, text).expect("room for it");
    let path = path.into_os_string().into_string().expect("UTF-8");
    (directory, path)
}

#[test]
fn a_user() {
    let fake = strict();
    let (home, path) = credentials(&fake.authorized_user());
    let said =
        run(&fake, home.path(), &[("GOOGLE_APPLICATION_CREDENTIALS", &path), ("GOOGLE_CLOUD_QUOTA_PROJECT", "payer")]);
    has_stored(&fake, &said);
    assert_eq!(fake.tokens_issued(), 1, "one for all requests");
    let payers: Vec<_> =
        fake.journal().into_iter().filter(|seen| seen.kind == Kind::Initiate).map(|seen| seen.user_project).collect();
    assert_eq!(payers, [Some("payer".to_owned())]);
}

#[test]
fn the_well_known_file_of_a_user() {
    let fake = strict();
    let (home, path) = credentials(&fake.authorized_user());
    let folder = home.path().join(".config/gcloud");
    std::fs::create_dir_all(&folder).expect("created");
    std::fs::rename(path, folder.join("application_default_credentials.json")).expect("moved");
    let said = run(&fake, home.path(), &[]);
    has_stored(&fake, &said);
}

#[test]
fn the_metadata_server() {
    let fake = strict();
    let home = tempfile::tempdir().expect("a directory");
    let said = run(&fake, home.path(), &[("GCE_METADATA_HOST", fake.address())]);
    has_stored(&fake, &said);
}

#[test]
fn a_service_account_signs_its_tokens_itself() {
    let fake = strict();
    fake.set(|settings| settings.token_issuer = Some("archiver@tests.iam.gserviceaccount.com".to_owned()));
    let account = json!({
        "type": "service_account",
        "project_id": "tests",
        "private_key_id": "1",
        "private_key": tls::private_key(),
        "client_email": "archiver@tests.iam.gserviceaccount.com",
        "token_uri": format!("{}/token", fake.base_url()),
    });
    let (home, path) = credentials(&account.to_string());
    let said = run(&fake, home.path(), &[("GOOGLE_APPLICATION_CREDENTIALS", &path)]);
    has_stored(&fake, &said);
    assert_eq!(fake.tokens_issued(), 0);
}

/// The address at which a token of the account is given to who may act as it.
fn impersonation_url(fake: &FakeGcs) -> String {
    let name = "archiver@tests.iam.gserviceaccount.com";
    format!("{}/v1/projects/-/serviceAccounts/{name}:generateAccessToken", fake.base_url())
}

#[test]
fn a_user_who_acts_as_a_service_account() {
    let fake = strict();
    let user: Value = serde_json::from_str(&fake.authorized_user()).expect("JSON");
    let account = json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": impersonation_url(&fake),
        "source_credentials": user,
    });
    let (home, path) = credentials(&account.to_string());
    let said = run(&fake, home.path(), &[("GOOGLE_APPLICATION_CREDENTIALS", &path)]);
    has_stored(&fake, &said);
    assert_eq!(fake.tokens_issued(), 2, "the user's, and for it the account's");
}

fn workload(fake: &FakeGcs, subject_token: &str) -> Value {
    json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{}/token", fake.base_url()),
        "credential_source": { "file": subject_token },
    })
}

#[test]
fn a_workload_with_an_identity_of_elsewhere() {
    let fake = strict();
    let (home, token) = credentials("a token of elsewhere");
    let mut account = workload(&fake, &token);
    for impersonates in [false, true] {
        if impersonates {
            account["service_account_impersonation_url"] = json!(impersonation_url(&fake));
            fake.delete_object(BUCKET, OBJECT);
        }
        let path = home.path().join("workload.json");
        std::fs::write(&path, account.to_string()).expect("room for it");
        let path = path.to_str().expect("UTF-8");
        let said = run(&fake, home.path(), &[("GOOGLE_APPLICATION_CREDENTIALS", path)]);
        assert!(said.contains("\nstored"), "{said}");
        assert_eq!(fake.tokens_issued(), if impersonates { 3 } else { 1 }, "exchanged, and then impersonated");
    }
}

/// Fails if a process goes on with a token that is refused.
#[test]
fn a_token_that_does_not_count_any_more() {
    let fake = strict();
    let (home, path) = credentials(&fake.authorized_user());
    let variables = [("GOOGLE_APPLICATION_CREDENTIALS", path.as_str()), ("BE_PATIENT", "1")];
    // Long enough for the test to see it.
    fake.arm(&[Kind::MetadataGet], Fault::Delay(Duration::from_millis(500)));
    let said = std::thread::scope(|scope| {
        let process = scope.spawn(|| run(&fake, home.path(), &variables));
        wait_until("the client has a token and uses it", || fake.counts().of(Kind::MetadataGet) == 1);
        // The client cannot know of it: the token's own time is not over.
        fake.revoke_tokens();
        process.join().expect("no panic")
    });
    has_stored(&fake, &said);
    assert_eq!(fake.tokens_issued(), 2, "another one was asked for, and once");
    let refused = fake.journal().iter().filter(|seen| seen.status == Some(401)).count();
    assert!(refused > 0);
}

#[test]
fn a_token_endpoint_that_fails_for_a_while() {
    for failure in [TokenFailure::Unavailable, TokenFailure::InvalidGrant] {
        let fake = strict();
        let (home, path) = credentials(&fake.authorized_user());
        fake.set(|settings| settings.token_failure = Some(failure));
        let variables = [("GOOGLE_APPLICATION_CREDENTIALS", path.as_str()), ("BE_PATIENT", "1")];
        let said = std::thread::scope(|scope| {
            let process = scope.spawn(|| run(&fake, home.path(), &variables));
            wait_until("a token is asked for", || fake.counts().of(Kind::Token) > 0);
            fake.set(|settings| settings.token_failure = None);
            process.join().expect("no panic")
        });
        has_stored(&fake, &said);
    }
}

#[test]
fn no_credentials_at_all() {
    let fake = strict();
    let said = run(&fake, Path::new("/nonexistent"), &[("ASK_AS_NOBODY", "1")]);
    assert!(said.contains("error: ") && said.contains("401") && fake.objects(BUCKET).is_empty(), "{said}");
}

#[test]
fn tls_with_a_certificate_that_is_trusted_and_with_others() {
    let certificates = Certificates::make();
    let fake = FakeGcs::start_with_tls(&[BUCKET], &certificates.certificate(), &certificates.key());
    assert!(fake.base_url().starts_with("https://"));
    let nobody = ("ASK_AS_NOBODY", "1");
    let home = tempfile::tempdir().expect("a directory");
    let said = run(&fake, home.path(), &[nobody]);
    assert!(said.contains("error: ") && said.to_lowercase().contains("certificate"), "{said}");
    let elsewhere = Certificates::make();
    let said = run(&fake, home.path(), &[nobody, ("SSL_CERT_FILE", &elsewhere.authority())]);
    assert!(said.contains("error: ") && said.to_lowercase().contains("certificate"), "{said}");
    assert!(fake.journal().is_empty(), "not one request was sent");
    fake.arm(&[Kind::DataPut], Fault::DropAnswer);
    let said = run(&fake, home.path(), &[nobody, ("SSL_CERT_FILE", &certificates.authority())]);
    has_stored(&fake, &said);
}
