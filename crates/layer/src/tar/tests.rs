//! Archives of every kind, read as GNU tar and the specification read them.
