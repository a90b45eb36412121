//! The system's log, for which the test stands in, in a separate mount namespace.

use std::os::unix::net::UnixDatagram;

use crate::live::{Kind, PATIENCE, Spec, arg, lacks, lacks_namespaces, refused};

#[test]
fn lines_reach_the_systems_log() {
    let scenario = "lines reach the system's log";
    let is_free = !std::path::Path::new("/dev/log").exists();
    if lacks_namespaces(scenario, &["--mount"])
        || lacks(scenario, "machine without /dev/log", is_free)
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let log = UnixDatagram::bind(run.join("log")).unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    // The agent alone sees this folder as /var/run.
    let script = "mount --bind \"$1\" /var/run/ && shift && exec \"$@\"";
    let agent = Spec::bare(Kind::Cottar)
        .name("logger")
        .args(["-syslog", "-log-level=warn"])
        .launcher(&["unshare", "--mount", "sh", "-c", script, "sh", arg(&run)])
        .start();
    assert_eq!(agent.end(libc::SIGTERM), 1);
    let mut bytes = [0; 9000];
    let len = log.recv(&mut bytes).unwrap();
    let frame = String::from_utf8_lossy(&bytes[..len]).into_owned();
    // Facility LOCAL0, severity warning; lines below the level are not sent.
    assert!(frame.starts_with("<132>"), "{frame}");
    assert!(frame.contains(" serf["), "{frame}");
    assert!(
        frame.ends_with("]: serf: Shutdown without a Leave\n"),
        "{frame}"
    );
}

#[test]
fn a_log_that_is_not_there_yet_is_a_warning() {
    if lacks_namespaces("a log that is not there yet", &["--mount"]) {
        return;
    }
    // Hides the logs of this machine from the agent.
    let script = "mount -t tmpfs none /dev && mount -t tmpfs none /var/run/ && exec \"$@\"";
    let agent = Spec::bare(Kind::Cottar)
        .args(["-syslog"])
        .launcher(&["unshare", "--mount", "sh", "-c", script, "sh"])
        .start();
    agent.wait_for("[WARN] agent: No syslog at /dev/log, /var/run/syslog, /var/run/log");
    assert_eq!(agent.end(libc::SIGINT), 0);
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
    let why = "==> Syslog setup failed: invalid syslog facility: NOPE\n";
    assert_eq!(refused(&["-config-file", arg(&file)]), (1, why.to_owned()));
}
