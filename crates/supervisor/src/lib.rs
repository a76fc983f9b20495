//! The supervisor as a library
