//! What `--help` says of a command. Knows no command's code.

/// A command: its name, what it does, its arguments, its flags.
pub(crate) type Command = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// Flags that making and running have in common.
const CREATE: &[&str] = &[
    "--bundle, -b DIR         the bundle's folder (default: the working directory)",
    "--console-socket PATH    a socket that receives the terminal's master",
    "--pidfd-socket PATH      a socket that receives a pidfd of the process",
    "--pid-file FILE          where the process id is written",
    "--no-pivot               do not use pivot_root",
    "--no-new-keyring         keep the caller's session keyring",
    "--preserve-fds N         pass N further descriptors",
];

/// Those of `run` alone.
const RUN: &[&str] = &[
    "--detach, -d             return when the process runs",
    "--keep                   do not delete the container when it ends",
    "--no-subreaper           do not adopt the container's orphans",
];

const CHECKPOINT: &[&str] = &[
    "--image-path DIR         where the images are written",
    "--work-path DIR          where logs are written",
    "--parent-path DIR        images of an earlier pre-dump",
    "--leave-running          let the process go on",
    "--tcp-established        allow open TCP connections",
    "--tcp-skip-in-flight     skip TCP connections that are being made",
    "--link-remap             allow files that have no name any more",
    "--ext-unix-sk            allow sockets to the outside",
    "--shell-job              allow a terminal from the outside",
    "--lazy-pages             send memory when it is asked for",
    "--status-fd N            a descriptor that is told when the server is ready",
    "--page-server ADDR:PORT  where memory is sent",
    "--file-locks             allow file locks",
    "--pre-dump               write memory only",
    "--manage-cgroups-mode M  soft, full, strict or ignore",
    "--empty-ns TYPE          make this namespace, without what is in it",
    "--auto-dedup             drop memory that was written before",
];

const RESTORE: &[&str] = &[
    "--image-path DIR         where the images are",
    "--lsm-profile T:NAME     a profile in place of the one that was dumped",
    "--lsm-mount-context C    a context in place of the one that was dumped",
];

