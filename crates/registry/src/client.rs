//! The client: its settings, its connections, and the way to a repository. Holds no credentials.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gantry_oci::Reference;
use reqwest::{Method, StatusCode, redirect};

use crate::Repository;
use crate::auth::Credentials;
use crate::challenge::{self, Challenge};
use crate::endpoint::{Endpoint, endpoints};
use crate::error::{Error, Result};
use crate::http;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Registries that may have no certificate or no encryption: `host[:port]`, or a network `10.0.0.0/8`. Those on
    /// the loopback always may.
    pub insecure: Vec<String>,
    /// What we call ourselves.
    pub user_agent: String,
    /// How often something that fails for the moment is tried.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each further one.
    pub pause: Duration,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a server may be silent.
    pub read_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            user_agent: format!("gantry/{}", env!("CARGO_PKG_VERSION")),
            attempts: 5,
            pause: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(60),
        }
    }
}

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How long the first question may take.
const PING: Duration = Duration::from_secs(15);

/// A client of registries. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    /// By whether certificates count, and whether a proxy does.
    clients: [[OnceLock<Result<reqwest::Client>>; 2]; 2],
}

impl Client {
    /// A client. Nothing is connected yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                clients: Default::default(),
            }),
        }
    }

    /// The way to the repository of a reference: finds the address that answers, and what it wants to see.
    pub async fn repository(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<Repository> {
        let mut last = None;
        for endpoint in endpoints(reference.domain(), &self.inner.settings.insecure) {
            match self.ping(&endpoint).await {
                Ok((http, challenges)) => {
                    let credentials = credentials.unwrap_or_default();
                    return Ok(Repository::new(
                        self.clone(),
                        http,
                        endpoint,
                        reference,
                        credentials,
                        challenges,
                    ));
                }
                Err(error) => {
                    tracing::debug!(base = endpoint.base, %error, "registry endpoint did not answer");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::Setup("the registry has no address".to_owned())))
    }

    async fn ping(&self, endpoint: &Endpoint) -> Result<(reqwest::Client, Vec<Challenge>)> {
        let http = self.inner.http(endpoint)?;
        let url = format!("{}/v2/", endpoint.base);
        let asked = http.get(&url).timeout(PING).send().await;
        let response = match asked {
            Ok(response) => response,
            Err(error) => return Err(http::transport(&Method::GET, &url, &error).await),
        };
        let challenges = match response.status() {
            StatusCode::UNAUTHORIZED => challenges(&response),
            _ => Vec::new(),
        };
        Ok((http, challenges))
    }
}

/// What a response wants to see.
pub(crate) fn challenges(response: &reqwest::Response) -> Vec<Challenge> {
    let headers = response.headers().get_all(reqwest::header::WWW_AUTHENTICATE);
    headers
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(challenge::parse)
        .collect()
}

impl Inner {
    fn http(&self, endpoint: &Endpoint) -> Result<reqwest::Client> {
        self.clients[usize::from(endpoint.insecure)][usize::from(endpoint.direct)]
            .get_or_init(|| self.build(endpoint.insecure, endpoint.direct))
            .clone()
    }

    fn build(&self, insecure: bool, direct: bool) -> Result<reqwest::Client> {
        // Whoever was first in this process has chosen the cryptography; an error means just that.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let policy = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > 10 {
                return attempt.error("too many redirects");
            }
            let from_https = attempt
                .previous()
                .last()
                .is_some_and(|url| url.scheme() == "https");
            if from_https && attempt.url().scheme() != "https" && !insecure {
                return attempt.error("redirect to an address without encryption");
            }
            attempt.follow()
        });
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.settings.user_agent)
            .redirect(policy)
            .referer(false)
            .connect_timeout(self.settings.connect_timeout)
            .read_timeout(self.settings.read_timeout)
            .tls_danger_accept_invalid_certs(insecure);
        if direct {
            builder = builder.no_proxy();
        }
        builder
            .build()
            .map_err(|error| Error::Setup(gantry_errdefs::chain(&error)))
    }

    /// Waits before attempt number `attempt` (the second is 1), or as long as the registry asked for.
    pub(crate) async fn pause(&self, attempt: u32, asked: Option<Duration>) {
        let own = self
            .settings
            .pause
            .saturating_mul(1 << attempt.saturating_sub(1).min(10));
        tokio::time::sleep(asked.unwrap_or(own).min(PAUSE_MAX)).await;
    }
}
