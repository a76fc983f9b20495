//! The one room for system calls
