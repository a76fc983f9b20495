//! Pulls from a registry that fails, into a supervisor of this process.
