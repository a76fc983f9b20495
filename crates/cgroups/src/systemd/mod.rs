//! Cgroups that systemd makes: a scope for a container, or a slice, asked for over D-Bus. What is asked is worked out in
//! `properties` and `variant`, said in `marshal`'s bytes over a `bus`.

mod bus;
mod marshal;
pub(crate) mod name;
pub(crate) mod properties;
mod variant;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gantry_oci::runtime::LinuxResources;
use gantry_sys::process::Pid;

use crate::error::{Error, Result};
use crate::layout::Version;
use bus::{Bus, BusError};
use marshal::{Call, Incoming, Value};
use properties::Property;

/// How long systemd may take to do what it was asked to.
const JOB: Duration = Duration::from_secs(30);

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const OBJECT: &str = "/org/freedesktop/systemd1";

/// What is kept of a unit, to find it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name, with `.scope` or `.slice`.
    pub name: String,
    /// Whether it is of the user's systemd, not the system's.
    pub user: bool,
}

/// A unit that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) unit: Unit,
    pub(crate) slice: String,
    description: String,
    /// The annotations' properties.
    extra: Vec<Property>,
}

/// Whether this machine was booted with systemd.
pub(crate) fn running() -> bool {
    std::fs::symlink_metadata("/run/systemd/system").is_ok_and(|found| found.is_dir())
}

impl Wanted {
    /// What `SLICE:PREFIX:NAME` and the annotations ask for.
    pub(crate) fn new(
        path: Option<&str>,
        id: &str,
        annotations: &BTreeMap<String, String>,
        user: bool,
    ) -> Result<Self> {
        let name = name::Name::parse(path, id, user).map_err(Error::Invalid)?;
        let mut extra = Vec::new();
        for (key, text) in annotations {
            if let Some(name) = key.strip_prefix("org.systemd.property.") {
                extra.push(annotated(key, name, text).map_err(Error::Invalid)?);
            }
        }
        Ok(Self {
            description: format!("libcontainer container {}", name.container),
            unit: Unit {
                name: name.unit,
                user,
            },
            slice: name.slice,
            extra,
        })
    }

    /// The path of its cgroup from the hierarchies' roots.
    pub(crate) fn cgroup(&self) -> Result<PathBuf> {
        let below = name::expand(&self.slice).map_err(Error::Invalid)?;
        let inner = format!("{}/{}", below.trim_end_matches('/'), self.unit.name);
        if !self.unit.user {
            return Ok(inner.into());
        }
        // Below whatever the user's systemd has been given.
        let mut bus = connect(true)?;
        let own = match property(&mut bus, "ControlGroup") {
            Ok(Value::Text(text)) => text,
            Ok(_) | Err(BusError::Io(_)) => String::new(),
            Err(error) => {
                return Err(failed(
                    "unable to find the cgroup of the user's systemd".to_owned(),
                )(error));
            }
        };
        Ok(format!("{}{inner}", own.trim_end_matches('/')).into())
    }

    /// Makes it, with the process in it. `started` says afterwards whether systemd has begun, however that ended.
    pub(crate) fn start(
        &self,
        pid: Pid,
        resources: &LinuxResources,
        cgroup: Version,
        started: &AtomicBool,
    ) -> Result<()> {
        let mut bus = connect(self.unit.user)?;
        let version = version(&mut bus, resources);
        let properties = self
            .properties(pid, resources, cgroup, version)
            .map_err(Error::Invalid)?;
        listen(&mut bus, &self.unit.name)?;
        let told = || {
            let shown: Vec<String> = properties
                .iter()
                .map(|(name, value)| format!("{name}={value:?}"))
                .collect();
            format!(
                "unable to start unit {:?} (properties [{}])",
                self.unit.name,
                shown.join(" ")
            )
        };
        let body = [
            Value::text(self.unit.name.as_str()),
            Value::text("replace"),
            array(&properties),
            Value::Array("(sa(sv))".to_owned(), Vec::new()),
        ];
        let mut made = manager(&mut bus, "StartTransientUnit", &body);
        if made
            .as_ref()
            .is_err_and(|error| error.is("org.freedesktop.systemd1.UnitExists"))
        {
            // One that failed stays until somebody has taken note of it.
            reset(&mut bus, &self.unit.name);
            made = manager(&mut bus, "StartTransientUnit", &body);
        }
        // Without an answer it may have.
        let refused = matches!(made, Err(BusError::Refused { .. }));
        started.store(!refused, Ordering::Relaxed);
        let job = made.map_err(|error| failed(told())(error))?;
        let result = finished(&mut bus, &job, JOB);
        let why = match result {
            Ok(result) if result == "done" => return Ok(()),
            Ok(result) => format!("error creating systemd unit `{}`: got `{result}`", self.unit.name),
            Err(BusError::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
                format!("Timeout waiting for systemd to create {}", self.unit.name)
            }
            Err(error) => return Err(failed(told())(error)),
        };
        reset(&mut bus, &self.unit.name);
        Err(Error::Invalid(why))
    }

