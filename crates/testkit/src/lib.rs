//! What the tests share: roots, bundles, registries, leak checks
