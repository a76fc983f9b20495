//! The JSON of the Docker Engine API
