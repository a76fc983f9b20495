//! How lists and objects are shown: Docker's tables, Go's templates, JSON. It must not know what a
//! container or an image is.

pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod table;
pub(crate) mod template;
