//! The samples of agent spec 3 on live agents: the reference's and ours.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::live::{Agent, COTTAR, Kind, PATIENCE, Spec, free, lacks_program, lacks_reference};
use crate::run::{Finished, cottar, finish};

/// Starts an agent of the given program and waits until it serves.
#[track_caller]
pub fn start(kind: Kind, name: &str, flags: &[&str]) -> Agent {
    Spec::bare(kind).name(name).args(flags).start()
}

impl Agent {
    /// Runs a command of ours with the agent's address in its environment.
    pub fn run(&self, line: &[&str]) -> Finished {
        let mut command = cottar(line);
        command.env("SERF_RPC_ADDR", self.rpc.to_string());
        finish(command.spawn().unwrap())
    }

    #[track_caller]
    pub fn says(&self, line: &[&str], status: i32, stdout: &str) {
        let got = self.run(line);
        assert_eq!(
            (got.text().as_str(), got.stderr.as_str(), got.status),
            (stdout, "", Some(status)),
            "{line:?}"
        );
    }

    /// Repeats the command until it prints `stdout`.
    #[track_caller]
    pub fn comes_to_say(&self, line: &[&str], stdout: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let got = self.run(line);
            if got.text() == stdout {
                return;
            }
            assert!(Instant::now() < deadline, "{line:?} says {:?}", got.text());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn samples(kind: Kind) {
    let handler = "-event-handler=query:load=cat";
    let n1 = start(kind, "n1", &["-tag", "role=web", "-tag", "a=<&>", handler]);
    members(&n1);
    queries(&n1);
    orders(&n1);
    info(&n1);
    let n2 = start(kind, "n2", &[]);
    let contact = n2.gossip.to_string();
    n1.says(
        &["join", &contact, &contact],
        0,
        "Successfully joined cluster by contacting 2 nodes.\n",
    );
    n1.comes_to_say(
        &["members", "-status=alive"],
        &format!("n1  {}  alive  b=2\nn2  {contact}  alive\n", n1.gossip),
    );
    n2.says(&["leave"], 0, "Graceful leave complete\n");
    n1.comes_to_say(&["members", "-name=n2"], &format!("n2  {contact}  left\n"));
    n1.says(&["force-leave", "n2"], 0, "");
    n1.says(&["force-leave", "-prune", "n2"], 0, "");
    n1.comes_to_say(&["members", "-name=n2"], "\n");
    n1.says(&["leave"], 0, "Graceful leave complete\n");
    let refused = format!(
        "Error connecting to Serf agent: dial tcp {}: connect: connection refused\n",
        n1.rpc
    );
    n1.comes_to_say(&["leave"], &refused);
}

fn members(n1: &Agent) {
    let address = n1.gossip;
    n1.says(
        &["members"],
        0,
        &format!("n1  {address}  alive  a=<&>,role=web\n"),
    );
    n1.says(
        &["members", "-detailed", "-tag", "role=w.*", "-tag", "zz="],
        0,
        &format!(
            "n1  {address}  alive  a=<&>,role=web  Protocol Version: 5  \
             Available Protocol Range: [2, 5]\n"
        ),
    );
    // Several expressions for one key must all match.
    let both = ["members", "-tag=role=w.*", "-tag=role=.*b", "-tag=a=.*"];
    n1.says(&both, 0, &format!("n1  {address}  alive  a=<&>,role=web\n"));
    for line in [
        ["members", "-tag=role=w.*", "-tag=role=.*c"],
        ["members", "-tag=role=x.*", "-tag=role=w.*"],
    ] {
        n1.says(&line, 0, "\n");
    }
    assert_eq!(
        n1.run(&["members", "-role=web", "-tag=role=x"]).text(),
        "\n"
    );
    n1.says(
        &["members", "-format=json", "-name=n1"],
        0,
        &format!(
            r#"{{
  "members": [
    {{
      "name": "n1",
      "addr": "{address}",
      "port": {},
      "tags": {{
        "a": "\u003c\u0026\u003e",
        "role": "web"
      }},
      "status": "alive",
      "protocol": {{
        "max": 5,
        "min": 2,
        "version": 5
      }}
    }}
  ]
}}
"#,
            address.port()
        ),
    );
    n1.says(&["members", "-name=n"], 0, "\n");
    n1.says(
        &["members", "-status=left", "-format=json"],
        0,
        "{\n  \"members\": null\n}\n",
    );
    n1.says(
        &["members", "-format=xml"],
        1,
        "Encoding error: Invalid output format \"xml\"\n",
    );
    let got = n1.run(&["members", "-name=("]);
    assert!(got.text().starts_with("Error retrieving members: ") && got.status == Some(1));
}

