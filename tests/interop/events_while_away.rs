//! User events that a node runs when it joins, returns or leaves: none from before its join, each that it
//! missed, none twice.

use std::path::PathBuf;
use std::process::Stdio;

use crate::live::Spec;
use crate::live::{Agent, Kind, Lab, Member, await_members, eventually, scenario};

/// A file with a line for each user event that a node has run, across its restarts.
struct Heard(PathBuf);

impl Heard {
    fn new(lab: &Lab, name: &str) -> Self {
        Heard(lab.path().join(format!("heard-{name}")))
    }

    fn handler(&self) -> String {
        format!("user=echo \"$SERF_USER_EVENT\" >>'{}'", self.0.display())
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn await_line(&self, line: &str) {
        eventually(15.0, &format!("{line} is heard"), || {
            let lines = self.lines();
            let is_there = lines.iter().any(|heard| heard == line);
            is_there.then_some(()).ok_or_else(|| format!("{lines:?}"))
        });
    }
}

fn recording(lab: &Lab, index: usize, heard: &Heard) -> Spec {
    let snapshot = lab.path().join("snapshot");
    let spec = lab.spec(index).handler(&heard.handler());
    spec.args(["-snapshot", &snapshot.display().to_string()])
}

#[track_caller]
fn fire(node: &Agent, names: &[&str]) {
    for name in names {
        node.event(name, "");
    }
}

#[track_caller]
fn await_all(nodes: &[&Agent]) {
    let members: Vec<Member> = nodes.iter().map(|node| Member::of(node)).collect();
    await_members(nodes, &members, 10.0);
}

#[test]
fn events_from_before_a_join_run_no_handler() {
    scenario("not before", &["CC", "CS", "SC"], |lab| {
        let first = lab.start(lab.spec(0));
        fire(&first, &["one", "two", "three"]);
        let heard = Heard::new(lab, "n2");
        let spec = lab.spec(1).handler(&heard.handler());
        let second = lab.start(spec.join(&first));
        await_all(&[&first, &second]);
        fire(&first, &["last"]);
        heard.await_line("last");
        assert_eq!(heard.lines(), ["last"]);
    });
}

#[test]
fn events_missed_by_a_killed_node_run_once_and_in_order() {
    scenario("afterwards", &["CCC", "SCS"], |lab| {
        let heard = Heard::new(lab, "n2");
        let first = lab.start(lab.spec(0));
        fire(&first, &["before the join"]);
        let mut second = lab.start(recording(lab, 1, &heard).join(&first));
        let third = lab.start(lab.spec(2).join(&first));
        await_all(&[&first, &second, &third]);
        fire(&first, &["a1", "a2"]);
        heard.await_line("a2");
        let mut expected = vec!["a1", "a2"];
        for missed in [["b1", "b2", "b3"], ["c1", "c2", "c3"]] {
            second.crash();
            fire(&first, &missed);
            second = second.restart(&first);
            heard.await_line(missed[2]);
            expected.extend(missed);
        }
        second.crash();
        second = second.restart(&third);
        await_all(&[&first, &second, &third]);
        fire(&third, &["last"]);
        heard.await_line("last");
        expected.push("last");
        assert_eq!(heard.lines(), expected);
    });
}

#[test]
fn events_after_a_leave_run_once_at_the_return() {
    scenario("leave and rejoin", &["CC", "SC"], |lab| {
        let heard = Heard::new(lab, "n2");
        let first = lab.start(lab.spec(0));
        let spec = recording(lab, 1, &heard).args(["-rejoin"]);
        let mut second = lab.start(spec.join(&first));
        await_all(&[&first, &second]);
        fire(&first, &["before"]);
        heard.await_line("before");
        let mut leave = second.command(Kind::Cottar, &["leave"]);
        let mut leave = leave.stdout(Stdio::null()).spawn().expect("a command");
        let meanwhile: Vec<String> = (1..=5).map(|n| format!("meanwhile-{n}")).collect();
        for name in &meanwhile {
            first.event(name, "");
        }
        leave.wait().expect("an end");
        second.await_exit(15.0);
        fire(&first, &["after"]);
        second = second.restart(&first);
        await_all(&[&first, &second]);
        fire(&first, &["last"]);
        heard.await_line("last");
        let mut lines = heard.lines();
        lines.sort();
        let mut expected = vec!["after", "before", "last"];
        expected.extend(meanwhile.iter().map(String::as_str));
        expected.sort_unstable();
        assert_eq!(lines, expected);
    });
}

#[test]
fn the_reference_may_use_the_snapshot_between_two_runs() {
    scenario("one snapshot, two programs", &["CC", "SC"], |lab| {
        let heard = Heard::new(lab, "n2");
        let first = lab.start(lab.spec(0));
        let mut second = lab.start(recording(lab, 1, &heard).join(&first));
        await_all(&[&first, &second]);
        fire(&first, &["a1", "a2"]);
        heard.await_line("a2");
        second.crash();
        let cottar = second.spec.kind;
        // The reference treats cottar's additional snapshot lines as comments. The events that it misses are
        // lost, as with any Serf agent.
        second.spec.kind = Kind::Serf;
        second = second.restart(&first);
        await_all(&[&first, &second]);
        fire(&first, &["b1"]);
        heard.await_line("b1");
        second.signal(libc::SIGTERM);
        second.await_exit(15.0);
        fire(&first, &["c1", "c2"]);
        second.spec.kind = cottar;
        second = second.restart(&first);
        await_all(&[&first, &second]);
        fire(&first, &["last"]);
        heard.await_line("last");
        assert_eq!(heard.lines(), ["a1", "a2", "b1", "c1", "c2", "last"]);
    });
}
