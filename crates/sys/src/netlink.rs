//! Network interfaces over rtnetlink: found, moved to another namespace under another name, given addresses, brought up.
//! A socket works in the namespace in which it was opened.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::{Error, Result, check, retry};

const HEADER: usize = 16;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const REQUEST_ACK: u16 = 0x5;
const DUMP: u16 = 0x300;
const CREATE_EXCLUSIVE: u16 = 0x600;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_FLAGS: u16 = 8;
const IFA_CACHEINFO: u16 = 6;
const IFA_LABEL: u16 = 3;
const IFF_UP: u32 = 1;
/// `IFA_F_PERMANENT`.
const PERMANENT: u32 = 0x80;

/// An open socket.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

/// An address of an interface, as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    /// Type and value of each attribute that another interface may take over.
    attributes: Vec<(u16, Vec<u8>)>,
}

fn native(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_ne_bytes)
}

/// Appends an attribute: length, type, value, and what fills it up to a multiple of four.
fn push(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Type and value of each attribute.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while let [a, b, c, d, ..] = *bytes {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        if length < 4 || length > bytes.len() {
            break;
        }
        all.push((u16::from_ne_bytes([c, d]) & 0x3fff, &bytes[4..length]));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// `struct ifinfomsg` for the interface of an index.
fn interface(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(change.to_ne_bytes());
    body
}

impl Netlink {
    /// Opens a socket in the namespace that we are in.
    pub fn open() -> Result<Self> {
        // SAFETY: integers only.
        let fd = check(
            unsafe {
                libc::socket(
                    libc::AF_NETLINK,
                    libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                    libc::NETLINK_ROUTE,
                )
            },
            || "open a netlink socket".to_owned(),
        )?;
        // SAFETY: the descriptor is new and ours.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// The index of an interface.
    pub fn index(&self, name: &str) -> Result<u32> {
        let mut body = interface(0, 0, 0);
        push(&mut body, IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
        let found = self.ask(
            RTM_GETLINK,
            REQUEST_ACK,
            &body,
            &format!("find the interface {name}"),
        )?;
        let first = found.first().and_then(|body| body.get(4..8));
        first.map(native).ok_or_else(|| {
            let error = std::io::Error::from_raw_os_error(libc::ENODEV);
            Error::new(format!("find the interface {name}"), error)
        })
    }

    /// The addresses of an interface that last, but those that the kernel makes by itself.
    pub fn addresses(&self, index: u32) -> Result<Vec<Address>> {
        let found = self.ask(RTM_GETADDR, REQUEST_ACK | DUMP, &[0; 8], "list addresses")?;
        let of = |body: &Vec<u8>| {
            let (fixed, rest) = body.split_at_checked(8)?;
            if native(&fixed[4..8]) != index {
                return None;
            }
            let all = attributes(rest);
            let flags = all.iter().find(|(kind, _)| *kind == IFA_FLAGS);
            let flags = flags.map_or(u32::from(fixed[2]), |(_, value)| native(value));
            let global = fixed[3] == libc::RT_SCOPE_UNIVERSE;
            (flags & PERMANENT != 0 && global).then(|| Address {
                family: fixed[0],
                prefix: fixed[1],
                scope: fixed[3],
                attributes: all
                    .iter()
                    .filter(|(kind, _)| !matches!(*kind, IFA_FLAGS | IFA_CACHEINFO | IFA_LABEL))
                    .map(|(kind, value)| (*kind, value.to_vec()))
                    .collect(),
            })
        };
        Ok(found.iter().filter_map(of).collect())
    }

    /// Moves an interface to another namespace, where it has this name, and is down.
    pub fn move_to(&self, index: u32, namespace: BorrowedFd<'_>, name: &str) -> Result<()> {
        let mut body = interface(index, 0, IFF_UP);
        push(&mut body, IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        push(&mut body, IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
        self.ask(
            RTM_NEWLINK,
            REQUEST_ACK,
            &body,
            &format!("move an interface, to be {name}"),
        )
        .map(drop)
    }

    /// Gives an interface an address.
    pub fn add_address(&self, index: u32, address: &Address) -> Result<()> {
        let mut body = vec![address.family, address.prefix, 0, address.scope];
        body.extend(index.to_ne_bytes());
        for (kind, value) in &address.attributes {
            push(&mut body, *kind, value);
        }
        self.ask(
            RTM_NEWADDR,
            REQUEST_ACK | CREATE_EXCLUSIVE,
            &body,
            "add an address",
        )
        .map(drop)
    }

    /// Brings an interface up.
    pub fn up(&self, index: u32) -> Result<()> {
        self.ask(
            RTM_NEWLINK,
            REQUEST_ACK,
            &interface(index, IFF_UP, IFF_UP),
            "bring an interface up",
        )
        .map(drop)
    }

    /// Sends a request; returns the bodies of the answers.
    fn ask(&self, kind: u16, flags: u16, body: &[u8], what: &str) -> Result<Vec<Vec<u8>>> {
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        let fd = self.0.as_raw_fd();
        // SAFETY: the pointer and length are those of a live buffer.
        let sent = retry(|| unsafe { libc::send(fd, message.as_ptr().cast(), message.len(), 0) as i64 });
        check(sent, || what.to_owned())?;
        let mut answers = Vec::new();
        let mut buffer = vec![0_u8; 64 << 10];
        loop {
            // SAFETY: the pointer and length are those of a live buffer.
            let got = retry(|| unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) as i64 });
            let got = check(got, || what.to_owned())? as usize;
            let mut rest = &buffer[..got];
            while rest.len() >= HEADER {
                let length = native(&rest[..4]) as usize;
                if length < HEADER || length > rest.len() {
                    break;
                }
                let body = &rest[HEADER..length];
                match u16::from_ne_bytes([rest[4], rest[5]]) {
                    DONE => return Ok(answers),
                    ERROR => {
                        let code = body.get(..4).map_or(0, native) as i32;
                        return match code {
                            0 => Ok(answers),
                            code => Err(Error::new(what, std::io::Error::from_raw_os_error(-code))),
                        };
                    }
                    _ => answers.push(body.to_vec()),
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found() {
        let netlink = Netlink::open().unwrap();
        assert_eq!(netlink.index("lo").unwrap(), 1);
        assert!(netlink.index("none-such").is_err());
        // Its own addresses are the host's, not global ones.
        assert!(netlink.addresses(1).unwrap().iter().all(|one| one.scope == 0));
    }

    #[test]
    fn attributes_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        push(&mut bytes, 3, b"ab\0");
        push(&mut bytes, 28, &7_i32.to_ne_bytes());
        assert_eq!(
            attributes(&bytes),
            [(3, &b"ab\0"[..]), (28, &7_i32.to_ne_bytes()[..])]
        );
        assert!(attributes(&[9, 0, 1, 0]).is_empty());
    }
}