fn queries(n1: &Agent) {
    n1.says(
        &["query", "-timeout=1s", "load", "0.5"],
        0,
        "Query 'load' dispatched\nAck from 'n1'\nResponse from 'n1': 0.5\n\
         Total Acks: 1\nTotal Responses: 1\n",
    );
    n1.says(
        &[
            "query",
            "-timeout=1s",
            "-no-ack",
            "-node=n1",
            "-tag=role=e",
            "load",
            "x",
        ],
        0,
        "Query 'load' dispatched\nResponse from 'n1': x\nTotal Responses: 1\n",
    );
    n1.says(
        &["query", "-timeout=1s", "-format=json", "load", "y"],
        0,
        "{\n  \"Acks\": [\n    \"n1\"\n  ],\n  \"Responses\": {\n    \"n1\": \"y\\n\"\n  }\n}\n",
    );
    n1.says(
        &[
            "query",
            "-timeout=200ms",
            "-format=json",
            "-node=nobody",
            "load",
        ],
        0,
        "{\n  \"Acks\": null,\n  \"Responses\": {}\n}\n",
    );
    n1.says(
        &["query", "-format=xml", "load"],
        1,
        "Invalid format: xml\n",
    );
    n1.says(
        &["query", "_serf_x"],
        1,
        "Error sending query: Queries cannot contain the '_serf_' prefix\n",
    );
    n1.says(
        &["query", "load", &"x".repeat(2000)],
        1,
        "Error sending query: query exceeds limit of 1024 bytes\n",
    );
}

fn orders(n1: &Agent) {
    for (flag, payload, coalesce) in [
        ("-coalesce", "hello", "true"),
        ("-coalesce=false", "-", "false"),
    ] {
        let got = n1.run(&["event", flag, "deploy", payload]);
        let line = format!("Event 'deploy' dispatched! Coalescing enabled: {coalesce}\n");
        let rest = got.text().strip_prefix(&line).map(str::to_owned);
        // The reference's agent does not report the id.
        let rest = rest.unwrap_or_else(|| panic!("{}", got.text()));
        let is_known = rest.starts_with("Time: ") && rest.contains(", id: user:");
        assert!(rest.is_empty() || is_known, "{rest}");
        assert_eq!(got.status, Some(0));
    }
    n1.says(
        &["event", "deploy", &"x".repeat(513)],
        1,
        "Error sending event: user event exceeds configured limit of 512 bytes before encoding\n",
    );
    n1.says(
        &[
            "tags",
            "-set",
            "b=1",
            "-set=b=2",
            "-delete",
            "a",
            "-delete=role",
            "-delete=zz",
        ],
        0,
        "Successfully updated agent tags\n",
    );
    n1.says(&["members"], 0, &format!("n1  {}  alive  b=2\n", n1.gossip));
    n1.says(&["tags", "-set", "=x"], 1, "Error: Invalid tag: '=x'\n");
    n1.says(
        &["tags", "-set", &format!("b={}", "x".repeat(600))],
        1,
        "Error setting tags: Encoded length of tags exceeds limit of 512 bytes\n",
    );
    let nobody = free();
    let failed = n1.run(&["join", &nobody.to_string()]);
    // The reference of today leaves the port out.
    let text = failed.text().replace(
        &format!("join {}: dial", nobody.ip()),
        &format!("join {nobody}: dial"),
    );
    assert_eq!(
        (text, failed.status),
        (
            format!(
                "Error joining the cluster: 1 error occurred:\n\t* Failed to join {nobody}: \
                 dial tcp {nobody}: connect: connection refused\n\n\n"
            ),
            Some(1)
        )
    );
    n1.says(&["force-leave", "nobody"], 0, "");
    n1.says(
        &["members", "-rpc-auth=x"],
        1,
        "Error connecting to Serf agent: Invalid authentication token\n",
    );
    let mut command = cottar(&["members", "-rpc-auth=", "-name=x"]);
    command.env("SERF_RPC_ADDR", n1.rpc.to_string());
    let got = finish(command.env("SERF_RPC_AUTH", "x").spawn().unwrap());
    assert_eq!((got.text().as_str(), got.status), ("\n", Some(0)));
}

