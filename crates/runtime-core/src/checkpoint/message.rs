//! What is said to criu and what it answers (`images/rpc.proto` of its tree). Pure: who says it is in `criu`.
//!
//! ```text
//!  runtime                                     criu swrk
//!     │ ─── Dump | PreDump | Restore (options) ──► │
//!     │ ◄── Notify (script, pid) [+ descriptor] ── │   as often as it reaches such a point
//!     │ ─── Notify (done or not) ────────────────► │
//!     │ ◄── Dump | PreDump | Restore (success) ─── │
//! ```

use gantry_sys::process::Pid;

use super::wire::{Fields, Writer};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    Features = 9,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Dump => "DUMP",
            Self::Restore => "RESTORE",
            Self::PreDump => "PRE_DUMP",
            Self::Notify => "NOTIFY",
            Self::Features => "FEATURE_CHECK",
        }
    }

    /// The name of the log that criu writes.
    pub(super) fn log(self) -> &'static str {
        match self {
            Self::Restore => "restore.log",
            _ => "dump.log",
        }
    }
}

/// What callers may switch on, by the number of criu's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The processes go on.
    LeaveRunning = 3,
    /// Sockets of the host may be open.
    ExternalUnixSockets = 4,
    /// TCP connections may be open.
    EstablishedTcp = 5,
    /// The terminal and session may be the caller's.
    ShellJob = 7,
    /// Locks of files may be held.
    FileLocks = 8,
    /// Pages are stored once.
    AutoDedup = 16,
    /// Files without a name are given one.
    LinkRemap = 18,
    /// TCP connections that are not there yet are left out.
    SkipTcpInFlight = 46,
    /// Pages are fetched when they are needed.
    LazyPages = 48,
}

/// What criu does with cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupsMode {
    /// Nothing.
    Ignore = 0,
    /// It makes what is missing.
    Soft = 3,
    /// It makes what is missing, and sets what was set in all.
    Full = 4,
    /// It wants to make all.
    Strict = 5,
}

/// criu's options, by names instead of numbers.
#[derive(Debug, Default)]
pub(super) struct Request(Writer);

impl Request {
    pub(super) fn images(&mut self, descriptor: i32) -> &mut Self {
        self.count(1, descriptor)
    }

    pub(super) fn work(&mut self, descriptor: i32) -> &mut Self {
        self.count(17, descriptor)
    }

    pub(super) fn process(&mut self, pid: Pid) -> &mut Self {
        self.count(2, pid)
    }

    pub(super) fn switch(&mut self, switch: Switch) -> &mut Self {
        self.on(switch as u32)
    }

    /// Whether a device may be another one than it was.
    pub(super) fn evasive_devices(&mut self) -> &mut Self {
        self.on(6)
    }

    pub(super) fn log(&mut self, name: &str) -> &mut Self {
        const DEBUG: i32 = 4;
        self.count(9, DEBUG);
        self.text(10, name)
    }

    pub(super) fn notifications(&mut self) -> &mut Self {
        self.on(12)
    }

    pub(super) fn root(&mut self, path: &str) -> &mut Self {
        self.text(13, path)
    }

    /// An earlier image, from the folder of this one.
    pub(super) fn parent(&mut self, path: &str) -> &mut Self {
        self.text(14, path);
        self.on(15)
    }

    pub(super) fn page_server(&mut self, address: &str, port: u16) -> &mut Self {
        let mut server = Writer::default();
        server.text(1, address).number(2, port.into());
        self.0.message(11, &server);
        self
    }

    /// Where a hierarchy's processes go. The unified one has no name.
    pub(super) fn cgroup_root(&mut self, controller: &str, path: &str) -> &mut Self {
        let mut root = Writer::default();
        root.text(1, controller).text(2, path);
        self.0.message(25, &root);
        self
    }

    /// The restored process becomes criu's sibling: our child.
    pub(super) fn sibling(&mut self) -> &mut Self {
        self.on(26)
    }

    pub(super) fn inherit(&mut self, descriptor: i32, key: &str) -> &mut Self {
        let mut one = Writer::default();
        one.text(1, key).number(2, descriptor as u64);
        self.0.message(27, &one);
        self
    }

    pub(super) fn cgroups(&mut self, mode: CgroupsMode) -> &mut Self {
        self.count(34, mode as i32)
    }

    /// What is the host's: `mnt[WHERE]:NAME`, `net[INODE]:NAME`.
    pub(super) fn external(&mut self, text: &str) -> &mut Self {
        self.text(37, text)
    }

    /// Networks are not criu's business.
    pub(super) fn empty_network(&mut self) -> &mut Self {
        const CLONE_NEWNET: i32 = 0x4000_0000;
        self.count(38, CLONE_NEWNET)
    }

    pub(super) fn join(&mut self, kind: &str, path: &str) -> &mut Self {
        let mut one = Writer::default();
        one.text(1, kind).text(2, path);
        self.0.message(39, &one);
        self
    }

    pub(super) fn freezer(&mut self, folder: &str) -> &mut Self {
        self.text(44, folder)
    }

