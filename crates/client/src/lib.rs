//! A client of the Docker Engine API