fn info(n1: &Agent) {
    let got = n1.run(&["info"]);
    assert_eq!((got.stderr.as_str(), got.status), ("", Some(0)));
    let text = got.text();
    // Only our agent has counters of handlers.
    let groups: Vec<_> = text
        .lines()
        .filter(|line| line.ends_with(':') && *line != "handlers:")
        .collect();
    assert_eq!(
        groups,
        ["agent:", "event_handlers:", "runtime:", "serf:", "tags:"]
    );
    for line in [
        "agent:\n\tname = n1\n",
        "event_handlers:\n\tquery:load = cat\n",
        "\tos = linux\n",
        "serf:\n\tcoordinate_resets = 0\n\tencrypted = false\n\tevent_queue = ",
        "\tmembers = 1\n",
        "tags:\n\tb = 2\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in {text}");
    }
    let got = n1.run(&["info", "-format=json"]);
    let json: serde_json::Value = serde_json::from_slice(&got.stdout).unwrap();
    assert_eq!(json["tags"]["b"], "2");
    assert_eq!(json["serf"].as_object().unwrap().len(), 12);
}

#[test]
fn samples_on_the_references_agent() {
    if !lacks_reference("samples on the reference's agent") {
        samples(Kind::Serf);
    }
}

#[test]
fn samples_on_our_agent() {
    samples(Kind::Cottar);
}

/// The output of `cottar` on a terminal, which `script` provides.
fn on_a_terminal(agent: &Agent, line: &str) -> String {
    let child = Command::new("script")
        .args(["-qec", &format!("{COTTAR} {line}"), "/dev/null"])
        .env("SERF_RPC_ADDR", agent.rpc.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    finish(child).text().replace("\r\n", "\n")
}

#[test]
fn answers_cannot_forge_lines_on_a_terminal() {
    let handler = r"-event-handler=query:forge=printf 'a\nAck from \047b\047\n\033[2J'";
    let agent = start(Kind::Cottar, "n1", &[handler]);
    let forged = "Response from 'n1': a\nAck from 'b'\n\u{1b}[2J\n";
    let got = agent.run(&["query", "-no-ack", "-expect=1", "forge"]);
    assert!(got.text().contains(forged), "{}", got.text());
    if lacks_program("an answer on a terminal", "script") {
        return;
    }
    let text = on_a_terminal(&agent, "query -no-ack -expect=1 forge");
    let harmless = "Response from 'n1': a\n    Ack from 'b'\n    \\u{1b}[2J\n";
    assert!(text.contains(harmless), "{text:?}");
}

#[test]
fn an_agent_refuses_a_query_that_it_would_not_understand_itself() {
    let agent = start(Kind::Cottar, "n1", &["-tag=role=web"]);
    for expression in ["(", r"\pL"] {
        let tag = format!("-tag=role={expression}");
        let got = agent.run(&["query", &tag, "load"]);
        let words = format!("Error sending query: filter 'role={expression}' cannot be used: ");
        assert!(got.text().starts_with(&words), "{}", got.text());
        assert_eq!(got.status, Some(1));
    }
    let quoted = ["query", "-timeout=200ms", r"-tag=role=^\Qweb\E$", "load"];
    let got = agent.run(&quoted);
    assert!(got.text().contains("Ack from 'n1'"), "{}", got.text());
    let members = agent.run(&["members", r"-tag=role=\167e\Qb"]);
    assert!(members.text().starts_with("n1 "), "{}", members.text());
}
