//! Unix sockets: pairs for messages, descriptors passed along, paths of any length.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, check, retry};

/// What fits into `sun_path` with its zero.
const LIMIT: usize = 107;

/// Calls `with` with a path for `path` that fits into `sun_path`: itself, or below `/proc/self/fd` with its folder held
/// open meanwhile.
pub fn short<T>(path: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= LIMIT {
        return with(path);
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is no path of a socket", path.display()),
        ));
    };
    let dir = std::fs::File::open(dir)?;
    let short: PathBuf = [
        Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())),
        Path::new(name),
    ]
    .iter()
    .collect();
    with(&short)
}

/// Connects to the socket at a path of any length.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    short(path, |path| UnixStream::connect(path))
}

/// Connects to the socket at a path of any length, or fails at once where `connect` would wait: a listener that accepts
/// nobody has its queue full some time. Reading and writing do not wait either.
pub fn connect_now(path: &Path) -> io::Result<UnixStream> {
    short(path, |path| {
        let fd = socket(libc::SOCK_NONBLOCK)?;
        let address = address(path);
        let size = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        // SAFETY: the pointer and length are those of a live structure.
        match unsafe { libc::connect(fd.as_raw_fd(), (&raw const address).cast(), size) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(UnixStream::from(fd)),
        }
    })
}

/// Binds a path of any length and listens. The socket is its owner's alone from the moment it is there, whatever the
/// umask: Linux gives it the mode that the descriptor had before.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    short(path, |path| {
        let fd = socket(0)?;
        // SAFETY: integers only.
        if unsafe { libc::fchmod(fd.as_raw_fd(), 0o600) } == -1 {
            return Err(io::Error::last_os_error());
        }
        let address = address(path);
        let size = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        // SAFETY: the pointer and length are those of a live structure.
        if unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // The kernel takes no more than its own limit of those who wait (net.core.somaxconn).
        // SAFETY: integers only.
        match unsafe { libc::listen(fd.as_raw_fd(), i32::MAX) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(UnixListener::from(fd)),
        }
    })
}

/// A new stream socket.
fn socket(flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: integers only.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags, 0) };
    match fd {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the descriptor is new and ours.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// The address of a path that [`short`] has given: it is at most [`LIMIT`] bytes long.
fn address(path: &Path) -> libc::sockaddr_un {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: zero is a valid value for every field.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // The last stays zero.
    let bytes = path.as_os_str().as_bytes().iter().take(LIMIT);
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    address
}

/// Two connected sockets that keep the borders of messages.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the array has the two elements that the call fills.
    let result = unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
            fds.as_mut_ptr(),
        )
    };
    check(result, || "make a pair of sockets".to_owned())?;
    // SAFETY: both descriptors are new and ours.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Sends a message and, beside it, a descriptor.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], passed: Option<BorrowedFd<'_>>) -> Result<()> {
    match send_some(socket, message, passed)? {
        sent if sent == message.len() => Ok(()),
        _ => Err(Error::new(
            "send a message",
            io::Error::from(io::ErrorKind::WriteZero),
        )),
    }
}

/// Sends all of a text of any length over a stream, and a descriptor with its first part.
pub fn send_all(socket: BorrowedFd<'_>, text: &[u8], passed: BorrowedFd<'_>) -> Result<()> {
    let mut sent = send_some(socket, text, Some(passed))?;
    while sent < text.len() {
        match send_some(socket, &text[sent..], None)? {
            0 => {
                let error = io::Error::from(io::ErrorKind::WriteZero);
                return Err(Error::new("send a message", error));
            }
            more => sent += more,
        }
    }
    Ok(())
}

