//! The OpenWrt service, run with stubs of procd's functions that record how they are called.

use std::process::Command;

use crate::live::arg;

/// Definitions that `rc.common` provides to a service's functions.
const STUBS: &str = r#"
for name in procd_open_instance procd_set_param procd_close_instance \
    procd_send_signal mkdir chmod chown; do
    eval "$name() { echo $name \"\$@\"; }"
done
id() { return 1; }
initscript=/etc/init.d/cottar
"#;

/// Returns the calls that a function of the service makes.
fn calls(function: &str) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/openwrt/cottar.init");
    let text = format!("{STUBS}\n. {}\n{function}", arg(script.as_ref()));
    let output = Command::new("sh").args(["-euc", &text]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn procd_leaves_the_restarts_to_keep() {
    let calls = calls("start_service");
    let has = |call: &str| calls.iter().any(|line| line.contains(call));
    assert!(
        has("procd_set_param command @LIBEXECDIR@/cottar/keep 5 @BINDIR@/cottar agent "),
        "{calls:?}"
    );
    // procd would also restart an agent that has left.
    assert!(!has("respawn"), "{calls:?}");
    assert!(has("procd_set_param term_timeout 30"), "{calls:?}");
    assert_eq!(calls.last().unwrap(), "procd_close_instance");
}
