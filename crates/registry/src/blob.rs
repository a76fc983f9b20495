//! The bytes of one blob, in order, whatever happens to the connections they come over. Does not verify them.

use bytes::Bytes;
use gantry_oci::Descriptor;
use reqwest::{Method, Response};

use crate::error::{Error, Result};
use crate::http;
use crate::pull::Repository;

/// A blob that is being read.
pub struct Blob {
    repository: Repository,
    descriptor: Descriptor,
    /// What was handed out.
    offset: u64,
    /// What comes before `offset` in the present answer and is thrown away.
    skip: u64,
    response: Option<Response>,
    /// Failures since the last byte.
    failures: u32,
}

impl Blob {
    pub(crate) fn new(repository: Repository, descriptor: Descriptor, offset: u64) -> Self {
        Self {
            repository,
            descriptor,
            offset,
            skip: 0,
            response: None,
            failures: 0,
        }
    }

    /// Where the next bytes belong.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes; `None` when all that the descriptor announced were given. A connection that breaks is made anew
    /// and goes on where the last one stopped.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.offset >= self.descriptor.size {
                return Ok(None);
            }
            if self.response.is_none() {
                // What opens an answer has its own patience.
                let opened = self.repository.open_blob(&self.descriptor, self.offset).await;
                let (response, begin) = opened?;
                self.skip = self.offset - begin;
                self.response = Some(response);
            }
            match self.read().await {
                Ok(Some(chunk)) => {
                    self.failures = 0;
                    return Ok(Some(chunk));
                }
                Ok(None) => {}
                Err(error) => {
                    self.response = None;
                    let client = &self.repository.client().inner;
                    self.failures += 1;
                    if !error.is_passing() || self.failures >= client.settings.attempts {
                        return Err(error);
                    }
                    tracing::debug!(
                        digest = %self.descriptor.digest, offset = self.offset, %error,
                        "blob is resumed"
                    );
                    client.pause(self.failures, None).await;
                }
            }
        }
    }

    /// One piece of the present answer; `None` when what came was not wanted.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        let Some(response) = self.response.as_mut() else {
            return Ok(None);
        };
        let url = response.url().clone();
        let mut chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => {
                return Err(Error::Transport {
                    method: "Get",
                    url: bare(&url),
                    reason: "unexpected EOF".to_owned(),
                });
            }
            Err(error) => return Err(http::transport(&Method::GET, &bare(&url), &error).await),
        };
        if self.skip > 0 {
            let before = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
            self.skip -= before as u64;
            chunk = chunk.slice(before..);
        }
        if chunk.is_empty() {
            return Ok(None);
        }
        let left = self.descriptor.size - self.offset;
        if chunk.len() as u64 > left {
            return Err(Error::Malformed(format!(
                "blob {} has more than the {} bytes that its descriptor says",
                self.descriptor.digest, self.descriptor.size
            )));
        }
        self.offset += chunk.len() as u64;
        Ok(Some(chunk))
    }
}

/// An address without its query, in which stores put signatures.
fn bare(url: &reqwest::Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}
