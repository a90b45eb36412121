//! The metrics that the agent sends to statsd and statsite, and its dump on USR1, compared with the
//! reference.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use crate::live::{Agent, Kind, Spec, eventually, lacks_reference};

fn start(kind: Kind, name: &str, args: &[&str]) -> Agent {
    let spec = Spec::bare(kind).name(name).args(args);
    spec.handler("user=echo a:b c").start()
}

#[track_caller]
fn run(agent: &Agent, args: &[&str]) {
    agent.ask(Kind::Cottar, args).success();
}

#[test]
fn sinks_get_lines() {
    let folder = tempfile::tempdir().unwrap();
    let statsd = UdpSocket::bind("127.0.0.1:0").unwrap();
    let statsite = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = folder.path().join("c.json");
    let config = serde_json::json!({
        "statsd_addr": statsd.local_addr().unwrap().to_string(),
        "statsite_addr": statsite.local_addr().unwrap().to_string(),
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let heard: [Arc<Mutex<String>>; 2] = Default::default();
    let [datagrams, stream] = heard.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 9000];
        while let Ok(len) = statsd.recv(&mut bytes) {
            assert!(len <= 1400);
            let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
            datagrams.lock().unwrap().push_str(&text);
        }
    });
    std::thread::spawn(move || {
        let (mut socket, _) = statsite.accept().unwrap();
        let mut bytes = [0; 9000];
        while let Ok(len) = socket.read(&mut bytes) {
            if len == 0 {
                return;
            }
            let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
            stream.lock().unwrap().push_str(&text);
        }
    });
    let flag = format!("-config-file={}", file.display());
    let node = start(Kind::Cottar, "sinks", &[&flag]);
    run(&node, &["event", "deploy", "now"]);
    let host = String::from_utf8(cottar::os::sys::host_name()).unwrap();
    let gauge = format!("serf-agent.{host}.memberlist.node.instances.alive:1.000000|g\n");
    for text in heard {
        for line in [
            "serf-agent.agent.ipc.accept:1.000000|c\n",
            "serf-agent.serf.events:1.000000|c\n",
            "serf-agent.serf.events.deploy:1.000000|c\n",
            "serf-agent.serf.member.join:1.000000|c\n",
            "serf-agent.agent.invoke.echo_a_b_c:",
            gauge.as_str(),
        ] {
            eventually(15.0, line, || {
                let text = text.lock().unwrap();
                if text.contains(line) {
                    Ok(())
                } else {
                    Err(text.clone())
                }
            });
        }
    }
}

/// Returns the names in a dump.
fn names(dump: &str) -> BTreeSet<String> {
    let quoted = dump.lines().filter_map(|line| line.split('\'').nth(1));
    quoted.map(str::to_owned).collect()
}

#[track_caller]
fn dump(agent: &Agent) -> String {
    eventually(15.0, "a finished interval with the handler in it", || {
        agent.signal(libc::SIGUSR1);
        let text = agent.errors();
        match text.contains("'serf-agent.agent.invoke.echo_a:b_c'") {
            true => Ok(text),
            false => Err(text),
        }
    })
}

/// Returns whether only the reference has the metric: those of its Go runtime.
fn is_elsewhere(name: &str) -> bool {
    name.starts_with("serf-agent.runtime.")
}

#[test]
fn the_dump_has_the_references_names() {
    if lacks_reference("the dump has the reference's names") {
        return;
    }
    let theirs = start(Kind::Serf, "theirs", &[]);
    let ours = start(Kind::Cottar, "ours", &[]);
    // The same commands on both sides.
    run(&ours, &["join", &theirs.gossip.to_string()]);
    run(&theirs, &["join", &ours.gossip.to_string()]);
    for node in [&theirs, &ours] {
        run(node, &["event", "deploy", "now"]);
        run(node, &["query", "-timeout=1s", "load"]);
    }
    let theirs = names(&dump(&theirs));
    assert!(theirs.len() > 15, "{theirs:#?}");
    // Metrics of rare events may appear only in a later interval.
    eventually(15.0, "every name of the reference", || {
        let ours = names(&dump(&ours));
        let missing = theirs.difference(&ours).filter(|name| !is_elsewhere(name));
        let missing: Vec<&String> = missing.collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("{missing:#?} not in {ours:#?}")),
        }
    });
}
