//! Runs the examples of README.md as they are: each `console` block is part of one session. Only ports are
//! replaced by free ones.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::live::{COTTAR, free, ports, wait_until};
use crate::session::{Session, steps};

/// Returns the lines of all `console` blocks, in order.
fn console(readme: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    readme.lines().filter(move |line| {
        if line.starts_with("```") {
            inside = *line == "```console";
            return false;
        }
        inside
    })
}

/// Replaces every loopback port in the text with a free one. Its number of digits may differ, so the expected
/// output is replaced as well.
fn with_free_ports(readme: &str) -> String {
    let mut ports: Vec<&str> = readme
        .split("127.0.0.1:")
        .skip(1)
        .map(|rest| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap_or("")
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let mut text = readme.to_owned();
    for port in ports {
        let free = free().port();
        text = text.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{free}"));
        text = text.replace(&format!("\"port\": {port}"), &format!("\"port\": {free}"));
    }
    text
}

#[test]
fn the_examples_of_the_readme_work() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = with_free_ports(&std::fs::read_to_string(path).expect("README.md"));
    let steps = steps(console(&readme));
    assert!(steps.len() > 10, "too few examples: {steps:#?}");
    let folder = tempfile::tempdir().expect("a folder");
    let variables = [("SERF_RPC_ADDR", rpc_address(&steps[0].command))];
    let mut session = Session::start(folder.path(), &variables);
    for step in &steps {
        session.follow(step);
        if step.command.ends_with('&') {
            // Waits until the agent listens, since a reader would not type faster.
            let rpc = rpc_address(&step.command);
            wait_until(&step.command, || TcpStream::connect(rpc).is_ok());
        }
    }
}

fn rpc_address(command: &str) -> &str {
    let (_, rest) = command
        .split_once("-rpc-addr ")
        .expect("agents of the text name their RPC address");
    rest.split_whitespace().next().expect("an address")
}

#[test]
fn the_demo_shows_handlers_fire_and_ends() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dist/demo.sh");
    let output = Command::new("sh")
        .arg(demo)
        .args([COTTAR, &ports::row(4).port().to_string()])
        .output()
        .expect("a shell");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in [
        "  beta runs its handler: user deploy\n    | v1.2\n",
        "  alpha runs its handler: query greet\n",
        "Response from 'beta': beta says hello\n",
        "Total Responses: 2\n",
    ] {
        assert!(printed.contains(line), "no \"{line}\" in:\n{printed}");
    }
}

#[test]
fn only_console_blocks_are_played() {
    let text =
        "x\n```console\n$ one\n```\n$ not this\n```sh\n$ nor this\n```\n```console\n$ two\n```\n";
    assert_eq!(console(text).collect::<Vec<_>>(), ["$ one", "$ two"]);
}
