//! Chain ids: known values, and that each names all that is below it.

use gantry_layer::chain::{chain_id, chain_ids};
use gantry_oci::Digest;
use proptest::prelude::*;

fn digest(n: u8) -> Digest {
    Digest::from_sha256(&[n; 32])
}

#[test]
fn known_values() {
    assert_eq!(chain_id(&[]), None);
    assert_eq!(chain_id(&[digest(1)]), Some(digest(1)));
    // printf 'sha256:0101… sha256:0202…' | sha256sum
    let two = chain_id(&[digest(1), digest(2)]).expect("two");
    let by_hand = {
        use sha2::{Digest as _, Sha256};
        let text = format!("sha256:{} sha256:{}", "01".repeat(32), "02".repeat(32));
        Digest::from_sha256(&Sha256::digest(text).into())
    };
    assert_eq!(two, by_hand);
}

proptest! {
    #[test]
    fn each_is_the_id_of_what_is_below_it(layers in prop::collection::vec(any::<u8>(), 1..20)) {
        let layers: Vec<_> = layers.into_iter().map(digest).collect();
        let chain = chain_ids(&layers);
        prop_assert_eq!(chain.len(), layers.len());
        for (n, id) in chain.iter().enumerate() {
            prop_assert_eq!(Some(id.clone()), chain_id(&layers[..=n]));
        }
    }
}
