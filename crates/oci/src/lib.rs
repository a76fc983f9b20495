//! The vocabulary of OCI: references, digests, descriptors, image and runtime specifications
pub mod runtime;
