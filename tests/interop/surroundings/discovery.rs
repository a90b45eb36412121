//! Nodes find each other by multicast DNS on a cable between two network namespaces.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::cable::Pair;
use crate::live::namespace::lacks_networks;
use crate::live::{Agent, Kind, Spec, eventually, lacks_reference, refused};

const GROUP: &str = "224.0.0.251:5353";

fn start(pair: &Pair, number: usize, kind: Kind, bind: &str, args: &[&str]) -> Agent {
    let agent = Spec::new(kind, &format!("n{number}"))
        .args(["-bind", bind, "-discover=cl1"])
        .args(args)
        .wrapper(pair[number - 1].wrapper())
        .start();
    agent.wait_for("mDNS cluster: cl1");
    agent
}

#[track_caller]
fn await_both(agents: [&Agent; 2]) {
    for agent in agents {
        eventually(15.0, "both nodes", || {
            let text = agent.ask(Kind::Cottar, &["members"]).stdout;
            let lines = text.lines().filter(|line| line.contains("alive")).count();
            if lines == 2 { Ok(()) } else { Err(text) }
        });
    }
}

fn find_each_other(kinds: [Kind; 2]) {
    let pair = Pair::new();
    let bind = ["10.99.0.1", "10.99.0.2"];
    let first = start(&pair, 1, kinds[0], bind[0], &[]);
    let second = start(&pair, 2, kinds[1], bind[1], &[]);
    await_both([&first, &second]);
    second.wait_for("[INFO] agent.mdns: Joined ");
    for (agent, bind) in [&first, &second].iter().zip(bind) {
        if agent.spec.kind == Kind::Cottar {
            // The reference also joins itself.
            let own = format!("joining: [{bind}");
            assert!(!agent.text().contains(&own), "{}", agent.text());
        }
    }
}

#[test]
fn two_of_ours_find_each_other() {
    if !lacks_networks("two of ours find each other") {
        find_each_other([Kind::Cottar; 2]);
    }
}

#[test]
fn ours_and_the_reference_find_each_other_both_ways() {
    let scenario = "ours and the reference find each other";
    if !lacks_networks(scenario) && !lacks_reference(scenario) {
        find_each_other([Kind::Serf, Kind::Cottar]);
        find_each_other([Kind::Cottar, Kind::Serf]);
    }
}

#[test]
fn one_family_and_one_interface_are_enough() {
    if lacks_networks("one family and one interface are enough") {
        return;
    }
    for args in [
        ["-mdns-disable-ipv4", "-mdns-iface=v0"].as_slice(),
        ["-mdns-disable-ipv4"].as_slice(),
        ["-mdns-disable-ipv6", "-iface=v0"].as_slice(),
    ] {
        let pair = Pair::new();
        let binds = match args[0] {
            "-mdns-disable-ipv4" => ["[fd99::1]", "[fd99::2]"],
            _ => ["10.99.0.1", "10.99.0.2"],
        };
        let agents = [1, 2].map(|n| start(&pair, n, Kind::Cottar, binds[n - 1], args));
        await_both([&agents[0], &agents[1]]);
        if args.len() > 1 {
            agents[0].wait_for("[INFO] agent: Starting mDNS listener on interface v0");
        }
    }
}

/// Returns two hosts on a cable without a route for multicast.
fn pair_without_routes() -> Pair {
    let pair = Pair::new();
    for host in pair.iter() {
        let line = ["ip", "route", "del", "224.0.0.0/4"];
        host.call(&line).unwrap();
    }
    pair
}

#[test]
fn the_interface_of_the_nodes_address_needs_no_route() {
    if lacks_networks("the interface of the nodes address needs no route") {
        return;
    }
    for binds in [["10.99.0.1", "10.99.0.2"], ["0.0.0.0", "0.0.0.0"]] {
        let pair = pair_without_routes();
        let flags = ["-mdns-disable-ipv6"];
        let agents = [1, 2].map(|n| start(&pair, n, Kind::Cottar, binds[n - 1], &flags));
        await_both([&agents[0], &agents[1]]);
    }
}

#[test]
fn one_family_that_fails_is_a_warning() {
    if lacks_networks("one family that fails is a warning") {
        return;
    }
    // No interface of this host has the advertised address, and without a route the system cannot choose one
    // for IPv4.
    let pair = pair_without_routes();
    let flags = ["-advertise=192.0.2.7"];
    let agent = start(&pair, 1, Kind::Cottar, "0.0.0.0", &flags);
    agent.wait_for(
        "[WARN] agent.mdns: Listening with one address family only: 224.0.0.251: no such device",
    );
}