/// How much was sent.
fn send_some(socket: BorrowedFd<'_>, message: &[u8], passed: Option<BorrowedFd<'_>>) -> Result<usize> {
    let mut part = libc::iovec {
        iov_base: message.as_ptr().cast_mut().cast(),
        iov_len: message.len(),
    };
    // Aligned as a cmsghdr has to be, and large enough for one descriptor.
    let mut control = [0_u64; 8];
    // SAFETY: zero is a valid value for every field.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if let Some(passed) = passed {
        // SAFETY: pure arithmetic of the macro.
        let (space, length) = unsafe { (libc::CMSG_SPACE(4), libc::CMSG_LEN(4)) };
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = space as _;
        // SAFETY: the buffer holds a header and one descriptor (CMSG_SPACE(4) is less than its 64 bytes), and is aligned.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = length as _;
            std::ptr::write_unaligned(libc::CMSG_DATA(first).cast::<RawFd>(), passed.as_raw_fd());
        }
    }
    // SAFETY: the header and all it points to live until the call returns.
    let sent =
        retry(|| unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) as i64 });
    check(sent, || "send a message".to_owned()).map(|sent| sent as usize)
}

/// Receives a message of at most `limit` bytes and the descriptor that came with it. An empty one: the peer is gone.
pub fn receive(socket: BorrowedFd<'_>, limit: usize) -> Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut buffer = vec![0_u8; limit];
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = [0_u64; 8];
    // SAFETY: zero is a valid value for every field.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the header and all it points to live until the call returns.
    let received = retry(|| unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) as i64
    });
    let received = check(received, || "receive a message".to_owned())?;
    let mut passed = None;
    // SAFETY: the kernel filled the buffer and its length; the macros walk it as it says. Each descriptor is new and ours;
    // a second one would be dropped, and thereby closed.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(&raw const header);
        while !next.is_null() {
            if (*next).cmsg_level == libc::SOL_SOCKET && (*next).cmsg_type == libc::SCM_RIGHTS {
                let count = ((*next).cmsg_len as usize - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                for at in 0..count {
                    let fd = std::ptr::read_unaligned(libc::CMSG_DATA(next).cast::<RawFd>().add(at));
                    passed = Some(OwnedFd::from_raw_fd(fd));
                }
            }
            next = libc::CMSG_NXTHDR(&raw const header, next);
        }
    }
    buffer.truncate(received as usize);
    Ok((buffer, passed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_full_queue_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("d".repeat(90));
        std::fs::create_dir(&long).unwrap();
        for path in [dir.path().join("s"), long.join("s")] {
            assert_eq!(connect_now(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
            let listener = listen(&path).unwrap();
            // SAFETY: integers only.
            assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 1) }, 0);
            let mut held = Vec::new();
            let error = loop {
                match connect_now(&path) {
                    Ok(stream) => held.push(stream),
                    Err(error) => break error,
                }
            };
            assert_eq!(
                (error.kind(), held.is_empty()),
                (io::ErrorKind::WouldBlock, false)
            );
        }
    }

    #[test]
    fn a_socket_is_its_owners_alone_under_any_umask() {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().to_owned();
        // A thread with a umask of its own: the other tests keep theirs.
        let thread = std::thread::spawn(move || {
            crate::ns::unshare(libc::CLONE_FS).unwrap();
            crate::prctl::umask(0);
            let open = inside.join("open");
            std::fs::DirBuilder::new().mode(0o777).create(&open).unwrap();
            let path = open.join("s");
            let listener = listen(&path).unwrap();
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            assert_eq!((mode(&open), mode(&path)), (0o777, 0o600));
            connect(&path).unwrap();
            listener.accept().unwrap();
            assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_descriptor_travels_with_its_message() {
        let (a, b) = pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        send(a.as_fd(), b"take this", Some(file.as_fd())).unwrap();
        let (message, passed) = receive(b.as_fd(), 100).unwrap();
        assert_eq!(message, b"take this");
        let inode = |fd: BorrowedFd<'_>| crate::path::fstat(fd).unwrap().st_ino;
        assert_eq!(inode(passed.unwrap().as_fd()), inode(file.as_fd()));
        drop(a);
        assert_eq!(receive(b.as_fd(), 10).unwrap().0, b"");
    }
}
