//! The examples of README.md, run as they stand: each `console` block is a stretch of one session.
//!
//! A line with `$` in front is a command, lines with `>` continue it, the rest is what it prints. Only the
//! ports are exchanged for free ones. A command that ends in `&` runs on to the end of the session.
//! Commands that merely ask are repeated until they show what is expected, since gossip takes its time;
//! all others run once, apart from finding no agent yet.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::live::{COTTAR, PATIENCE, Process, free, ports};

#[derive(Debug)]
struct Step {
    command: String,
    output: String,
}

/// The steps of all `console` blocks, in order.
fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if !inside {
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.into(),
                output: String::new(),
            });
        } else {
            let step = steps.last_mut().expect("a block begins with a command");
            match line.strip_prefix("> ") {
                Some(more) if step.output.is_empty() => step.command.push_str(&format!("\n{more}")),
                _ => step.output.push_str(&format!("{line}\n")),
            }
        }
    }
    steps
}

/// Exchanges every loopback port of the text for a free one of as many digits or not: the output is
/// translated as well.
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

fn shell(folder: &Path, command: &str, rpc: &str) -> Command {
    let bin = Path::new(COTTAR).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", command])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("SERF_RPC_ADDR", rpc)
        .stdin(Stdio::null());
    shell
}

/// Columns are as wide as their widest cell, and free ports may have more digits than those of the text.
fn squeezed(output: &str) -> String {
    let lines = output.lines().map(|line| {
        if line.starts_with(' ') {
            return line.to_owned();
        }
        line.split(' ')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_examples_of_the_readme_work() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = with_free_ports(&std::fs::read_to_string(path).expect("README.md"));
    let steps = steps(&readme);
    assert!(steps.len() > 10, "the examples are gone: {steps:#?}");
    let folder = tempfile::tempdir().expect("a folder");
    let rpc = steps[0]
        .command
        .split_once("-rpc-addr ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .expect("the first agent's RPC address")
        .to_owned();
    let mut agents = Vec::new();
    for step in &steps {
        if let Some(command) = step.command.strip_suffix('&') {
            let mut agent = shell(folder.path(), &format!("exec {command}"), &rpc);
            agents.push(Process::spawn(&mut agent).expect("a shell"));
            await_agent(command);
        } else {
            follow(step, folder.path(), &rpc);
        }
    }
}

/// Waits until the agent that `command` starts answers RPC clients; a reader would not type faster.
fn await_agent(command: &str) {
    let (_, rest) = command
        .split_once("-rpc-addr ")
        .expect("agents of the text name their RPC address");
    let rpc = rest.split_whitespace().next().expect("an address");
    let started = Instant::now();
    while TcpStream::connect(rpc).is_err() {
        assert!(started.elapsed() < PATIENCE, "no agent at {rpc}: {command}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn follow(step: &Step, folder: &Path, rpc: &str) {
    let asks = [
        "cottar members",
        "cottar info",
        "cottar query",
        "cat ",
        "grep ",
    ]
    .iter()
    .any(|start| step.command.starts_with(start));
    let started = Instant::now();
    loop {
        let output = shell(folder, &step.command, rpc).output().expect("a shell");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = squeezed(&step.output);
        if output.status.success() && squeezed(&printed) == expected {
            return;
        }
        let again = asks || printed.starts_with("Error connecting");
        if !again || started.elapsed() > PATIENCE {
            let mut logs = String::new();
            for entry in std::fs::read_dir(folder).expect("the folder").flatten() {
                let text = std::fs::read(entry.path()).unwrap_or_default();
                logs += &format!(
                    "--- {:?}\n{}\n",
                    entry.file_name(),
                    String::from_utf8_lossy(&text)
                );
            }
            panic!(
                "$ {}\nprinted ({}):\n{printed}{}\ninstead of:\n{}\n{logs}",
                step.command,
                output.status,
                String::from_utf8_lossy(&output.stderr),
                step.output
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
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
fn a_session_is_read_as_a_reader_would() {
    let text = "x\n```console\n$ one \\\n>     two\n  out\n$ three\n```\n$ not this\n```sh\n$ nor this\n```\n";
    let steps = steps(text);
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0].command, "one \\\n    two");
    assert_eq!(steps[0].output, "  out\n");
    assert_eq!(
        (steps[1].command.as_str(), steps[1].output.as_str()),
        ("three", "")
    );
    assert_eq!(squeezed("a  b   c\nd"), squeezed("a b c\nd\n"));
    assert_ne!(squeezed("a\nb"), squeezed("a b"));
}