/// Compares the answers that a host without an agent receives: the same bytes from both kinds.
#[test]
fn answers_are_those_of_the_reference() {
    let scenario = "answers are those of the reference";
    if lacks_networks(scenario) || lacks_reference(scenario) {
        return;
    }
    let host = String::from_utf8(cottar::os::sys::host_name()).unwrap();
    let kind = "_serf_cl1._tcp.local";
    let instance = format!("n1.{kind}");
    let mut questions: Vec<(String, Vec<u8>)> = Vec::new();
    for name in [
        kind,
        &instance,
        &host,
        "_services._dns-sd._udp.local",
        "_SERF_cl1._tcp.local",
    ] {
        for number in [1, 12, 16, 28, 33, 255] {
            let unicast = if number == 12 { 0x80 } else { 0 };
            questions.push((format!("{name} {number}"), question(name, number, unicast)));
        }
        questions.push((format!("{name} multicast"), question(name, 12, 0)));
    }
    let heard = [Kind::Serf, Kind::Cottar].map(|kind| {
        let pair = Pair::new();
        let _agent = start(&pair, 1, kind, "10.99.0.1", &[]);
        pair[1].enter(|| {
            let asked = questions.iter();
            let answers = asked.map(|(what, question)| (what.clone(), ask(question)));
            answers.collect::<Vec<_>>()
        })
    });
    assert_eq!(heard[0], heard[1]);
    let answered = heard[0].iter().filter(|(_, answer)| answer.is_some());
    assert!(answered.count() >= 9, "{:#?}", heard[0]);
}

fn question(name: &str, kind: u8, class_top: u8) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, kind, class_top, 1]);
    bytes
}

/// Returns the answer in hex. After each question comes one that is always answered, so that no timeout is
/// needed to detect a missing answer.
fn ask(question: &[u8]) -> Option<String> {
    let sure = {
        let mut sure = self::question("_serf_cl1._tcp.local", 12, 0x80);
        sure[..2].copy_from_slice(&[0x56, 0x78]);
        sure
    };
    let socket = UdpSocket::bind("10.99.0.2:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.send_to(question, GROUP).unwrap();
    socket.send_to(&sure, GROUP).unwrap();
    let mut answer = None;
    loop {
        let mut bytes = [0; 9000];
        let (len, from) = socket.recv_from(&mut bytes).unwrap();
        assert_eq!(from, SocketAddr::from(([10, 99, 0, 1], 5353)));
        if bytes[..2] == [0x56, 0x78] {
            return answer;
        }
        let hex = bytes[..len].iter().map(|byte| format!("{byte:02x}"));
        answer = Some(hex.collect());
    }
}

/// A responder that announces a node which does not exist.
#[test]
fn discovery_reports_a_node_that_is_not_there() {
    if lacks_networks("a node that is not there is told") {
        return;
    }
    let pair = Pair::new();
    // A real answer, from a node that is killed before another node can join it.
    let ghost = start(&pair, 1, Kind::Cottar, "10.99.0.1", &[]);
    let answer = pair[1].enter(|| ask(&question("_serf_cl1._tcp.local", 12, 0)).unwrap());
    drop(ghost);
    let answer: Vec<u8> = (0..answer.len() / 2)
        .map(|at| u8::from_str_radix(&answer[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let socket = pair[0].enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:5353").unwrap();
        let group = "224.0.0.251".parse().unwrap();
        socket
            .join_multicast_v4(&group, &"10.99.0.1".parse().unwrap())
            .unwrap();
        socket
    });
    let flags = ["-mdns-disable-ipv6"];
    let agent = start(&pair, 2, Kind::Cottar, "10.99.0.2", &flags);
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let (_, asker) = socket.recv_from(&mut [0; 9000]).unwrap();
    socket.send_to(&answer, asker).unwrap();
    agent.wait_for("[INFO] agent: joining: [10.99.0.1:7946] replay: false");
    agent.wait_for("[ERR] agent.mdns: Failed to join: 1 error occurred:");
}

#[test]
fn impossible_discovery_settings_refuse_the_start() {
    let both = ["-discover=c", "-mdns-disable-ipv4", "-mdns-disable-ipv6"];
    for (args, why) in [
        (
            ["-mdns-iface=lo"].as_slice(),
            "==> mDNS interface specified without enabling mDNS discovery\n",
        ),
        (
            ["-discover=c", "-mdns-iface=nope0"].as_slice(),
            "==> Invalid mDNS network interface: route ip+net: no such network interface\n",
        ),
        (
            both.as_slice(),
            "==> Invalid mDNS configuration: both IPv4 and IPv6 are disabled\n",
        ),
    ] {
        assert_eq!(refused(args), (1, why.to_owned()));
    }
    if lacks_networks("mDNS without a network") {
        return;
    }
    let alone = Pair::only_one();
    let agent = Spec::bare(Kind::Cottar)
        .args(["-discover=c", "-mdns-disable-ipv6", "-mdns-iface=lo"])
        .wrapper(alone.wrapper())
        .launch();
    agent.wait_for("Starting mDNS listener on interface lo");
}
