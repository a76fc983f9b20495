//! `checkpoint` and `restore` of `gantry-runtime` with the real criu. Debian's runs on some kernels only, such as that of
//! `cargo xtask vm test`: elsewhere every test says so and is done.

mod around;
mod case;
mod failures;
mod lazily;
mod life;
mod terminals;
