//! The program runs in a root directory that contains only a shell and the program. `dist/anywhere.sh` checks
//! this for the static binary; this test runs it for the binary under test, together with its libraries.

use crate::live::{COTTAR, lacks};
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns whether this user can create a root directory of its own.
fn may_change_root() -> bool {
    // SAFETY: takes no arguments and returns an integer.
    if unsafe { libc::geteuid() } == 0 {
        return true;
    }
    Command::new("unshare")
        .args(["--map-root-user", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn an_empty_root_with_a_shell_is_enough() {
    if lacks(
        "an empty root",
        "right to change the root",
        may_change_root(),
    ) {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/anywhere.sh");
    let output = Command::new("sh").arg(script).arg(COTTAR).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.ends_with("anywhere: it works\n"), "{text}");
}
