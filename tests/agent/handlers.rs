//! Handlers that take their time.

use std::fs;

use crate::live::wait_until;
use crate::{lines_of, serves_rpc, start};

#[test]
fn the_own_farewell_reaches_a_handler_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("left");
    let handler = format!("member-leave=sleep 0.3; cat > {}", file.display());
    let mut agent = start("n1", &["-event-handler", &handler]);
    agent.wait_for("Received event: member-join");
    agent.signal("INT");
    assert_eq!(agent.exit_code(), 0);
    assert_eq!(lines_of(&file), ["n1\t127.0.0.1\t\t"]);
}

#[test]
fn a_handler_that_hangs_holds_up_nothing_but_other_handlers() {
    let dir = tempfile::tempdir().unwrap();
    let release = dir.path().join("release");
    let hang = format!("while [ ! -e {} ]; do sleep 0.1; done", release.display());
    let mut first = start("first", &["-event-handler", &hang]);
    first.wait_for("Received event: member-join");
    let join = first.gossip().to_string();
    let _second = start("second", &["-join", &join]);
    first.wait_for("EventMemberJoin: second");
    first.wait_for("slow, execution exceeding 1s");
    assert!(serves_rpc(first.rpc()));
    // It does not hold up the end either.
    first.signal("INT");
    assert_eq!(first.exit_code(), 0);
    fs::write(release, "").unwrap();
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
