//! A repository for reading: what a tag or digest stands for, its manifest, its blobs. Verifies manifests; the bytes of
//! blobs are verified by who keeps them.

use std::sync::Arc;
use std::time::Duration;

use gantry_oci::image::{Document, Error as DocumentError};
use gantry_oci::{Descriptor, Digest, Reference, media_type};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use sha2::Digest as _;
use tokio::sync::Mutex;

use crate::auth::{self, Credentials, Grant};
use crate::blob::Blob;
use crate::challenge::Challenge;
use crate::client::{self, Client};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::http::{self, Refusal};

#[cfg(test)]
mod tests;

/// The largest manifest that is read.
pub const MANIFEST_MAX: u64 = 4 << 20;

/// A manifest or index: what it is, and its bytes as they came.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its digest, size and media type.
    pub descriptor: Descriptor,
    /// The bytes that the digest is of.
    pub bytes: Vec<u8>,
    /// What they say.
    pub document: Document,
}

/// A repository that answered. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    http: reqwest::Client,
    base: String,
    path: String,
    /// The name as users write it.
    name: String,
    scope: String,
    credentials: Credentials,
    challenges: Vec<Challenge>,
    grant: Mutex<Option<Grant>>,
}

impl Repository {
    pub(crate) fn new(
        client: Client,
        http: reqwest::Client,
        endpoint: Endpoint,
        reference: &Reference,
        credentials: Credentials,
        challenges: Vec<Challenge>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                client,
                http,
                base: endpoint.base,
                path: reference.path().to_owned(),
                name: reference.familiar_name(),
                scope: format!("repository:{}:pull", reference.path()),
                credentials,
                challenges,
                grant: Mutex::new(None),
            }),
        }
    }

    /// What the tag or digest of `reference` stands for. Asks with HEAD where the registry answers that fully.
    pub async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let asked = self.ask(reference);
        let response = self.send(Method::HEAD, &self.manifest_url(&asked), None).await?;
        if response.status().is_success()
            && let Some(descriptor) = described(&response, reference.digest())
        {
            if is_schema1(&descriptor.media_type) {
                return Err(Error::Schema1(reference.familiar()));
            }
            return Ok(descriptor);
        }
        Ok(self.manifest(reference).await?.descriptor)
    }

    /// The manifest or index of `reference`, verified: against its digest when it has one.
    pub async fn manifest(&self, reference: &Reference) -> Result<Manifest> {
        let asked = self.ask(reference);
        let url = self.manifest_url(&asked);
        let mut attempt = 0;
        loop {
            match self.manifest_once(reference, &url).await {
                // The connection broke in the middle.
                Err(error)
                    if error.is_passing() && attempt + 1 < self.inner.client.inner.settings.attempts =>
                {
                    attempt += 1;
                    tracing::debug!(url, attempt, %error, "manifest is asked for again");
                    self.inner.client.inner.pause(attempt, None).await;
                }
                other => return other,
            }
        }
    }

    async fn manifest_once(&self, reference: &Reference, url: &str) -> Result<Manifest> {
        let response = self.send(Method::GET, url, None).await?;
        if !response.status().is_success() {
            return Err(self.refused(http::refusal(response).await, reference));
        }
        let announced = header(&response, CONTENT_TYPE.as_str());
        let announced = announced.split(';').next().unwrap_or_default().trim().to_owned();
        let bytes = match http::body(response, MANIFEST_MAX as usize).await {
            Ok(bytes) => bytes,
            Err(Some(error)) => return Err(http::transport(&Method::GET, url, &error).await),
            Err(None) => {
                return Err(Error::TooLarge {
                    reference: reference.familiar(),
                    limit: MANIFEST_MAX,
                });
            }
        };
        let digest = match reference.digest() {
            Some(digest) => {
                if digest_like(digest, &bytes) != *digest {
                    return Err(Error::Digest(digest.to_string()));
                }
                digest.clone()
            }
            None => Digest::from_sha256(&sha2::Sha256::digest(&bytes).into()),
        };
        let document = Document::parse(&announced, &bytes).map_err(|error| match error {
            DocumentError::Schema1 => Error::Schema1(reference.familiar()),
            other => Error::Malformed(format!(
                "invalid manifest for {}: {}",
                reference.familiar(),
                gantry_errdefs::chain(&other)
            )),
        })?;
        let descriptor = Descriptor::new(document.media_type(), digest, bytes.len() as u64);
        Ok(Manifest {
            descriptor,
            bytes,
            document,
        })
    }

    /// The bytes of a blob from `offset` on. Nothing is asked for before the first read.
    pub fn blob(&self, descriptor: &Descriptor, offset: u64) -> Blob {
        Blob::new(self.clone(), descriptor.clone(), offset)
    }

    /// One answer with the bytes from `offset` on, and the offset at which it really begins.
    pub(crate) async fn open_blob(&self, descriptor: &Descriptor, offset: u64) -> Result<(Response, u64)> {
        let url = format!(
            "{}/v2/{}/blobs/{}",
            self.inner.base, self.inner.path, descriptor.digest
        );
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        let response = self.send(Method::GET, &url, range).await?;
        match response.status() {
            StatusCode::OK => Ok((response, 0)),
            StatusCode::PARTIAL_CONTENT => {
                let range = header(&response, "content-range");
                let begin = range
                    .strip_prefix("bytes ")
                    .and_then(|range| range.split('-').next())
                    .and_then(|begin| begin.parse().ok());
                match begin {
                    Some(begin) if begin <= offset => Ok((response, begin)),
                    _ => Err(Error::Malformed(format!(
                        "Get \"{url}\": unusable Content-Range {range:?}"
                    ))),
                }
            }
            _ => {
                let refusal = http::refusal(response).await;
                Err(match refusal.code.as_str() {
                    "BLOB_UNKNOWN" | "NAME_UNKNOWN" => self.no_blob(descriptor, refusal.text),
                    "DENIED" => Error::Denied {
                        name: self.inner.name.clone(),
                        cause: refusal.text,
                    },
                    _ if refusal.status == StatusCode::NOT_FOUND => self.no_blob(descriptor, refusal.text),
                    _ => refusal.into_error(),
                })
            }
        }
    }

    fn no_blob(&self, descriptor: &Descriptor, cause: String) -> Error {
        Error::BlobUnknown {
            digest: descriptor.digest.to_string(),
            name: self.inner.name.clone(),
            cause,
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    fn ask(&self, reference: &Reference) -> String {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_owned(),
            (None, None) => gantry_oci::reference::DEFAULT_TAG.to_owned(),
        }
    }

    fn manifest_url(&self, asked: &str) -> String {
        format!("{}/v2/{}/manifests/{asked}", self.inner.base, self.inner.path)
    }

    fn refused(&self, refusal: Refusal, reference: &Reference) -> Error {
        let name = || self.inner.name.clone();
        match refusal.code.as_str() {
            "DENIED" => Error::Denied {
                name: name(),
                cause: refusal.text,
            },
            "NAME_UNKNOWN" => Error::NameUnknown {
                name: name(),
                cause: refusal.text,
            },
            "MANIFEST_UNKNOWN" => Error::ManifestUnknown {
                reference: reference.clone().with_default_tag().familiar(),
                cause: refusal.text,
            },
            _ if refusal.status == StatusCode::NOT_FOUND => Error::ManifestUnknown {
                reference: reference.clone().with_default_tag().familiar(),
                cause: "manifest unknown: manifest unknown".to_owned(),
            },
            _ => refusal.into_error(),
        }
    }

    /// Sends a request with what the registry wants to see, again when it fails for the moment. An answer that is a
    /// refusal is an answer, but for 401 to what can be shown anew.
    async fn send(&self, method: Method, url: &str, range: Option<String>) -> Result<Response> {
        let client = &self.inner.client.inner;
        let mut attempt = 0;
        let mut answered_again = false;
        loop {
            let error = match self.send_once(&method, url, range.as_deref()).await {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED && !answered_again => {
                    answered_again = true;
                    let challenges = client::challenges(&response);
                    match self.authorize(&challenges, &method, url).await? {
                        true => continue,
                        false => return Ok(response),
                    }
                }
                Ok(response) => {
                    let status = response.status();
                    let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                    if !passing || attempt + 1 >= client.settings.attempts {
                        return Ok(response);
                    }
                    let asked = header(&response, RETRY_AFTER.as_str());
                    attempt += 1;
                    tracing::debug!(url, %status, attempt, "registry is asked again");
                    client
                        .pause(attempt, asked.parse().ok().map(Duration::from_secs))
                        .await;
                    continue;
                }
                Err(error) => error,
            };
            if !error.is_passing() || attempt + 1 >= client.settings.attempts {
                return Err(error);
            }
            attempt += 1;
            tracing::debug!(url, %error, attempt, "registry is asked again");
            client.pause(attempt, None).await;
        }
    }

    async fn send_once(&self, method: &Method, url: &str, range: Option<&str>) -> Result<Response> {
        let mut request = self.inner.http.request(method.clone(), url);
        if let Some(range) = range {
            request = request.header(RANGE, range);
        } else {
            for kind in media_type::MANIFEST_TYPES {
                request = request.header(ACCEPT, kind);
            }
        }
        if let Some(header) = self.authorization(method, url).await? {
            let mut value = HeaderValue::from_str(&header)
                .map_err(|_| Error::Unauthorized("unauthorized: the token is no header".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        match request.send().await {
            Ok(response) => Ok(response),
            Err(error) => Err(http::transport(method, url, &error).await),
        }
    }

    /// What is shown: what was granted, as long as it is good, or a new answer to what the registry said at first.
    async fn authorization(&self, method: &Method, url: &str) -> Result<Option<String>> {
        let mut grant = self.inner.grant.lock().await;
        if let Some(grant) = grant.as_ref().filter(|grant| grant.is_good()) {
            return Ok(Some(grant.header.clone()));
        }
        *grant = auth::answer(&self.inner.challenges, &self.request(method, url)).await?;
        Ok(grant.as_ref().map(|grant| grant.header.clone()))
    }

    /// Answers a refusal: whether there is something new to show.
    async fn authorize(&self, challenges: &[Challenge], method: &Method, url: &str) -> Result<bool> {
        let mut grant = self.inner.grant.lock().await;
        let new = auth::answer(challenges, &self.request(method, url)).await?;
        let changed = match (&*grant, &new) {
            (Some(old), Some(new)) => old.header != new.header,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if new.is_some() {
            *grant = new;
        }
        Ok(changed)
    }

    fn request<'a>(&'a self, method: &Method, url: &'a str) -> auth::Request<'a> {
        auth::Request {
            http: &self.inner.http,
            credentials: &self.inner.credentials,
            scope: &self.inner.scope,
            method: http::verb(method),
            url,
            plain: self.inner.base.starts_with("http://"),
        }
    }
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// What the headers alone say, if they say all.
fn described(response: &Response, wanted: Option<&Digest>) -> Option<Descriptor> {
    let kind = header(response, CONTENT_TYPE.as_str());
    let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
    let known = media_type::is_index(&kind) || media_type::is_manifest(&kind) || is_schema1(&kind);
    let size: u64 = header(response, "content-length").parse().ok()?;
    let digest: Digest = match wanted {
        Some(digest) => digest.clone(),
        None => header(response, "docker-content-digest").parse().ok()?,
    };
    (known && size > 0).then(|| Descriptor::new(kind, digest, size))
}

fn is_schema1(kind: &str) -> bool {
    matches!(
        kind,
        media_type::DOCKER_SCHEMA1 | media_type::DOCKER_SCHEMA1_SIGNED
    )
}

/// The digest of bytes by the algorithm of another.
fn digest_like(other: &Digest, bytes: &[u8]) -> Digest {
    use gantry_oci::digest::Algorithm;
    match other.algorithm() {
        Algorithm::Sha384 => Digest::from_sha384(&sha2::Sha384::digest(bytes).into()),
        Algorithm::Sha512 => Digest::from_sha512(&sha2::Sha512::digest(bytes).into()),
        _ => Digest::from_sha256(&sha2::Sha256::digest(bytes).into()),
    }
}
