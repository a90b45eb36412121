//! The system's log, played by the test in a mount namespace of its own.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use super::harness::{Agent, COTTAR, PATIENCE, is_missing, is_root, program};

#[test]
fn lines_reach_the_systems_log() {
    let here = is_root() && program("unshare").is_some();
    let taken = std::path::Path::new("/dev/log").exists();
    if is_missing("lines_reach_the_systems_log", "root with unshare", here)
        || is_missing(
            "lines_reach_the_systems_log",
            "machine without /dev/log",
            !taken,
        )
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let log = UnixDatagram::bind(run.join("log")).unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    // /var/run is this folder for the agent alone.
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$1\" /var/run/ && shift && exec \"$@\"")
        .args(["sh".as_ref(), run.as_os_str()])
        .args([
            COTTAR,
            "agent",
            "-bind=127.0.0.1:0",
            "-rpc-addr=127.0.0.1:0",
        ])
        .args(["-syslog", "-node=logger", "-log-level=warn"]);
    let mut agent = Agent::start(command, folder.path(), "logger");
    agent.await_text("Serf agent running!");
    agent.signal(libc::SIGTERM);
    assert_eq!(agent.await_end(), Some(1));
    let mut bytes = [0; 9000];
    let len = log.recv(&mut bytes).unwrap();
    let frame = String::from_utf8_lossy(&bytes[..len]).into_owned();
    // Facility LOCAL0, severity warning; lines below the level do not come.
    assert!(frame.starts_with("<132>"), "{frame}");
    assert!(frame.contains(" serf["), "{frame}");
    assert!(
        frame.ends_with("]: serf: Shutdown without a Leave\n"),
        "{frame}"
    );
}

#[test]
fn a_log_that_is_not_there_yet_is_a_warning() {
    let test = "a_log_that_is_not_there_yet_is_a_warning";
    let here = is_root() && program("unshare").is_some();
    if is_missing(test, "root with unshare", here) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Whatever listens on this machine, the agent does not see it.
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg("mount -t tmpfs none /dev && mount -t tmpfs none /var/run/ && exec \"$@\"")
        .args(["sh", COTTAR, "agent"])
        .args(["-bind=127.0.0.1:0", "-rpc-addr=127.0.0.1:0", "-syslog"]);
    let mut agent = Agent::start(command, folder.path(), "early");
    agent.await_text("[WARN] agent: No syslog at /dev/log, /var/run/syslog, /var/run/log");
    agent.await_text("Serf agent running!");
    agent.signal(libc::SIGINT);
    assert_eq!(agent.await_end(), Some(0));
}

#[test]
fn a_wrong_facility_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.json");
    std::fs::write(
        &file,
        r#"{"enable_syslog": true, "syslog_facility": "NOPE"}"#,
    )
    .unwrap();
    let mut command = Command::new(COTTAR);
    command
        .args(["agent", "-bind=127.0.0.1:0", "-config-file"])
        .arg(file);
    let mut agent = Agent::start(command, folder.path(), "refused");
    assert_eq!(agent.await_end(), Some(1));
    assert_eq!(
        agent.stdout(),
        "==> Syslog setup failed: invalid syslog facility: NOPE\n"
    );
}
