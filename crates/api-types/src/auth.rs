//! Credentials for registries.

use serde::{Deserialize, Serialize};

use crate::go::{nullable, zero};

/// Credentials, as in the `X-Registry-Auth` header (base64url of this JSON) and `POST /auth`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct AuthConfig {
    #[serde(
        alias = "Username",
        deserialize_with = "nullable",
        skip_serializing_if = "zero"
    )]
    pub username: String,
    #[serde(
        alias = "Password",
        deserialize_with = "nullable",
        skip_serializing_if = "zero"
    )]
    pub password: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub auth: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub email: String,
    #[serde(
        alias = "serverAddress",
        alias = "ServerAddress",
        deserialize_with = "nullable",
        skip_serializing_if = "zero"
    )]
    pub serveraddress: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub identitytoken: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "zero")]
    pub registrytoken: String,
}

impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets stay out of logs.
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

go_struct! {
    /// The answer to `POST /auth`.
    pub struct AuthResponse {
        pub status: String,
        #[serde(skip_serializing_if = "zero")]
        pub identity_token: String,
    }
}
