//! Labels of gossip: clusters with different labels do not merge, and a cluster changes its label.

use crate::live::{Agent, free, refused, wait_until};
use crate::start;
use std::net::SocketAddr;
use std::path::Path;

#[test]
fn labels_separate_clusters_and_the_log_names_them() {
    let mine = start("mine", &["-label=blue\x1b[2J"]);
    assert!(mine.text().contains("Label: 'blue\\u{1b}[2J'"));
    let join = mine.gossip.to_string();
    for (label, words) in [
        (
            &["-label=red"][..],
            "has the label 'red', this cluster's is 'blue\\u{1b}[2J'",
        ),
        (&[], "has no label, this cluster's is"),
    ] {
        let stranger = Agent::spawn(&[label, &["-node=stranger", "-join", &join]].concat());
        assert_eq!(stranger.exit_code(), 1);
        if label.is_empty() {
            // The warning is logged at most once a minute, so that the second connection is only counted.
            wait_until("two connections that were counted", || {
                let (_, info) = mine.call("info", &[]);
                info.contains("packets_mislabelled = 2")
            });
            assert!(!mine.text().contains(words));
        } else {
            mine.wait_for(words);
        }
    }
    let plain = start("plain", &[]);
    let (joined, text) = mine.call("join", &[&plain.gossip.to_string()]);
    assert!(!joined, "{text}");
    plain.wait_for("has the label 'blue\\u{1b}[2J', this cluster has none");
    assert_eq!(mine.member("plain"), "");
    let second = start("second", &["-label=blue\x1b[2J", "-join", &join]);
    wait_until("the second one", || mine.sees("second", "alive"));
    assert!(second.sees("mine", "alive"));
}

#[test]
fn labels_that_are_too_long_refuse_the_start() {
    let long = format!("-label={}", "x".repeat(256));
    let (code, text) = refused(&["-node=n", &long]);
    assert_eq!(code, 1);
    let why = "==> Invalid label: it has 256 bytes; the maximum is 255; see -label";
    assert!(text.contains(why), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file.json");
    let long = "x".repeat(300);
    std::fs::write(&file, format!(r#"{{"label_accept": ["", "{long}"]}}"#)).unwrap();
    let (code, text) = refused(&["-node=n", "-config-file", file.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(text.contains("Invalid label: it has 300 bytes"), "{text}");
}

/// A node that is restarted with other labels, and its addresses and files.
struct Changing {
    name: String,
    gossip: SocketAddr,
    agent: Option<Agent>,
}

impl Changing {
    fn restart(&mut self, dir: &Path, labels: &str, peers: &[SocketAddr]) {
        if let Some(agent) = self.agent.take() {
            assert_eq!(agent.end(libc::SIGINT), 0, "{}", agent.text());
        }
        let file = dir.join(format!("{}.json", self.name));
        std::fs::write(&file, labels).unwrap();
        let mut args = vec![
            format!("-node={}", self.name),
            format!("-config-file={}", file.display()),
            "-encrypt=MDEyMzQ1Njc4OWFiY2RlZg==".to_owned(),
            format!("-bind={}", self.gossip),
        ];
        args.extend(peers.iter().map(|peer| format!("-join={peer}")));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.agent = Some(Agent::start(&args));
    }

    fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }
}

#[test]
fn a_cluster_changes_its_label_in_three_rolling_steps() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes: Vec<Changing> = (1..=3)
        .map(|n| Changing {
            name: format!("n{n}"),
            gossip: free(),
            agent: None,
        })
        .collect();
    let addrs: Vec<SocketAddr> = nodes.iter().map(|node| node.gossip).collect();
    let events = |nodes: &[Changing], round: &str| {
        for node in nodes {
            // Events of each node reach all nodes.
            let name = format!("{round}-{}", node.name);
            assert!(node.agent().call("event", &[&name]).0);
            for other in nodes {
                other.agent().wait_for(&format!("user-event: {name}"));
            }
        }
    };
    for (round, labels) in [
        r#"{}"#,
        r#"{"label_accept": ["new"]}"#,
        r#"{"label": "new", "label_accept": [""]}"#,
        r#"{"label": "new"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        for at in 0..nodes.len() {
            let there = nodes.iter().filter(|node| node.agent.is_some());
            let peers: Vec<SocketAddr> = match round {
                0 => there.map(|node| node.gossip).collect(),
                _ => addrs
                    .iter()
                    .copied()
                    .filter(|addr| *addr != addrs[at])
                    .collect(),
            };
            // Joins in both directions.
            nodes[at].restart(dir.path(), labels, &peers);
            let there: Vec<&Changing> = nodes.iter().filter(|n| n.agent.is_some()).collect();
            for viewer in &there {
                for other in &there {
                    wait_until("all are alive", || {
                        viewer.agent().sees(&other.name, "alive")
                    });
                }
                let (joined, text) = viewer.agent().call("join", &[&addrs[at].to_string()]);
                assert!(joined, "{text}");
            }
            if round > 0 {
                events(&nodes, &format!("round-{round}-{at}"));
                for node in &nodes {
                    let (_, info) = node.agent().call("info", &[]);
                    assert!(!info.contains("packets_mislabelled = 1"), "{info}");
                    assert!(!node.agent().text().contains("has the label"));
                }
            }
        }
    }
    let (joined, _) = start("late", &["-encrypt=MDEyMzQ1Njc4OWFiY2RlZg=="])
        .call("join", &[&addrs[0].to_string()]);
    assert!(!joined);
    nodes[0]
        .agent()
        .wait_for("has no label, this cluster's is 'new'");
}
