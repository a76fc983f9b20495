//! Requests, and what came of them in the words that Docker's users know: those of Go's HTTP client. No registry here.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;

use crate::challenge;
use crate::endpoint::name_of;
use crate::error::{Error, Result};

/// The largest body of an error that is read.
const ERROR_MAX: usize = 64 << 10;

/// Go's spelling of a method in an error.
pub(crate) fn verb(method: &Method) -> &'static str {
    match *method {
        Method::HEAD => "Head",
        Method::POST => "Post",
        _ => "Get",
    }
}

/// A failure of the network.
pub(crate) async fn transport(method: &Method, url: &str, error: &reqwest::Error) -> Error {
    let reason = match reason(url, error) {
        Reason::Said(text) => text,
        Reason::Dial(text) => format!("dial tcp {}: {text}", address(url).await),
    };
    Error::Transport {
        method: verb(method),
        url: url.to_owned(),
        reason,
    }
}

/// What to say, and whether with the address that was tried.
enum Reason {
    Said(String),
    Dial(String),
}

fn reason(url: &str, error: &reqwest::Error) -> Reason {
    let mut causes: Vec<&(dyn StdError + 'static)> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause);
        next = cause.source();
    }
    let io = causes.iter().find_map(|cause| cause.downcast_ref::<io::Error>());
    if error.is_connect() {
        let text = causes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ");
        if text.contains("dns error") {
            let host = url::Url::parse(url)
                .ok()
                .and_then(|url| url.host_str().map(str::to_owned))
                .unwrap_or_default();
            return Reason::Said(format!("dial tcp: lookup {host}: no such host"));
        }
        if let Some(tls) = causes.iter().find_map(|cause| tls_error(*cause)) {
            return Reason::Said(tls_words(tls));
        }
        if error.is_timeout() || io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut) {
            return Reason::Dial("i/o timeout".to_owned());
        }
        return match io {
            Some(io) => Reason::Dial(format!("connect: {}", words(io))),
            None => Reason::Said(text),
        };
    }
    if error.is_timeout() {
        let text = "net/http: request canceled (Client.Timeout exceeded while awaiting headers)";
        return Reason::Said(text.to_owned());
    }
    if error.is_redirect() {
        return Reason::Said(match causes.last() {
            Some(last) => last.to_string(),
            None => "stopped after 10 redirects".to_owned(),
        });
    }
    Reason::Said(match io.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".to_owned(),
        Some(io::ErrorKind::UnexpectedEof) => "unexpected EOF".to_owned(),
        _ => match causes.last() {
            Some(last)
                if last
                    .to_string()
                    .contains("connection closed before message completed") =>
            {
                "EOF".to_owned()
            }
            Some(last) => last.to_string(),
            None => error.to_string(),
        },
    })
}

/// The error of TLS in another: it comes inside errors of I/O, which their chain of causes leaves out.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref() {
        return Some(tls);
    }
    let inner: &'a (dyn StdError + 'static) = error.downcast_ref::<io::Error>()?.get_ref()?;
    tls_error(inner)
}

fn tls_words(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Bad, Error as Tls};
    let bad = |why: &str| format!("tls: failed to verify certificate: x509: {why}");
    match error {
        Tls::InvalidMessage(_) => "http: server gave HTTP response to HTTPS client".to_owned(),
        Tls::InvalidCertificate(Bad::UnknownIssuer) => bad("certificate signed by unknown authority"),
        // One that signed itself.
        Tls::InvalidCertificate(Bad::Other(other)) if other.to_string().contains("CaUsedAsEndEntity") => {
            bad("certificate signed by unknown authority")
        }
        Tls::InvalidCertificate(Bad::Expired | Bad::NotValidYet) => {
            bad("certificate has expired or is not yet valid")
        }
        Tls::InvalidCertificate(Bad::NotValidForName) => bad("certificate is not valid for this name"),
        other => format!("tls: {other}"),
    }
}

/// An error of the operating system as Go prints it: lower case, without the number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

/// The address that was tried: only looked up for a message.
async fn address(url: &str) -> String {
    let Ok(url) = url::Url::parse(url) else {
        return url.to_owned();
    };
    let port = url.port_or_known_default().unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    let look = tokio::net::lookup_host((name_of(host), port));
    match tokio::time::timeout(Duration::from_secs(2), look).await {
        Ok(Ok(mut found)) => found
            .next()
            .map_or_else(|| format!("{host}:{port}"), |a| a.to_string()),
        _ => format!("{host}:{port}"),
    }
}

/// The registry's word on a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `MANIFEST_UNKNOWN`, or empty.
    pub(crate) code: String,
    /// As Docker prints it: `manifest unknown: manifest unknown`.
    pub(crate) text: String,
    /// The status line.
    pub(crate) status: StatusCode,
}

