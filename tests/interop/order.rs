//! The order in which handlers run for user events.

use cottar::cli::client::Client;
use cottar::rpc::Request;

use crate::events::recorded;
use crate::live::{Agent, Kind, Lab, Member, Recorder, await_members, scenario};

fn numbered(n: usize) -> String {
    format!("e{n:02}")
}

/// Fires events `e01` to `e(count)` on one connection.
fn burst(node: &Agent, count: usize) {
    let mut client = Client::connect(&node.rpc.to_string(), "").expect("a connection");
    for n in 1..=count {
        let event = Request::Event {
            name: numbered(n).into_bytes(),
            payload: None,
            coalesce: false,
        };
        client.execute(&event).expect("an event");
    }
}

/// Waits for events `e01` to `e(count)` and checks the order of their runs.
#[track_caller]
fn runs_in_order(recorder: &Recorder, count: usize) {
    let runs = recorder.await_records(count, 15.0, |record| record.event() == "user");
    let names: Vec<&str> = runs.iter().map(|run| run.var("SERF_USER_EVENT")).collect();
    let due: Vec<String> = (1..=count).map(numbered).collect();
    assert_eq!(names, due);
}

#[test]
fn a_burst_by_separate_commands_keeps_its_order() {
    scenario("order of commands", &["SC", "CC", "SSC"], |lab| {
        let (nodes, recorders) = recorded(lab);
        for n in 1..=5 {
            nodes[0].event(&numbered(n), "");
        }
        runs_in_order(&recorders[nodes.len() - 1], 5);
    });
}

#[test]
fn a_burst_over_one_connection_keeps_its_order() {
    scenario("order of a burst", &["CC", "SC", "CCC", "CSC"], |lab| {
        let (nodes, recorders) = recorded(lab);
        burst(&nodes[0], 10);
        for (index, recorder) in recorders.iter().enumerate() {
            if lab.kind(index) == Kind::Cottar {
                runs_in_order(recorder, 10);
            }
        }
    });
}

#[test]
fn a_replay_keeps_its_order() {
    scenario("order of a replay", &["CC", "SC"], |lab: &Lab| {
        let first = lab.start(lab.spec(0));
        burst(&first, 20);
        let recorder = Recorder::new(lab.path(), "n2");
        let spec = lab.spec(1).join(&first).recorded(&recorder);
        let second = lab.start(spec.args(["-replay"]));
        let members = [Member::of(&first), Member::of(&second)];
        await_members(&[&second], &members, 5.0);
        runs_in_order(&recorder, 20);
    });
}
