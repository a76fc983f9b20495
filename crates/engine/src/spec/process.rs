//! The process of a container, and that of an exec.

use gantry_api_types::exec::CreateRequest as ExecRequest;
use gantry_errdefs::Error;
use gantry_oci::runtime::{ConsoleSize, LinuxCapabilities, PosixRlimit, Process, User as OciUser};

use super::{Facts, SecurityOptions, caps};
use crate::record;
use crate::user::User;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where `--init` puts its program.
pub(super) const INIT: &str = "/sbin/docker-init";

fn user(user: &User) -> OciUser {
    OciUser {
        uid: user.uid,
        gid: user.gid,
        additional_gids: user.groups.clone(),
        ..OciUser::default()
    }
}

fn capabilities(names: Vec<String>, uid: u32) -> LinuxCapabilities {
    // Only root has them at once; another user may have them through a program's file.
    let effective = if uid == 0 { names.clone() } else { Vec::new() };
    LinuxCapabilities {
        bounding: names,
        permitted: effective.clone(),
        effective,
        inheritable: Vec::new(),
        ambient: Vec::new(),
    }
}

/// What the container's environment begins with; what is given replaces it by name.
fn environment(record: &record::Container, tty: bool, more: &[String]) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={}", record.config.hostname)];
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    for pair in record.config.env.iter().chain(more) {
        let name = pair.split('=').next().unwrap_or_default();
        let same = |other: &String| other.split('=').next() == Some(name);
        match (env.iter().position(same), pair.contains('=')) {
            (Some(at), true) => pair.clone_into(&mut env[at]),
            // A name alone takes the variable away.
            (Some(at), false) => drop(env.remove(at)),
            (None, true) => env.push(pair.clone()),
            (None, false) => {}
        }
    }
    env
}

/// The first process.
pub(super) fn make(
    record: &record::Container,
    facts: &Facts,
    options: &SecurityOptions,
) -> Result<Process, Error> {
    let (config, host) = (&record.config, &record.host);
    let mut args = record.command.clone();
    if host.init == Some(true) {
        args.splice(0..0, [INIT.to_owned(), "--".to_owned()]);
    }
    let limit = |limit: &gantry_api_types::container::Ulimit| PosixRlimit {
        typ: format!("RLIMIT_{}", limit.name.to_uppercase()),
        soft: limit.soft as u64,
        hard: limit.hard as u64,
    };
    let size = host.console_size;
    Ok(Process {
        terminal: config.tty,
        console_size: (config.tty && size != [0, 0]).then(|| ConsoleSize {
            height: size[0],
            width: size[1],
        }),
        user: user(&facts.user),
        args,
        env: environment(record, config.tty, &[]),
        cwd: if config.working_dir.is_empty() {
            "/".to_owned()
        } else {
            config.working_dir.clone()
        },
        capabilities: Some(capabilities(caps::effective(host)?, facts.user.uid)),
        rlimits: host.ulimits.iter().map(limit).collect(),
        no_new_privileges: options.no_new_privileges,
        apparmor_profile: options
            .apparmor
            .clone()
            .filter(|profile| profile != "unconfined")
            .unwrap_or_default(),
        oom_score_adj: Some(i32::try_from(host.oom_score_adj).unwrap_or_default()),
        ..Process::default()
    })
}

/// A further process.
pub(crate) fn exec_process(
    record: &record::Container,
    request: &ExecRequest,
    who: &User,
    size: Option<[u32; 2]>,
) -> Result<Process, Error> {
    let mut host = record.host.clone();
    host.privileged |= request.privileged;
    let options = super::security_options(&record.host.security_opt)?;
    let cwd = [&request.working_dir, &record.config.working_dir]
        .into_iter()
        .find(|dir| !dir.is_empty());
    Ok(Process {
        terminal: request.tty,
        console_size: size
            .filter(|size| request.tty && *size != [0, 0])
            .map(|size| ConsoleSize {
                height: size[0],
                width: size[1],
            }),
        user: user(who),
        args: request.cmd.as_deref().cloned().unwrap_or_default(),
        env: environment(record, request.tty, &request.env),
        cwd: cwd.map_or("/", String::as_str).to_owned(),
        capabilities: Some(capabilities(caps::effective(&host)?, who.uid)),
        no_new_privileges: options.no_new_privileges,
        ..Process::default()
    })
}
