//! Checks that this machine has the resources for so many agents, and raises limits where possible.

use std::fs;

/// Descriptors of this program per agent: its log, two RPC connections, and one while it starts.
const DESCRIPTORS_EACH: u64 = 4;
const DESCRIPTORS_BESIDE: u64 = 100;
/// Descriptors of an agent: it has streams with a few others at a time, but the first ones have them with all
/// that join.
const DESCRIPTORS_OF_AN_AGENT: u64 = 1_024;
const PROCESSES_BESIDE: u64 = 100;
/// Memory of an agent: a fixed amount, and an amount for each member that it knows.
const KIB_EACH: u64 = 700;
const BYTES_A_MEMBER: u64 = 800;

/// Checks the limits, and raises those of this program, which agents inherit.
///
/// # Errors
/// Returns which limit is too low.
pub fn make_room(agents: usize) -> Result<(), String> {
    let agents = agents as u64;
    let descriptors = agents * DESCRIPTORS_EACH + DESCRIPTORS_BESIDE;
    raise(
        libc::RLIMIT_NOFILE,
        descriptors.max(DESCRIPTORS_OF_AN_AGENT),
        "open files (ulimit -n)",
    )?;
    let processes = agents + PROCESSES_BESIDE;
    raise(
        libc::RLIMIT_NPROC,
        processes,
        "processes of a user (ulimit -u)",
    )?;
    for (file, name) in [
        ("/proc/sys/kernel/threads-max", "kernel.threads-max"),
        ("/proc/sys/kernel/pid_max", "kernel.pid_max"),
    ] {
        let limit = fs::read_to_string(file).ok();
        let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
        too_low(name, limit, processes)?;
    }
    too_low(
        "pids.max of the control group",
        group_processes(),
        processes,
    )?;
    let memory_kib = agents * KIB_EACH + agents * agents * BYTES_A_MEMBER / 1024;
    too_low("memory that is free, in KiB,", free_kib(), memory_kib)
}

fn too_low(name: &str, limit: Option<u64>, wanted: u64) -> Result<(), String> {
    match limit {
        Some(limit) if limit < wanted => Err(format!(
            "{name} is {limit}, and so many agents need {wanted}"
        )),
        _ => Ok(()),
    }
}

fn raise(resource: libc::__rlimit_resource_t, wanted: u64, name: &str) -> Result<(), String> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a plain system call that fills in the value.
    if unsafe { libc::getrlimit(resource, &mut limit) } != 0 {
        return Err(format!("{name}: {}", std::io::Error::last_os_error()));
    }
    if limit.rlim_cur >= wanted {
        return Ok(());
    }
    let (soft, hard) = (limit.rlim_cur, limit.rlim_max);
    limit.rlim_cur = wanted;
    limit.rlim_max = hard.max(wanted);
    // SAFETY: a plain system call that reads the value.
    if unsafe { libc::setrlimit(resource, &limit) } != 0 {
        let why = std::io::Error::last_os_error();
        return Err(format!(
            "the limit of {name} is {soft} (at most {hard}), and so many agents need {wanted}: {why}"
        ));
    }
    Ok(())
}

/// Returns the limit of this program's control group, version 1 or 2.
fn group_processes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let files = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        match controllers {
            "" => Some(format!("/sys/fs/cgroup{path}/pids.max")),
            "pids" => Some(format!("/sys/fs/cgroup/pids{path}/pids.max")),
            _ => None,
        }
    });
    let limits = files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.min()
}

fn free_kib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
