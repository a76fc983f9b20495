//! The suites that run Gantry's real binaries: see `docs/testing.md`.
