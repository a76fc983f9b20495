//! Chain ids: the name of a layer together with all below it.
//!
//! Source: <https://github.com/opencontainers/image-spec>, `config.md`, "Layer ChainID".

use gantry_oci::Digest;
use sha2::{Digest as _, Sha256};

/// The chain id of layers given by their diff ids, lowest first; `None` for no layer.
pub fn chain_id(diff_ids: &[Digest]) -> Option<Digest> {
    chain_ids(diff_ids).pop()
}

/// The chain id of each layer on those below it, lowest first.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match chain.last() {
            None => diff_id.clone(),
            Some(below) => {
                Digest::from_sha256(&Sha256::digest(format!("{below} {diff_id}").as_bytes()).into())
            }
        };
        chain.push(id);
    }
    chain
}
