//! A connection to a message bus, or to systemd itself: one call at a time, and signals waited for. Knows nothing of units.
//!
//! ```text
//! we                                            bus
//!  │  \0 AUTH EXTERNAL, DATA, BEGIN, Hello       │   all at once: nothing of it depends on an answer
//!  │ ──────────────────────────────────────────► │
//!  │                              DATA, OK guid  │   who we are it has from the socket
//!  │ ◄────────────────────────────────────────── │
//!  │  AddMatch, then calls                       │
//!  │ ──────────────────────────────────────────► │
//!  │                           replies, signals  │
//!  │ ◄────────────────────────────────────────── │
//! ```

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::marshal::{self, Call, ERROR, FIXED, Incoming, RETURN, SIGNAL, Value};

/// How long an answer may take: what the reference library gives it.
const PATIENCE: Duration = Duration::from_secs(25);

const SYSTEM: &str = "/run/dbus/system_bus_socket";

/// Where systemd itself listens, for root: without a bus in between.
const PRIVATE: &str = "/run/systemd/private";

/// How a call fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    /// The other side says no.
    #[error("{message}")]
    Refused {
        /// The name of the error.
        name: String,
        /// Its sentence.
        message: String,
    },
    /// There is no other side any more, or none that speaks the protocol.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl BusError {
    /// Whether this is the error of a name.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { name, .. } if name == wanted)
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Signals that came while an answer was waited for.
    signals: Vec<Incoming>,
}

impl Bus {
    /// The system's bus, or else, for root, systemd itself.
    pub(crate) fn system() -> io::Result<Self> {
        let address = match std::env::var("DBUS_SYSTEM_BUS_ADDRESS") {
            Ok(address) if !address.is_empty() => address,
            _ => format!("unix:path={SYSTEM}"),
        };
        match Self::at(&address, true) {
            Err(_) if gantry_sys::process::euid() == 0 => Self::open(&Place::Path(PRIVATE.into()), false),
            other => other,
        }
    }

    /// The bus of the user's session.
    pub(crate) fn user() -> io::Result<Self> {
        let named = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
        if !named.is_empty() {
            return Self::at(&named, true);
        }
        let folder = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
        match folder.map(|folder| PathBuf::from(folder).join("bus")) {
            Some(path) if path.exists() => Self::open(&Place::Path(path), true),
            _ => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "could not detect DBUS_SESSION_BUS_ADDRESS from the environment; make sure you have installed the \
                 dbus-user-session or dbus-daemon package; note you may need to re-login",
            )),
        }
    }

    /// The first of an address's places that answers.
    fn at(address: &str, hello: bool) -> io::Result<Self> {
        let mut last = io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("no place is known in the bus address {address:?}"),
        );
        for place in places(address) {
            match Self::open(&place, hello) {
                Ok(bus) => return Ok(bus),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn open(place: &Place, hello: bool) -> io::Result<Self> {
        let mut stream = place.connect()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // Without a name of our own the bus takes that of the socket, which is right also within a user namespace.
        stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        for expected in ["DATA", "OK "] {
            let line = line(&mut stream)?;
            if !line.starts_with(expected) {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!("the bus refused us: {}", line.trim_end()),
                ));
            }
        }
        let mut bus = Self {
            stream,
            serial: 0,
            signals: Vec::new(),
        };
        if hello {
            bus.bus("Hello", &[]).map_err(io::Error::other)?;
        }
        Ok(bus)
    }

    /// A method of the bus itself.
    pub(crate) fn bus(&mut self, member: &str, body: &[Value]) -> Result<Vec<Value>, BusError> {
        let name = "org.freedesktop.DBus";
        let what = Call {
            destination: name,
            path: "/org/freedesktop/DBus",
            interface: name,
            member,
        };
        self.call(&what, body)
    }

    /// Calls, and waits for the answer.
    pub(crate) fn call(&mut self, what: &Call<'_>, body: &[Value]) -> Result<Vec<Value>, BusError> {
        self.serial += 1;
        self.stream.write_all(&marshal::call(self.serial, what, body))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.receive(deadline)?;
            match message.kind {
                RETURN if message.reply_to == Some(self.serial) => return Ok(message.body),
                ERROR if message.reply_to == Some(self.serial) => {
                    let text = match message.body.into_iter().next() {
                        Some(Value::Text(text)) => text,
                        _ => message.error.clone(),
                    };
                    return Err(BusError::Refused {
                        name: message.error,
                        message: text,
                    });
                }
                SIGNAL => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// Waits for a signal of which `wanted` makes something.
    pub(crate) fn signal<T>(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&Incoming) -> Option<T>,
    ) -> Result<T, BusError> {
        if let Some(found) = self.signals.iter().find_map(&wanted) {
            return Ok(found);
        }
        let deadline = Instant::now() + limit;
        loop {
            let message = self.receive(deadline)?;
            if message.kind == SIGNAL
                && let Some(found) = wanted(&message)
            {
                return Ok(found);
            }
        }
    }

    fn receive(&mut self, deadline: Instant) -> io::Result<Incoming> {
        let malformed = |_| io::Error::new(io::ErrorKind::InvalidData, "the bus sent what is no message");
        let mut message = vec![0; FIXED];
        self.fill(&mut message, deadline)?;
        let length = message
            .first_chunk()
            .ok_or(marshal::Malformed)
            .and_then(marshal::length)
            .map_err(malformed)?;
        message.resize(length, 0);
        self.fill(&mut message[FIXED..], deadline)?;
        marshal::parse(&message).map_err(malformed)
    }

    fn fill(&mut self, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !buffer.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// One line of the conversation before messages. Byte by byte: what follows is no longer ours to read.
fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut text = String::new();
    while !text.ends_with('\n') && text.len() < 1024 {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        text.push(char::from(byte[0]));
    }
    Ok(text)
}

/// Where a bus listens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl Place {
    /// A bus that is asked by too many at once has its queue full: then it is asked again.
    fn connect(&self) -> io::Result<UnixStream> {
        let mut pause = Duration::from_millis(100);
        for _ in 0..6 {
            match self.try_connect() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(pause),
                other => return other,
            }
            pause *= 2;
        }
        self.try_connect()
    }

    fn try_connect(&self) -> io::Result<UnixStream> {
        match self {
            Self::Path(path) => gantry_sys::socket::connect(path),
            Self::Abstract(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        }
    }
}

