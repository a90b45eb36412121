//! Tests that need a network and mounts of their own: the test's program runs such a test once more in
//! new namespaces, so that its threads and its agents share them.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Set for a test that runs in namespaces of its own.
const INSIDE: &str = "COTTAR_TEST_INSIDE";

/// Runs `story` with nothing but a loopback interface around it. `test` is the path of the test that
/// calls this.
pub fn own_network(test: &str, story: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return story();
    }
    if !may_unshare() {
        return;
    }
    let program = std::env::current_exe().expect("the test's program");
    let script = "ip link set lo up && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "--net", "sh", "-c", script, "sh"])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    print!("{stdout}");
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{test} in a network of its own: {stderr}"
    );
}

/// Whether mount and network namespaces can be made here.
pub fn may_unshare() -> bool {
    let tried = Command::new("unshare")
        .args(["--mount", "--net", "true"])
        .output();
    let may = tried.is_ok_and(|output| output.status.success());
    if !may {
        let required = std::env::var("COTTAR_INTEROP").is_ok_and(|value| value == "require");
        assert!(!required, "COTTAR_INTEROP=require, but no namespaces");
        let _ = writeln!(std::io::stderr(), "SKIPPED: no right to make namespaces");
    }
    may
}

/// Runs a command of the system, such as `ip` or `mount`.
#[track_caller]
pub fn system(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().expect("sh");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {stderr}");
}

/// Puts a text in place of a file of the system, for as long as the namespace lives.
pub fn replace_file(folder: &Path, target: &str, text: &str) {
    let file = folder.join(target.replace('/', "_"));
    std::fs::write(&file, text).expect("a file");
    system(&format!("mount --bind '{}' {target}", file.display()));
}
