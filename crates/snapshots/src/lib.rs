//! Snapshotters: layered root file systems
