//! Nodes that find each other by multicast DNS on a cable between two network namespaces.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::harness::{
    Agent, COTTAR, Namespace, eventually, is_missing, lacks_namespaces, reference,
};

const GROUP: &str = "224.0.0.251:5353";

fn start(
    namespace: &Namespace,
    program: &Path,
    number: u8,
    bind: &str,
    args: &[&str],
    folder: &Path,
) -> Agent {
    let name = format!("n{number}");
    let mut command = namespace.command(program);
    command
        .args(["agent", "-node", &name, "-bind", bind])
        .args(["-log-level=debug", "-discover=cl1"])
        .args(args);
    let agent = Agent::start(command, folder, &name);
    agent.await_text("mDNS cluster: cl1");
    agent
}

#[track_caller]
fn await_both(namespaces: &[Namespace; 2]) {
    for namespace in namespaces {
        eventually("both nodes", || {
            let run = namespace.command(COTTAR).arg("members").output().unwrap();
            let text = String::from_utf8_lossy(&run.stdout).into_owned();
            let lines = text.lines().filter(|line| line.contains("alive")).count();
            if lines == 2 { Ok(()) } else { Err(text) }
        });
    }
}

fn find_each_other(programs: [&Path; 2]) {
    let namespaces = Namespace::pair();
    let folder = tempfile::tempdir().unwrap();
    let bind = ["10.99.0.1", "10.99.0.2"];
    let first = start(&namespaces[0], programs[0], 1, bind[0], &[], folder.path());
    let second = start(&namespaces[1], programs[1], 2, bind[1], &[], folder.path());
    await_both(&namespaces);
    second.await_text("[INFO] agent.mdns: Joined ");
    for (agent, (program, bind)) in [&first, &second].iter().zip(programs.iter().zip(bind)) {
        if program.ends_with("cottar") {
            // The reference joins itself, too.
            let own = format!("joining: [{bind}");
            assert!(!agent.stdout().contains(&own), "{}", agent.stdout());
        }
    }
}

#[test]
fn two_of_ours_find_each_other() {
    if !lacks_namespaces("two_of_ours_find_each_other") {
        find_each_other([Path::new(COTTAR); 2]);
    }
}

#[test]
fn ours_and_the_reference_find_each_other_both_ways() {
    let test = "ours_and_the_reference_find_each_other_both_ways";
    let serf = reference();
    if lacks_namespaces(test) || is_missing(test, "`serf` on the path", serf.is_some()) {
        return;
    }
    let serf = serf.unwrap();
    find_each_other([&serf, Path::new(COTTAR)]);
    find_each_other([Path::new(COTTAR), &serf]);
}

#[test]
fn one_family_and_one_interface_are_enough() {
    if lacks_namespaces("one_family_and_one_interface_are_enough") {
        return;
    }
    for args in [
        ["-mdns-disable-ipv4", "-mdns-iface=v0"].as_slice(),
        ["-mdns-disable-ipv4"].as_slice(),
        ["-mdns-disable-ipv6", "-iface=v0"].as_slice(),
    ] {
        let namespaces = Namespace::pair();
        let folder = tempfile::tempdir().unwrap();
        let binds = match args[0] {
            "-mdns-disable-ipv4" => ["[fd99::1]", "[fd99::2]"],
            _ => ["10.99.0.1", "10.99.0.2"],
        };
        let agents: Vec<Agent> = (1..)
            .zip(namespaces.iter().zip(binds))
            .map(|(number, (namespace, bind))| {
                start(
                    namespace,
                    Path::new(COTTAR),
                    number,
                    bind,
                    args,
                    folder.path(),
                )
            })
            .collect();
        await_both(&namespaces);
        if args.len() > 1 {
            agents[0].await_text("[INFO] agent: Starting mDNS listener on interface v0");
        }
    }
}

/// Two hosts on a cable that have no route for multicast.
fn pair_without_routes() -> [Namespace; 2] {
    let namespaces = Namespace::pair();
    for namespace in &namespaces {
        namespace.ip(&["route", "del", "224.0.0.0/4"]);
    }
    namespaces
}