    fn properties(
        &self,
        pid: Pid,
        resources: &LinuxResources,
        cgroup: Version,
        version: u32,
    ) -> Result<Vec<Property>, String> {
        let yes = |name: &str| (name.to_owned(), Value::Bool(true));
        let text = |name: &str, text: &str| (name.to_owned(), Value::text(text));
        let mut all = vec![text("Description", &self.description)];
        match self.unit.name.ends_with(".slice") {
            // A slice's parent is in its name.
            true => all.push((
                "Wants".to_owned(),
                Value::Array("s".to_owned(), vec![Value::text(self.slice.as_str())]),
            )),
            false => {
                all.push(text("Slice", &self.slice));
                all.push(yes("Delegate"));
                let pids = vec![Value::Uint32(pid.unsigned_abs())];
                all.push(("PIDs".to_owned(), Value::Array("u".to_owned(), pids)));
            }
        }
        // The kernel has trouble with controllers that come to a cgroup which is already in use.
        let io = match cgroup {
            Version::V1 => "BlockIOAccounting",
            Version::V2 => "IOAccounting",
        };
        all.extend(["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"].map(yes));
        all.push(("DefaultDependencies".to_owned(), Value::Bool(false)));
        all.extend(self.extra.iter().cloned());
        all.extend(properties::at_birth(resources, version)?);
        all.extend(properties::devices(&resources.devices)?);
        all.extend(properties::limits(resources, cgroup, version)?);
        Ok(all)
    }
}

impl Unit {
    /// Changes its limits.
    pub(crate) fn set(&self, resources: &LinuxResources, cgroup: Version) -> Result<()> {
        let mut bus = connect(self.user)?;
        let version = version(&mut bus, resources);
        let properties = properties::limits(resources, cgroup, version).map_err(Error::Invalid)?;
        if properties.is_empty() {
            return Ok(());
        }
        let body = [
            Value::text(self.name.as_str()),
            Value::Bool(true),
            array(&properties),
        ];
        let done = manager(&mut bus, "SetUnitProperties", &body);
        done.map(drop)
            .map_err(failed("unable to set unit properties".to_owned()))
    }

    /// What of these limits systemd is not told.
    pub(crate) fn ignored(&self, resources: &LinuxResources) -> Option<&'static str> {
        properties::ignored(resources, u32::MAX)?;
        let version = version(&mut connect(self.user).ok()?, resources);
        properties::ignored(resources, version)
    }

    /// Puts a process into its cgroup, or one below that.
    pub(crate) fn attach(&self, below: &str, pid: Pid) -> Result<()> {
        let mut bus = connect(self.user)?;
        let body = [
            Value::text(self.name.as_str()),
            Value::text(format!("/{below}")),
            Value::Array("u".to_owned(), vec![Value::Uint32(pid.unsigned_abs())]),
        ];
        let done = manager(&mut bus, "AttachProcessesToUnit", &body);
        done.map(drop).map_err(failed(format!(
            "unable to add process {pid} to unit {:?}",
            self.name
        )))
    }

    /// Ends it. That it is gone already is no error.
    pub(crate) fn stop(&self) -> Result<()> {
        let mut bus = connect(self.user)?;
        listen(&mut bus, &self.name)?;
        let body = [Value::text(self.name.as_str()), Value::text("replace")];
        if let Ok(job) = manager(&mut bus, "StopUnit", &body) {
            match finished(&mut bus, &job, JOB) {
                Err(BusError::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
                    return Err(Error::Invalid(format!(
                        "Timed out while waiting for systemd to remove {}",
                        self.name
                    )));
                }
                // However it ended: the folders are removed next.
                _ => {}
            }
        }
        reset(&mut bus, &self.name);
        Ok(())
    }
}

fn connect(user: bool) -> Result<Bus> {
    let bus = if user { Bus::user() } else { Bus::system() };
    bus.map_err(Error::Bus)
}

