//! containerd's gRPC services over the supervisor's traits
