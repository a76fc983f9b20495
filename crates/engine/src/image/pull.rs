//! Pulling from a registry.

use futures_util::stream::BoxStream;
use gantry_api_types::{auth, progress};
use gantry_errdefs::Error;

use crate::{Engine, Result};

/// Pulls under way.
#[derive(Default)]
pub(crate) struct Pulls;

impl Engine {
    /// Errors before the first message are returned, later ones are the stream's last message.
    pub async fn image_pull(
        &self,
        reference: &str,
        _platform: Option<&str>,
        _auth: Option<auth::AuthConfig>,
    ) -> Result<BoxStream<'static, progress::Message>> {
        Err(Error::not_implemented(format!(
            "pull of {reference} is not implemented by this engine yet"
        )))
    }
}
