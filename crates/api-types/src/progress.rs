//! The stream of a pull, a push, a load: JSON objects, one after the other.

use serde::{Deserialize, Serialize};

use crate::go::{nullable, zero};

/// One message of the stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Message {
    /// Text to print as it is.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub stream: String,
    /// What is being done.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub status: String,
    /// How far it is.
    #[serde(skip_serializing_if = "zero")]
    pub progress_detail: Option<Detail>,
    /// How far it is, drawn.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub progress: String,
    /// What it is done to, such as a layer.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub id: String,
    /// Why it failed; the last message.
    #[serde(skip_serializing_if = "zero")]
    pub error_detail: Option<ErrorDetail>,
    /// Why it failed, as text.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub error: String,
    /// A result for programs.
    #[serde(skip_serializing_if = "zero")]
    pub aux: Option<serde_json::Value>,
}

impl Message {
    /// A line about the whole.
    pub fn status(status: impl Into<String>) -> Self {
        Message {
            status: status.into(),
            ..Message::default()
        }
    }

    /// A line about one part; Docker writes an empty detail with it.
    pub fn part(id: impl Into<String>, status: impl Into<String>) -> Self {
        Message {
            id: id.into(),
            status: status.into(),
            progress_detail: Some(Detail::default()),
            ..Message::default()
        }
    }

    /// The progress of one part in bytes.
    pub fn progress(id: impl Into<String>, status: impl Into<String>, current: i64, total: i64) -> Self {
        let detail = Detail {
            current,
            total,
            ..Detail::default()
        };
        Message {
            progress_detail: Some(detail),
            ..Message::part(id, status)
        }
    }

    /// The failure that ends a stream.
    pub fn failed(message: impl Into<String>) -> Self {
        let message = message.into();
        Message {
            error_detail: Some(ErrorDetail {
                code: 0,
                message: message.clone(),
            }),
            error: message,
            ..Message::default()
        }
    }
}

/// How far a part is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// Done so far.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub current: i64,
    /// All there is to do; zero when unknown.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub total: i64,
    /// When it began, in seconds since the epoch.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub start: i64,
    /// Whether to draw the bar without the numbers.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub hidecounts: bool,
    /// The unit when it is not bytes.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub units: String,
}

/// Why a stream failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// A number, mostly unused.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub code: i64,
    /// Text for people.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub message: String,
}
