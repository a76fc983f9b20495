//! The limits of a container as its cgroup has them, whichever version of cgroups the machine has.

use std::fs;
use std::path::Path;

use gantry_testkit::kernel::cgroups;

/// Bytes of memory, share of a processor in thousandths, and number of processes that may be used below the cgroup `name`, as
/// text: the first file of each that is found in a container's folder (one with `id` in its name).
pub fn limits(name: &str, id: &str) -> (String, String, String) {
    let folders = cgroups(name);
    let folders = folders.iter().filter(|dir| {
        dir.file_name()
            .is_some_and(|last| last.to_string_lossy().contains(id))
    });
    let folders: Vec<_> = folders.collect();
    let value = |file: &str| {
        let found = folders
            .iter()
            .find_map(|dir| fs::read_to_string(dir.join(file)).ok());
        let text = found.unwrap_or_else(|| panic!("no {file} in {folders:?}"));
        text.trim().to_owned()
    };
    let thousandths = |quota: &str, period: &str| match (quota.parse::<i64>(), period.parse::<i64>()) {
        (Ok(quota), Ok(period)) if quota > 0 => (quota * 1000 / period).to_string(),
        _ => "max".to_owned(),
    };
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let cpu = value("cpu.max");
        let (quota, period) = cpu.split_once(' ').expect("two numbers");
        (value("memory.max"), thousandths(quota, period), value("pids.max"))
    } else {
        let cpu = thousandths(&value("cpu.cfs_quota_us"), &value("cpu.cfs_period_us"));
        (value("memory.limit_in_bytes"), cpu, value("pids.max"))
    }
}
