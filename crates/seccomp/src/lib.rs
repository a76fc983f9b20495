//! Seccomp profiles compiled to BPF in process
