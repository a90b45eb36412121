//! Slow handlers, and output that is not UTF-8.

use std::fs;
use std::process::Command;

use crate::live::{COTTAR, Hold, Kind, Spec, wait_until};
use crate::{lines_of, serves_rpc, start};

#[test]
fn the_own_leave_reaches_a_handler_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("left");
    let handler = format!("member-leave=sleep 0.3; cat > {}", file.display());
    let agent = start("n1", &["-event-handler", &handler]);
    agent.wait_for("Received event: member-join");
    agent.signal(libc::SIGINT);
    assert_eq!(agent.exit_code(), 0);
    assert_eq!(lines_of(&file), ["n1\t127.0.0.1\t\t"]);
}

#[test]
fn a_hanging_handler_delays_only_other_handlers() {
    let hold = Hold::new();
    let first = start("first", &["-event-handler", &hold.script()]);
    first.wait_for("Received event: member-join");
    let join = first.gossip.to_string();
    let _second = start("second", &["-join", &join]);
    first.wait_for("EventMemberJoin: second");
    first.wait_for("slow, execution exceeding 1s");
    assert!(serves_rpc(first.rpc));
    // The handler does not delay the end of the agent either.
    first.signal(libc::SIGINT);
    assert_eq!(first.exit_code(), 0);
}

#[test]
fn a_handler_past_its_time_is_ended_and_the_next_one_runs() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ran");
    let next = format!("echo $SERF_EVENT > {}", file.display());
    let handlers = ["-event-handler", "sleep 600", "-event-handler", &next];
    let agent = start("n1", &[&handlers[..], &["-handler-timeout=3s"]].concat());
    agent.wait_for("[ERR] agent: Error invoking script 'sleep 600': time limit of 3s exceeded");
    wait_until("the next handler", || lines_of(&file) == ["member-join"]);
}

#[test]
fn paths_scripts_names_and_tags_are_bytes() {
    let dir = tempfile::tempdir().unwrap();
    // Latin-1, which is not valid UTF-8.
    let line = r#"
        e=$(printf '\351'); mkdir "conf$e"; echo '{"tags": {"from": "file"}}' >"conf$e/a.json"
        printf 'printf "%%s %%s" "$SERF_SELF_NAME" "$SERF_TAG_T" >ran' >"caf$e.sh"
        exec "$0" "$@" -node="n$e" -tag="t=v$e" -snapshot="snap$e" -config-dir="conf$e" \
            -event-handler="member-join=sh ./caf$e.sh"
    "#;
    let spec = Spec::bare(Kind::Cottar).current_dir(dir.path());
    let agent = spec.launcher(&["sh", "-c", line]).start();
    let ran = dir.path().join("ran");
    wait_until("the handler", || {
        fs::read(&ran).is_ok_and(|text| text == b"n\xe9 v\xe9")
    });
    let snapshot = fs::read_dir(dir.path()).unwrap().flatten();
    let mut snapshot = snapshot.map(|entry| entry.file_name().into_encoded_bytes());
    assert!(snapshot.any(|name| name == b"snap\xe9"));
    // The command line requests acks as well.
    let line = r#"
        e=$(printf '\351'); "$0" members -rpc-addr="$1" -name="n$e" -tag="t=v$e" -tag=from=file
    "#;
    let members = Command::new("sh")
        .args(["-c", line, COTTAR, &agent.rpc.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&members.stdout);
    assert!(text.contains("alive  from=file,t=v\\xe9"), "{members:?}");
}