impl Refusal {
    /// An error without a better meaning.
    pub(crate) fn into_error(self) -> Error {
        match self.code.as_str() {
            "UNAUTHORIZED" => Error::Unauthorized(self.text),
            "TOOMANYREQUESTS" => Error::TooManyRequests(self.text),
            _ if self.status == StatusCode::TOO_MANY_REQUESTS => Error::TooManyRequests(self.text),
            _ if self.status.is_client_error() => Error::Registry(self.text),
            _ => Error::Status(self.text),
        }
    }
}

/// Reads a response that is no success.
pub(crate) async fn refusal(response: Response) -> Refusal {
    let status = response.status();
    let line = status_line(status);
    if !status.is_client_error() {
        return Refusal {
            code: String::new(),
            text: line,
            status,
        };
    }
    // What a token server's refusal means for the scope is only in the challenge.
    let headers: Vec<String> = response
        .headers()
        .get_all(reqwest::header::WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    let bearer = headers
        .iter()
        .flat_map(|header| challenge::parse(header))
        .find(|challenge| challenge.scheme == "bearer" && !challenge.parameter("error").is_empty());
    let described = bearer.and_then(|challenge| {
        let (code, usual) = match challenge.parameter("error") {
            "invalid_token" => ("UNAUTHORIZED", "authentication required"),
            "insufficient_scope" => ("DENIED", "requested access to the resource is denied"),
            _ => return None,
        };
        let message = match challenge.parameter("error_description") {
            "" => usual.to_owned(),
            said => said.to_owned(),
        };
        Some((code.to_owned(), message))
    });
    let body = body(response, ERROR_MAX).await.unwrap_or_default();
    let first = described.or_else(|| first_error(&body));
    let (code, message) = match first {
        Some(found) => found,
        None if status == StatusCode::UNAUTHORIZED => {
            ("UNAUTHORIZED".to_owned(), "authentication required".to_owned())
        }
        None if status == StatusCode::FORBIDDEN => (
            "DENIED".to_owned(),
            "requested access to the resource is denied".to_owned(),
        ),
        None if status == StatusCode::TOO_MANY_REQUESTS => {
            ("TOOMANYREQUESTS".to_owned(), "too many requests".to_owned())
        }
        None => {
            let text = match std::str::from_utf8(&body).map(str::trim) {
                Ok(text) if !text.is_empty() && text.len() <= 200 && !text.contains('<') => {
                    format!("error parsing HTTP {} response body: \"{text}\"", status.as_u16())
                }
                _ => format!("received unexpected HTTP status: {line}"),
            };
            return Refusal {
                code: String::new(),
                text,
                status,
            };
        }
    };
    let label = code.to_lowercase().replace('_', " ");
    Refusal {
        code,
        text: format!("{label}: {message}"),
        status,
    }
}

/// `404 Not Found`
pub(crate) fn status_line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// A body of at most `limit` bytes; more is an error without a cause.
pub(crate) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, Option<reqwest::Error>> {
    let mut all = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Some)? {
        if all.len() + chunk.len() > limit {
            return Err(None);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<One>,
    // Token servers of some registries.
    #[serde(default)]
    details: String,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

fn first_error(body: &[u8]) -> Option<(String, String)> {
    let parsed: Errors = serde_json::from_slice(body).ok()?;
    if let Some(first) = parsed.errors.into_iter().next() {
        let code = if first.code.is_empty() {
            "UNKNOWN".to_owned()
        } else {
            first.code
        };
        let message = match first.message.is_empty() {
            true => code.to_lowercase().replace('_', " "),
            false => first.message,
        };
        return Some((code, message));
    }
    let said = match parsed.error {
        Some(serde_json::Value::String(text)) => text,
        _ => parsed.details,
    };
    (!said.is_empty()).then(|| ("UNAUTHORIZED".to_owned(), said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_tls_is_found_and_said_as_go_says_it() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let nested = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        let said = tls_error(&nested).map(tls_words).unwrap_or_default();
        assert_eq!(
            said,
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        );
        assert!(tls_error(&io::Error::from_raw_os_error(111)).is_none());
        assert_eq!(words(&io::Error::from_raw_os_error(111)), "connection refused");
    }

    #[test]
    fn the_first_error_of_a_body_counts() {
        let read = |body: &str| first_error(body.as_bytes());
        let pair = |code: &str, message: &str| Some((code.to_owned(), message.to_owned()));
        let two = r#"{"errors":[{"code":"DENIED","message":"no"},{"code":"X"}]}"#;
        assert_eq!(read(two), pair("DENIED", "no"));
        assert_eq!(
            read(r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#),
            pair("NAME_UNKNOWN", "name unknown")
        );
        assert_eq!(
            read(r#"{"details":"incorrect username or password"}"#),
            pair("UNAUTHORIZED", "incorrect username or password")
        );
        for none in ["", "x", "{}", r#"{"errors":[]}"#] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
