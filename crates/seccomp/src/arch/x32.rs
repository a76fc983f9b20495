//! The numbers of system calls of the x32 ABI, where they differ from x86-64's with the bit set.

/// By name.
pub(super) const NUMBERS: &[(&str, u32)] = &[
    ("execve", 0x40000208), ("execveat", 0x40000221), ("get_robust_list", 0x40000213),
    ("getsockopt", 0x4000021e), ("io_setup", 0x4000021f), ("io_submit", 0x40000220), ("ioctl", 0x40000202),
    ("kexec_load", 0x40000210), ("move_pages", 0x40000215), ("mq_notify", 0x4000020f),
    ("preadv", 0x40000216), ("preadv2", 0x40000222), ("process_vm_readv", 0x4000021b),
    ("process_vm_writev", 0x4000021c), ("ptrace", 0x40000209), ("pwritev", 0x40000217),
    ("pwritev2", 0x40000223), ("readv", 0x40000203), ("recvfrom", 0x40000205), ("recvmmsg", 0x40000219),
    ("recvmsg", 0x40000207), ("rt_sigaction", 0x40000200), ("rt_sigpending", 0x4000020a),
    ("rt_sigqueueinfo", 0x4000020c), ("rt_sigreturn", 0x40000201), ("rt_sigtimedwait", 0x4000020b),
    ("rt_tgsigqueueinfo", 0x40000218), ("sendmmsg", 0x4000021a), ("sendmsg", 0x40000206),
    ("set_robust_list", 0x40000212), ("setsockopt", 0x4000021d), ("sigaltstack", 0x4000020d),
    ("timer_create", 0x4000020e), ("vmsplice", 0x40000214), ("waitid", 0x40000211), ("writev", 0x40000204),
];
