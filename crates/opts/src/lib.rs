//! The little languages of the command line: mounts, sizes, durations, signals, ulimits
