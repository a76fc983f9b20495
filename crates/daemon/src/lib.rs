//! gantryd: the Docker Engine API over HTTP