/// `unix:path=…` and `unix:abstract=…` of an address; other ways are not for a small program.
fn places(address: &str) -> Vec<Place> {
    let place = |part: &str| {
        let mut fields = part
            .strip_prefix("unix:")?
            .split(',')
            .filter_map(|field| field.split_once('='));
        fields.find_map(|(key, value)| match key {
            "path" => Some(Place::Path(std::ffi::OsString::from_vec(unescape(value)).into())),
            "abstract" => Some(Place::Abstract(unescape(value))),
            _ => None,
        })
    };
    address.split(';').filter_map(place).collect()
}

/// `%2f` and the like as what they are.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, left)) = rest.split_first() {
        let escaped = left.get(..2).filter(|_| *first == b'%');
        let number = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(number.unwrap_or(*first));
        rest = if number.is_some() { &left[2..] } else { left };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_places() {
        assert_eq!(
            places("tcp:host=x;unix:path=/run/a%20b,guid=1;unix:guid=2,abstract=/c"),
            [Place::Path("/run/a b".into()), Place::Abstract(b"/c".to_vec()),]
        );
        assert_eq!(unescape("%2fx%zz%"), b"/x%zz%");
    }

    /// A bus of Debian's own.
    #[test]
    fn a_real_bus_answers() {
        let folder = std::env::temp_dir().join(format!("gantry-bus-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let socket = folder.join("bus");
        let rules = format!(
            "<busconfig><listen>unix:path={}</listen><policy context=\"default\"><allow send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            socket.display()
        );
        std::fs::write(folder.join("bus.conf"), rules).unwrap();
        let daemon = std::process::Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--config-file"])
            .arg(folder.join("bus.conf"))
            .stderr(std::process::Stdio::null())
            .spawn();
        let mut daemon = daemon.expect("dbus-daemon");
        let result = std::panic::catch_unwind(|| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while !socket.exists() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            let mut bus = Bus::at(&format!("unix:path={}", socket.display()), true).unwrap();
            let rule = "type='signal',member='NameOwnerChanged',arg0='org.gantry.Test'";
            bus.bus("AddMatch", &[Value::text(rule)]).unwrap();
            let taken = bus
                .bus("RequestName", &[Value::text("org.gantry.Test"), Value::Uint32(0)])
                .unwrap();
            assert_eq!(taken, [Value::Uint32(1)]);
            let heard = bus.signal(Duration::from_secs(10), |signal| {
                (signal.member == "NameOwnerChanged").then(|| signal.body[0].clone())
            });
            assert_eq!(heard.unwrap(), Value::text("org.gantry.Test"));
            let wrong = bus.bus("Nothing", &[]).unwrap_err();
            assert!(wrong.is("org.freedesktop.DBus.Error.UnknownMethod"), "{wrong}");
            let silent = bus.signal(Duration::from_millis(20), |_| None::<()>);
            assert!(matches!(silent, Err(BusError::Io(error)) if error.kind() == io::ErrorKind::TimedOut));
        });
        let _ = daemon.kill();
        let _ = daemon.wait();
        let _ = std::fs::remove_dir_all(&folder);
        result.unwrap();
    }
}
