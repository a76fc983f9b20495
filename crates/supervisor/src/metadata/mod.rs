//! What is kept in the database, one room for each kind of object. Knows nothing of shims and files.

pub(crate) mod containers;
pub(crate) mod db;
pub(crate) mod fields;
pub(crate) mod images;
pub(crate) mod leases;
pub(crate) mod namespaces;
