//! Who may ask, and where tokens come from.

use super::answer::{Answer, Refusal, json_of, set, text};
use super::clock::rfc_3339;
use super::intake::Intake;
use super::request::{Call, Route};
use super::settings::{Permissions, TokenFailure};
use super::state::Server;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::Duration;
use time::OffsetDateTime;

/// What a request needs to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    Create,
    Get,
    List,
    GetBucket,
}

impl Permission {
    fn is_in(self, permissions: Permissions) -> bool {
        match self {
            Permission::Create => permissions.create,
            Permission::Get => permissions.get,
            Permission::List => permissions.list,
            Permission::GetBucket => permissions.get_bucket,
        }
    }

    /// Its name, and what it is asked of.
    fn name(self) -> (&'static str, &'static str) {
        match self {
            Permission::Create => ("storage.objects.create", "object"),
            Permission::Get => ("storage.objects.get", "object"),
            Permission::List => ("storage.objects.list", "bucket"),
            Permission::GetBucket => ("storage.buckets.get", "bucket"),
        }
    }
}

/// Whether the caller is known, and may.
pub(crate) fn authorize(server: &Server, call: &Call, permission: Permission) -> Result<(), Refusal> {
    let state = server.lock();
    if state.settings.checks_tokens {
        let Some(header) = call.header("authorization") else {
            let (name, resource) = permission.name();
            let message =
                format!("Anonymous caller does not have {name} access to the Google Cloud Storage {resource}.");
            return Err(Refusal::json(401, "required", message));
        };
        let is_known = header.strip_prefix("Bearer ").is_some_and(|token| state.accepts(token));
        if !is_known {
            return Err(Refusal::json(401, "authError", "Invalid Credentials"));
        }
    }
    if permission.is_in(state.settings.permissions) {
        return Ok(());
    }
    let (name, resource) = permission.name();
    Err(lacks(name, resource))
}

/// Whether a token is a JWT with these claims. The signature is not looked at: the key is the test's own.
pub(crate) fn is_issued_by(token: &str, issuer: &str, now: OffsetDateTime) -> bool {
    let Some((_, rest)) = token.split_once('.') else { return false };
    let Some((claims, signature)) = rest.split_once('.') else { return false };
    let claims = URL_SAFE_NO_PAD.decode(claims).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(claims) = claims else { return false };
    let is_in_time = claims["iat"].as_i64().is_some_and(|from| from <= now.unix_timestamp() + 60)
        && claims["exp"].as_i64().is_some_and(|until| now.unix_timestamp() < until);
    let may_write =
        claims["scope"].as_str().is_some_and(|scope| scope.contains("devstorage") || scope.contains("cloud-platform"));
    !signature.is_empty() && claims["iss"] == issuer && is_in_time && may_write
}

/// The caller may not.
pub(crate) fn lacks(permission: &str, resource: &str) -> Refusal {
    let message = format!(
        "archiver@tests.iam.gserviceaccount.com does not have {permission} access to the Google Cloud Storage {resource}. \
         Permission '{permission}' denied on resource (or it may not exist)."
    );
    Refusal::json(403, "forbidden", message)
}

/// A token, as each of the places gives it from which Google's libraries take them.
pub(crate) async fn token(server: &Server, call: &Call, intake: &mut Intake) -> Result<Answer, Refusal> {
    if matches!(call.route, Route::MetadataToken | Route::MetadataUniverse)
        && call.header("metadata-flavor") != Some("Google")
    {
        return Err(Refusal::text(403, "Missing Metadata-Flavor:Google header."));
    }
    let Ok(body) = intake.all().await else { return Ok(Answer::Close) };
    if call.route == Route::MetadataUniverse {
        let mut response = text(200, "googleapis.com");
        set(&mut response, "metadata-flavor", "Google");
        return Ok(Answer::Response(response));
    }
    let mut state = server.lock();
    match state.settings.token_failure {
        Some(TokenFailure::Unavailable) => return Err(Refusal::text(503, "Service Unavailable")),
        Some(TokenFailure::InvalidGrant) => {
            let mut response = json_of(&json!({
                "error": "invalid_grant",
                "error_description": "Token has been expired or revoked.",
            }));
            *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
            return Ok(Answer::Response(response));
        }
        None => {}
    }
    state.tokens_issued += 1;
    let token = format!("ya29.fake-{}", state.tokens_issued);
    let seconds = state.settings.token_seconds;
    let expires = state.clock.now() + Duration::from_secs(seconds);
    state.tokens.insert(token.clone(), Some(expires));
    let answer = match call.route {
        Route::Impersonate => json!({ "accessToken": token, "expireTime": rfc_3339(expires) }),
        _ => {
            let mut answer = json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer" });
            let body = body.to_vec();
            if String::from_utf8_lossy(&body).contains("token-exchange") {
                answer["issued_token_type"] = json!("urn:ietf:params:oauth:token-type:access_token");
            }
            answer
        }
    };
    let mut response = json_of(&answer);
    if call.route == Route::MetadataToken {
        set(&mut response, "metadata-flavor", "Google");
    }
    Ok(Answer::Response(response))
}