    /// The master of the container's terminal is passed to us.
    pub(super) fn orphan_terminals(&mut self) -> &mut Self {
        self.on(50)
    }

    pub(super) fn config_file(&mut self, path: &str) -> &mut Self {
        self.text(51, path)
    }

    pub(super) fn lsm_profile(&mut self, text: &str) -> &mut Self {
        self.text(53, text)
    }

    /// A folder in which the hierarchies are, so that criu mounts none.
    pub(super) fn cgroup_yard(&mut self, path: &str) -> &mut Self {
        self.text(60, path)
    }

    pub(super) fn lsm_mount_context(&mut self, text: &str) -> &mut Self {
        self.text(63, text)
    }

    /// The message that asks for it.
    pub(super) fn ask(&self, kind: Kind) -> Writer {
        let mut message = Writer::default();
        message.number(1, kind as u64).message(2, &self.0);
        message
    }

    fn on(&mut self, field: u32) -> &mut Self {
        self.0.number(field, 1);
        self
    }

    fn count(&mut self, field: u32, value: i32) -> &mut Self {
        // Negative numbers take all 64 bits.
        self.0.number(field, i64::from(value) as u64);
        self
    }

    fn text(&mut self, field: u32, text: &str) -> &mut Self {
        self.0.text(field, text);
        self
    }
}

/// The answer to a notification.
pub(super) fn noted(well: bool) -> Writer {
    let mut message = Writer::default();
    message.number(1, Kind::Notify as u64).number(3, well.into());
    message
}

/// What criu, and the kernel below it, can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    MemTrack = 1,
    LazyPages = 2,
}

/// The question whether something can be done.
pub(super) fn can(feature: Feature) -> Writer {
    let mut features = Writer::default();
    features.number(feature as u32, 1);
    let mut message = Writer::default();
    message.number(1, Kind::Features as u64).message(5, &features);
    message
}

/// What criu says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) kind: u64,
    pub(super) success: bool,
    /// The point that it has reached, and whose first process it made there.
    pub(super) script: String,
    pub(super) script_pid: Option<Pid>,
    /// Of whom it made.
    pub(super) restored: Option<Pid>,
    pub(super) errno: u64,
    pub(super) error: String,
    /// What it can do, by the numbers of [`Feature`].
    features: Vec<u64>,
}

impl Response {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut response = Self::default();
        for (field, value) in Fields(bytes) {
            match field {
                1 => response.kind = value.number(),
                2 => response.success = value.number() != 0,
                4 => {
                    response.restored = Fields::of(value).find_map(|(at, value)| pid(at == 1, value.number()))
                }
                5 => {
                    for (at, value) in Fields::of(value) {
                        match at {
                            1 => response.script = value.text(),
                            2 => response.script_pid = pid(true, value.number()),
                            _ => {}
                        }
                    }
                }
                7 => response.errno = value.number(),
                8 => {
                    let on = Fields::of(value).filter(|(_, value)| value.number() != 0);
                    response.features = on.map(|(at, _)| at).collect();
                }
                9 => response.error = value.text(),
                _ => {}
            }
        }
        response
    }

    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind == kind as u64
    }

    pub(super) fn can(&self, feature: Feature) -> bool {
        self.features.contains(&(feature as u64))
    }
}

fn pid(it: bool, number: u64) -> Option<Pid> {
    Pid::try_from(number).ok().filter(|pid| it && *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        let mut notify = Writer::default();
        notify.text(1, "setup-namespaces").number(2, 4711);
        let mut message = Writer::default();
        message.number(1, 6).number(2, 1).message(5, &notify);
        let response = Response::parse(message.encoded());
        assert!(response.is(Kind::Notify) && response.success);
        assert_eq!(
            (response.script.as_str(), response.script_pid),
            ("setup-namespaces", Some(4711))
        );
        let (mut restored, mut features) = (Writer::default(), Writer::default());
        restored.number(1, 12);
        features.number(1, 1).number(2, 0);
        let mut message = Writer::default();
        message
            .number(1, 2)
            .number(2, 0)
            .message(4, &restored)
            .number(7, 3)
            .message(8, &features)
            .text(9, "no");
        let response = Response::parse(message.encoded());
        assert!(response.is(Kind::Restore) && !response.success);
        assert_eq!(
            (response.restored, response.errno, response.error.as_str()),
            (Some(12), 3, "no")
        );
        assert!(response.can(Feature::MemTrack) && !response.can(Feature::LazyPages));
    }

    #[test]
    fn questions_are_as_criu_reads_them() {
        let mut request = Request::default();
        request.images(3).switch(Switch::ShellJob).cgroup_root("", "/a");
        assert_eq!(
            request.ask(Kind::Dump).encoded(),
            [8, 1, 18, 13, 8, 3, 56, 1, 0xca, 1, 6, 10, 0, 18, 2, b'/', b'a']
        );
        assert_eq!(noted(true).encoded(), [8, 6, 24, 1]);
        assert_eq!(can(Feature::LazyPages).encoded(), [8, 9, 42, 2, 16, 1]);
    }
}
