//! The service for OpenWrt, against stubs of procd's functions that write down how they are called.

use std::process::Command;

use crate::live::arg;

/// What `rc.common` has ready before it calls the functions of a service.
const STUBS: &str = r#"
for name in procd_open_instance procd_set_param procd_close_instance procd_add_raw_trigger \
    procd_send_signal mkdir chmod chown; do
    eval "$name() { echo $name \"\$@\"; }"
done
id() { return 1; }
initscript=/etc/init.d/cottar
"#;

/// What a function of the service calls.
fn calls(function: &str) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/openwrt/cottar.init");
    let text = format!("{STUBS}\n. {}\n{function}", arg(script.as_ref()));
    let output = Command::new("sh").args(["-euc", &text]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn procd_never_gives_up() {
    let calls = calls("start_service");
    let has = |call: &str| calls.iter().any(|line| line == call);
    // The last number is how many quick ends in a row are too many; 0: none are.
    assert!(has("procd_set_param respawn 3600 5 0"), "{calls:?}");
    assert!(has("procd_set_param term_timeout 30"), "{calls:?}");
    assert_eq!(calls.last().unwrap(), "procd_close_instance");
}

#[test]
fn procd_starts_it_when_an_interface_comes_up() {
    assert_eq!(
        calls("service_triggers"),
        ["procd_add_raw_trigger interface.*.up 1000 /etc/init.d/cottar start"]
    );
}
