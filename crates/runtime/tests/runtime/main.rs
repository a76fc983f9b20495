//! `gantry-runtime` as root on the real kernel: what must not be possible, and what must stay whole when something goes wrong.
//! Each test drives the built program on a bundle of busybox; what is left behind fails it.

mod bad_input;
mod container;
mod escapes;
mod inside;
mod killed;
mod libseccomp;
mod races;
mod restored;
mod seccomp;
mod turns;