#[test]
fn the_interface_of_the_nodes_address_needs_no_route() {
    if lacks_namespaces("the_interface_of_the_nodes_address_needs_no_route") {
        return;
    }
    for binds in [["10.99.0.1", "10.99.0.2"], ["0.0.0.0", "0.0.0.0"]] {
        let namespaces = pair_without_routes();
        let folder = tempfile::tempdir().unwrap();
        let start = |number: u8| {
            let at = usize::from(number - 1);
            let flags = ["-mdns-disable-ipv6"];
            let program = Path::new(COTTAR);
            start(
                &namespaces[at],
                program,
                number,
                binds[at],
                &flags,
                folder.path(),
            )
        };
        let _agents = [start(1), start(2)];
        await_both(&namespaces);
    }
}

#[test]
fn one_family_that_fails_is_a_warning() {
    if lacks_namespaces("one_family_that_fails_is_a_warning") {
        return;
    }
    // No interface of this host has the advertised address, and the system has no choice for IPv4.
    let namespaces = pair_without_routes();
    let folder = tempfile::tempdir().unwrap();
    let flags = ["-advertise=192.0.2.7"];
    let agent = start(
        &namespaces[0],
        Path::new(COTTAR),
        1,
        "0.0.0.0",
        &flags,
        folder.path(),
    );
    agent
        .await_text("[WARN] agent.mdns: Listening without one family: 224.0.0.251: no such device");
}

/// What a host that is no node of ours sees: the same bytes from both.
#[test]
fn answers_are_those_of_the_reference() {
    let test = "answers_are_those_of_the_reference";
    let serf = reference();
    if lacks_namespaces(test) || is_missing(test, "`serf` on the path", serf.is_some()) {
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
    let heard: Vec<Vec<(String, Option<String>)>> = [serf.unwrap(), PathBuf::from(COTTAR)]
        .iter()
        .map(|program| {
            let namespaces = Namespace::pair();
            let folder = tempfile::tempdir().unwrap();
            let _agent = start(&namespaces[0], program, 1, "10.99.0.1", &[], folder.path());
            namespaces[1].enter(|| {
                questions
                    .iter()
                    .map(|(what, question)| (what.clone(), ask(question)))
                    .collect()
            })
        })
        .collect();
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

/// The answer in hex. Each question is followed by one that is answered for sure, so that silence needs
/// no waiting.
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

/// Somebody who answers with a node that is not there.
#[test]
fn a_node_that_is_not_there_is_told() {
    if lacks_namespaces("a_node_that_is_not_there_is_told") {
        return;
    }
    let namespaces = Namespace::pair();
    let folder = tempfile::tempdir().unwrap();
    // A real answer, of a node that is killed before anybody can join it.
    let ghost = start(
        &namespaces[0],
        Path::new(COTTAR),
        1,
        "10.99.0.1",
        &[],
        folder.path(),
    );
    let answer = namespaces[1].enter(|| ask(&question("_serf_cl1._tcp.local", 12, 0)).unwrap());
    drop(ghost);
    let answer: Vec<u8> = (0..answer.len() / 2)
        .map(|at| u8::from_str_radix(&answer[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let agent = namespaces[0].enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:5353").unwrap();
        let group = "224.0.0.251".parse().unwrap();
        socket
            .join_multicast_v4(&group, &"10.99.0.1".parse().unwrap())
            .unwrap();
        let args = ["-mdns-disable-ipv6"];
        let agent = start(
            &namespaces[1],
            Path::new(COTTAR),
            2,
            "10.99.0.2",
            &args,
            folder.path(),
        );
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let (_, asker) = socket.recv_from(&mut [0; 9000]).unwrap();
        socket.send_to(&answer, asker).unwrap();
        agent
    });
    agent.await_text("[INFO] agent: joining: [10.99.0.1:7946] replay: false");
    agent.await_text("[ERR] agent.mdns: Failed to join: 1 error occurred:");
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
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
        let mut command = std::process::Command::new(COTTAR);
        command.args(["agent", "-bind=127.0.0.1:0"]).args(args);
        let mut agent = Agent::start(command, folder.path(), "refused");
        assert_eq!(agent.await_end(), Some(1));
        assert_eq!(agent.stdout(), why);
    }
    if lacks_namespaces("what_cannot_work_is_refused_at_the_start, without a network") {
        return;
    }
    let [alone, other] = Namespace::pair();
    drop(other);
    let mut command = alone.command(COTTAR);
    command.args([
        "agent",
        "-bind=127.0.0.1:0",
        "-discover=c",
        "-mdns-disable-ipv6",
    ]);
    command.args(["-mdns-iface=lo", "-rpc-addr=127.0.0.1:0"]);
    let agent = Agent::start(command, folder.path(), "alone");
    agent.await_text("Starting mDNS listener on interface lo");
}
