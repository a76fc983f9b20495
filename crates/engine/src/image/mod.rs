//! Images: what a name means, its layers unpacked, its names given and taken. Knows of containers only which images they use.

mod init_layer;
mod list;
mod load;
mod pull;
mod remove;
mod resolve;
mod unpack;

pub(crate) use pull::Pulls;
pub(crate) use resolve::ResolvedImage;