fn failed(what: String) -> impl FnOnce(BusError) -> Error {
    |error| Error::Unit {
        what,
        source: Box::new(error),
    }
}

fn manager(bus: &mut Bus, member: &str, body: &[Value]) -> Result<Vec<Value>, BusError> {
    let what = Call {
        destination: SYSTEMD,
        path: OBJECT,
        interface: MANAGER,
        member,
    };
    bus.call(&what, body)
}

/// A property of systemd itself.
fn property(bus: &mut Bus, name: &str) -> Result<Value, BusError> {
    let what = Call {
        destination: SYSTEMD,
        path: OBJECT,
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
    };
    let answer = bus.call(&what, &[Value::text(MANAGER), Value::text(name)])?;
    match answer.into_iter().next() {
        Some(Value::Variant(value)) => Ok(*value),
        _ => Err(BusError::Io(std::io::ErrorKind::InvalidData.into())),
    }
}

/// systemd's version, if it matters for these limits: new enough for everything if it does not tell.
fn version(bus: &mut Bus, resources: &LinuxResources) -> u32 {
    if !properties::depend_on_version(resources) {
        return u32::MAX;
    }
    match property(bus, "Version") {
        Ok(Value::Text(text)) => name::version(&text).unwrap_or(u32::MAX),
        _ => u32::MAX,
    }
}

/// Asks to be told when jobs of the unit are done. systemd itself, without a bus, tells of all.
fn listen(bus: &mut Bus, unit: &str) -> Result<()> {
    let rule = format!(
        "type='signal',sender='{SYSTEMD}',path='{OBJECT}',interface='{MANAGER}',member='JobRemoved',arg2='{}'",
        unit.replace('\'', "")
    );
    match bus.bus("AddMatch", &[Value::text(rule)]) {
        Err(BusError::Io(error)) => Err(Error::Bus(error)),
        _ => Ok(()),
    }
}

/// Waits until the job that a call has begun is done, and says how it went.
fn finished(bus: &mut Bus, begun: &[Value], limit: Duration) -> Result<String, BusError> {
    bus.signal(limit, |signal: &Incoming| match &signal.body[..] {
        [_, job, _, Value::Text(result)] if signal.member == "JobRemoved" && Some(job) == begun.first() => {
            Some(result.clone())
        }
        _ => None,
    })
}

fn reset(bus: &mut Bus, unit: &str) {
    // Nearly always there is nothing to reset, which is an error.
    let _ = manager(bus, "ResetFailedUnit", &[Value::text(unit)]);
}

fn array(properties: &[Property]) -> Value {
    let field = |(name, value): &Property| {
        Value::Struct(vec![
            Value::text(name.as_str()),
            Value::Variant(Box::new(value.clone())),
        ])
    };
    Value::Array("(sv)".to_owned(), properties.iter().map(field).collect())
}

/// A property from an annotation. Those in seconds are microseconds to the bus.
fn annotated(key: &str, name: &str, text: &str) -> Result<Property, String> {
    let incorrect = |why: &str| format!("annotation {key} name incorrect: {why}");
    if name.len() < 3 {
        return Err(incorrect("too short"));
    }
    if !name.bytes().all(|letter| letter.is_ascii_alphabetic()) {
        return Err(incorrect("contains non-alphabetic character"));
    }
    let wrong = |error: String| format!("annotation {key}={text} value parse error: {error}");
    let value = variant::parse(text).map_err(wrong)?;
    let stem = name
        .strip_suffix("Sec")
        .filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase()));
    let Some(stem) = stem else {
        return Ok((name.to_owned(), value));
    };
    const MILLION: u64 = 1_000_000;
    let whole = |seconds: i64| (seconds as u64).wrapping_mul(MILLION);
    let micro = match value {
        Value::Byte(seconds) => whole(seconds.into()),
        Value::Int16(seconds) => whole(seconds.into()),
        Value::Uint16(seconds) => whole(seconds.into()),
        Value::Int32(seconds) => whole(seconds.into()),
        Value::Uint32(seconds) => whole(seconds.into()),
        Value::Int64(seconds) => whole(seconds),
        Value::Uint64(seconds) => seconds.wrapping_mul(MILLION),
        Value::Double(seconds) => (seconds * MILLION as f64) as u64,
        _ => return Err(wrong("not a number".to_owned())),
    };
    Ok((format!("{stem}USec"), Value::Uint64(micro)))
}

#[cfg(test)]
mod tests;
