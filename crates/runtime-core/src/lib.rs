//! The OCI runtime as a library: plan, create, init, exec, kill, delete