/// All commands.
pub(crate) const COMMANDS: &[Command] = &[
    (
        "checkpoint",
        "checkpoint a running container",
        "<container-id>",
        CHECKPOINT,
    ),
    ("create", "create a container", "<container-id>", CREATE),
    (
        "delete",
        "delete any resources held by the container often used with detached container",
        "<container-id>",
        &["--force, -f              kill it first, if it runs"],
    ),
    (
        "events",
        "display container events such as OOM notifications, cpu, memory, and IO usage statistics",
        "<container-id>",
        &[
            "--interval DURATION      how often figures are shown (default: 5s)",
            "--stats                  show the figures once",
        ],
    ),
    (
        "exec",
        "execute new process inside the container",
        "<container-id> <command> [command options]  || -p process.json <container-id>",
        &[
            "--console-socket PATH    a socket that receives the terminal's master",
            "--pidfd-socket PATH      a socket that receives a pidfd of the process",
            "--cwd DIR                the working directory",
            "--env, -e NAME=VALUE     a variable",
            "--tty, -t                give it a terminal",
            "--user, -u UID[:GID]     whose it is",
            "--additional-gids, -g N  a further group",
            "--process, -p FILE       a description of the process",
            "--detach, -d             return when the process runs",
            "--pid-file FILE          where the process id is written",
            "--process-label LABEL    its SELinux label",
            "--apparmor PROFILE       its AppArmor profile",
            "--no-new-privs           no further privileges",
            "--cap, -c CAPABILITY     a further capability",
            "--preserve-fds N         pass N further descriptors",
            "--cgroup PATH            a cgroup below that of the container, of version 1 CONTROLLER[,…]:PATH",
            "--ignore-paused          also in a paused container",
        ],
    ),
    ("features", "show the enabled features", "", &[]),
    (
        "kill",
        "kill sends the specified signal (default: SIGTERM) to the container's init process",
        "<container-id> [signal]",
        &[],
    ),
    (
        "list",
        "lists containers started by runc with the given root",
        "",
        &[
            "--format, -f FORMAT      table or json (default: table)",
            "--quiet, -q              ids only",
        ],
    ),
    (
        "pause",
        "pause suspends all processes inside the container",
        "<container-id>",
        &[],
    ),
    (
        "ps",
        "ps displays the processes running inside a container",
        "<container-id> [ps options]",
        &["--format, -f FORMAT      table or json (default: table)"],
    ),
    (
        "restore",
        "restore a container from a previous checkpoint",
        "<container-id>",
        RESTORE,
    ),
    (
        "resume",
        "resumes all processes that have been previously paused",
        "<container-id>",
        &[],
    ),
    ("run", "create and run a container", "<container-id>", RUN),
    (
        "spec",
        "create a new specification file",
        "",
        &[
            "--bundle, -b DIR         where it is written",
            "--rootless               for an ordinary user",
        ],
    ),
    (
        "start",
        "executes the user defined process in a created container",
        "<container-id>",
        &[],
    ),
    ("state", "output the state of a container", "<container-id>", &[]),
    (
        "update",
        "update container resource constraints",
        "<container-id>",
        &[
            "--resources, -r FILE     limits as JSON; - is standard input",
            "--blkio-weight N         weight of its block I/O",
            "--cpu-period N           period of the quota in microseconds",
            "--cpu-quota N            time within a period in microseconds",
            "--cpu-burst N            time that may be saved up in microseconds",
            "--cpu-share N            its share of processor time",
            "--cpu-rt-period N        period of real-time processes",
            "--cpu-rt-runtime N       time of real-time processes within a period",
            "--cpu-idle N             1: only what nobody else needs",
            "--cpuset-cpus LIST       processors",
            "--cpuset-mems LIST       memory nodes",
            "--memory SIZE            memory",
            "--memory-reservation SIZE  memory that it keeps",
            "--memory-swap SIZE       memory and swap together",
            "--pids-limit N           processes; -1 is no limit",
            "--l3-cache-schema TEXT   Intel's cache allocation",
            "--mem-bw-schema TEXT     Intel's memory bandwidth",
        ],
    ),
];

/// The name that we were called by.
pub(crate) fn called() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&name).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// What is said without a command.
pub(crate) fn overview() {
    let name = called();
    println!("NAME:\n   {name} - Open Container Initiative runtime\n");
    println!("USAGE:\n   {name} [global options] command [command options] [arguments...]\n\nCOMMANDS:");
    for (name, what, ..) in COMMANDS {
        println!("   {name:<10} {what}");
    }
    println!("\nGLOBAL OPTIONS:");
    for line in [
        "--debug                  tell what is done",
        "--log FILE               where warnings and failures are written",
        "--log-format FORMAT      text or json (default: text)",
        "--root DIR               where containers' records are",
        "--systemd-cgroup         let systemd manage cgroups, whose paths are SLICE:PREFIX:NAME",
        "--rootless VALUE         true, false or auto (default: auto)",
        "--help, -h               show this",
        "--version, -v            show the version",
    ] {
        println!("   {line}");
    }
}

/// What is said of one command; false if there is none of that name.
pub(crate) fn of(command: &str) -> bool {
    let Some((_, what, arguments, flags)) = COMMANDS.iter().find(|(name, ..)| *name == command) else {
        return false;
    };
    let name = called();
    println!("NAME:\n   {name} {command} - {what}\n");
    println!("USAGE:\n   {name} {command} [command options] {arguments}\n\nOPTIONS:");
    let shared: &[&str] = match command {
        "run" | "restore" => CREATE,
        _ => &[],
    };
    for line in shared.iter().chain(*flags) {
        println!("   {line}");
    }
    println!("   --help, -h               show this");
    true
}
