//! Who we are to a registry: credentials, and the tokens that a server of tokens gives for them. Sees no image.

use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::challenge::Challenge;
use crate::error::{Error, Result};
use crate::http;

/// How long a token counts when its server does not say.
const LIFE: u64 = 60;
/// The largest answer of a server of tokens.
const TOKEN_MAX: usize = 1 << 20;

/// What a user has shown for a registry. The default is nobody.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The name, with `password`.
    pub username: String,
    /// The password, or a personal token.
    pub password: String,
    /// A refresh token of OAuth 2; counts before the password.
    pub identity_token: String,
    /// A token that is sent as it is; counts before everything.
    pub registry_token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets stay out of logs.
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// From the form of a configuration file: base64 of `name:password`. `None` when it is not that.
    pub fn from_basic(text: &str) -> Option<Self> {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text.trim())
            .ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (username, password) = text.split_once(':')?;
        Some(Self {
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
            ..Self::default()
        })
    }

    fn has_password(&self) -> bool {
        !self.username.is_empty() || !self.password.is_empty()
    }

    fn basic(&self) -> String {
        let text = format!("{}:{}", self.username, self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    }
}

/// A value of `Authorization` and how long it is good.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) header: String,
    pub(crate) until: Option<Instant>,
}

impl Grant {
    pub(crate) fn is_good(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// What is asked for, and on whose behalf.
pub(crate) struct Request<'a> {
    pub(crate) http: &'a reqwest::Client,
    pub(crate) credentials: &'a Credentials,
    /// The scope when the challenge names none: `repository:library/x:pull`.
    pub(crate) scope: &'a str,
    /// What it is for: the method and address that the error names.
    pub(crate) method: &'static str,
    pub(crate) url: &'a str,
    /// Whether the registry itself is spoken to without encryption.
    pub(crate) plain: bool,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

/// Answers the challenges: `None` when there is none that we know.
pub(crate) async fn answer(challenges: &[Challenge], request: &Request<'_>) -> Result<Option<Grant>> {
    let lasting = |header| Some(Grant { header, until: None });
    if !request.credentials.registry_token.is_empty() {
        return Ok(lasting(format!("Bearer {}", request.credentials.registry_token)));
    }
    let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    if let Some(challenge) = of("bearer") {
        return token(challenge, request).await.map(Some);
    }
    if of("basic").is_some() {
        if !request.credentials.has_password() {
            return Err(Error::NoCredentials {
                method: request.method,
                url: request.url.to_owned(),
            });
        }
        return Ok(lasting(request.credentials.basic()));
    }
    Ok(None)
}

async fn token(challenge: &Challenge, request: &Request<'_>) -> Result<Grant> {
    let failed = |reason: String| Error::Token {
        method: request.method,
        url: request.url.to_owned(),
        reason,
    };
    let realm = challenge.parameter("realm");
    if realm.is_empty() {
        return Err(failed("no realm specified for token auth challenge".to_owned()));
    }
    let realm =
        Url::parse(realm).map_err(|error| failed(format!("invalid token auth challenge realm: {error}")))?;
    // A registry with encryption must not make us show a password without.
    if realm.scheme() != "https" && !(realm.scheme() == "http" && request.plain) {
        return Err(failed(format!(
            "invalid token auth challenge realm: {realm} is not encrypted"
        )));
    }
    let scope = match challenge.parameter("scope") {
        "" => request.scope,
        scope => scope,
    };
    let service = challenge.parameter("service");
    let credentials = request.credentials;
    let (method, sent) = if credentials.identity_token.is_empty() {
        let mut url = realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if credentials.has_password() {
                query.append_pair("account", &credentials.username);
            }
            query.append_pair("scope", scope);
            if !service.is_empty() {
                query.append_pair("service", service);
            }
        }
        let mut get = request.http.get(url);
        if credentials.has_password() {
            get = get.header(reqwest::header::AUTHORIZATION, credentials.basic());
        }
        (Method::GET, get)
    } else {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", service)
            .append_pair("client_id", "docker")
            .append_pair("scope", scope)
            .append_pair("refresh_token", &credentials.identity_token)
            .finish();
        let post = request
            .http
            .post(realm.clone())
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        (Method::POST, post)
    };
    let shown = {
        let mut shown = realm.clone();
        shown.set_query(None);
        shown.to_string()
    };
    let begun = Instant::now();
    let response = match sent.send().await {
        Ok(response) => response,
        Err(error) => return Err(failed(http::transport(&method, &shown, &error).await.to_string())),
    };
    if response.status() != StatusCode::OK {
        let refusal = http::refusal(response).await;
        if refusal.status == StatusCode::TOO_MANY_REQUESTS || refusal.status.is_server_error() {
            return Err(refusal.into_error());
        }
        return Err(failed(refusal.text));
    }
    let body = http::body(response, TOKEN_MAX)
        .await
        .map_err(|_| failed("unable to decode token response".to_owned()))?;
    let token: Token = serde_json::from_slice(&body)
        .map_err(|error| failed(format!("unable to decode token response: {error}")))?;
    let value = if token.token.is_empty() {
        token.access_token
    } else {
        token.token
    };
    if value.is_empty() {
        return Err(failed(
            "authorization server did not include a token in the response".to_owned(),
        ));
    }
    let life = if token.expires_in == 0 {
        LIFE
    } else {
        token.expires_in
    };
    Ok(Grant {
        header: format!("Bearer {value}"),
        // A little before its end, so that none ends on the way.
        until: begun.checked_add(Duration::from_secs(life * 9 / 10)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_configuration_files_is_read() {
        let read = Credentials::from_basic("dXNlcjpwYTpzcw==").unwrap();
        assert_eq!(
            (read.username.as_str(), read.password.as_str()),
            ("user", "pa:ss")
        );
        assert!(Credentials::from_basic("dXNlcg==").is_none());
        assert!(Credentials::from_basic("?").is_none());
        let shown = format!("{read:?}");
        assert!(!shown.contains("pa:ss"), "{shown}");
    }
}
