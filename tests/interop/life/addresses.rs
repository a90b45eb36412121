//! The address that a node advertises, and where it is reachable, on hosts with several addresses.

use crate::live::namespace::{own_network, system};
use crate::live::{Kind, Lab, Process, eventually, patience, reference, run};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// Creates two interfaces without addresses.
fn make_interfaces() {
    system("ip link add va type veth peer name vb && ip link add vc type veth peer name vd");
    system("for x in va vb vc vd; do ip link set $x up; done");
}

/// Runs commands of `ip`, separated by semicolons, on interfaces without addresses.
fn set_up(lines: &str) {
    system("ip address flush dev va && ip address flush dev vc");
    // Skips duplicate address detection: no other host has these addresses.
    system("ip -6 address flush dev va; ip -6 address flush dev vc");
    for line in lines.split(';') {
        system(&format!("ip {line}"));
    }
}

/// Returns the address that a node reports after joining its own cluster, or its whole output if it exits.
fn advertised(folder: &Path, program: &Path, args: &[&str]) -> Result<String, String> {
    let log = folder.join("advertised.log");
    let output = std::fs::File::create(&log).unwrap();
    let mut command = Command::new(program);
    command
        .args(["agent", "-node=n", "-rpc-addr=127.0.0.1:0"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output);
    let process = Process::spawn(&mut command).expect("an agent");
    eventually(20.0, "an address", || {
        let text = std::fs::read_to_string(&log).unwrap();
        let joined = text
            .split_once("EventMemberJoin: n ")
            .and_then(|(_, rest)| rest.split_once('\n'));
        match (joined, process.status()) {
            (Some((address, _)), _) => Ok(Ok(address.to_owned())),
            (None, Some(_)) => Ok(Err(text)),
            (None, None) => Err(text),
        }
    })
}

/// Compares the address that cottar advertises with the expected one; `as_the_reference`: the reference must
/// advertise it, too.
fn check(lab: &Lab, network: &str, args: &[&str], expected: &str, as_the_reference: bool) {
    set_up(network);
    let ours = advertised(lab.path(), &Kind::Cottar.program(), args);
    assert_eq!(ours.as_deref(), Ok(expected), "{network} {args:?}");
    if as_the_reference && reference().is_some() {
        let theirs = advertised(lab.path(), &Kind::Serf.program(), args);
        assert_eq!(theirs.as_deref(), Ok(expected), "{network} {args:?}");
    }
}

#[test]
fn the_hosts_own_address_is_advertised() {
    own_network(
        "life::addresses::the_hosts_own_address_is_advertised",
        || {
            let lab = Lab::new("advertised", "C");
            make_interfaces();
            let two = "addr add 192.168.1.10/24 dev va; addr add 10.0.0.5/24 dev vc";
            let floating = "addr add 10.0.0.50/24 dev va; addr add 10.0.0.5/32 dev va";
            let routed = |route: &str| format!("{two}; route add default via {route}");
            let both = format!(
                "{}; route add default via 10.0.0.1 metric 600",
                routed("192.168.1.1 metric 100")
            );
            for (network, expected, as_the_reference) in [
                (
                    &*format!("{floating}; route add default via 10.0.0.1"),
                    "10.0.0.50",
                    true,
                ),
                (floating, "10.0.0.50", true),
                (
                    "addr add 10.0.0.5/32 dev va; addr add 10.0.0.50/24 dev va",
                    "10.0.0.50",
                    true,
                ),
                (
                    "addr add 10.0.0.50/24 dev va; addr add 10.0.0.5/24 dev va",
                    "10.0.0.50",
                    true,
                ),
                (two, "192.168.1.10", true),
                (&routed("10.0.0.1"), "10.0.0.5", true),
                (&both, "192.168.1.10", true),
                // Only the kernel knows about a preferred source, or a route of another table.
                (
                    "addr add 10.0.0.50/24 dev va; addr add 10.0.0.5/24 dev va; \
                 route add default via 10.0.0.1 src 10.0.0.5",
                    "10.0.0.5",
                    false,
                ),
                (
                    &format!(
                        "{two}; route add default via 10.0.0.1 table 100; rule add lookup 100"
                    ),
                    "10.0.0.5",
                    false,
                ),
                // A public address is never chosen unless it is configured.
                (
                    "addr add 203.0.114.9/24 dev va; addr add 10.9.0.5/24 dev va; \
                 addr add 10.0.0.5/16 dev vc; route add default via 203.0.114.1",
                    "10.9.0.5",
                    true,
                ),
            ] {
                check(
                    &lab,
                    network,
                    &["-bind=0.0.0.0:0"],
                    expected,
                    as_the_reference,
                );
            }
        },
    );
}

#[test]
fn ipv6_addresses_are_taken_where_there_are_no_others() {
    own_network(
        "life::addresses::ipv6_addresses_are_taken_where_there_are_no_others",
        || {
            let lab = Lab::new("IPv6", "C");
            make_interfaces();
            let local = "addr add fd00::10/64 dev va nodad";
            let both = format!("{local}; addr add 10.0.0.5/24 dev va");
            let iface = ["-bind=0.0.0.0:17946", "-iface=va"];
            let six = ["-bind=[::]:17946", "-iface=va"];
            check(&lab, local, &iface, "fd00::10", true);
            check(&lab, local, &["-iface=va"], "fd00::10", true);
            check(&lab, &both, &iface, "10.0.0.5", true);
            // Networks on which the reference does not start.
            check(&lab, &both, &six, "fd00::10", false);
            check(&lab, "addr add 10.0.0.5/24 dev va", &six, "10.0.0.5", false);
            check(&lab, local, &["-bind=:17946"], "fd00::10", false);
            let public = format!("{local}; addr add 2001:db8::5/64 dev va nodad");
            check(&lab, &public, &iface, "2001:db8::5", true);
            set_up("addr add 169.254.0.5/16 dev va");
            let refused = advertised(lab.path(), &Kind::Cottar.program(), &iface);
            let why = "Failed to find usable address for interface 'va'";
            assert!(refused.unwrap_err().contains(why));
        },
    );
}

#[test]
fn a_wildcard_is_reached_by_both_families() {
    own_network(
        "life::addresses::a_wildcard_is_reached_by_both_families",
        || {
            // The same where the system restricts IPv6 sockets to IPv6.
            system("echo 1 >/proc/sys/net/ipv6/bindv6only");
            make_interfaces();
            set_up("addr add fd00::10/64 dev va nodad; addr add 10.0.0.5/24 dev va");
            let lab = Lab::new("wildcards", "C");
            for any in ["", "0.0.0.0", "[::]"] {
                let args = [
                    format!("-bind={any}:17946"),
                    format!("-rpc-addr={any}:17373"),
                    "-advertise=[fd00::10]:17946".to_owned(),
                ];
                let node = lab.start(lab.spec(0).args(args));
                for host in ["127.0.0.1", "::1", "10.0.0.5", "fd00::10"] {
                    let ip: IpAddr = host.parse().unwrap();
                    for port in [17946, 17373] {
                        let connected = TcpStream::connect((ip, port));
                        assert!(connected.is_ok(), "{any}: {ip} {port}: {connected:?}");
                    }
                    if ip.is_loopback() {
                        continue;
                    }
                    // A peer that advertises this address, and is reached there.
                    let advertised = format!("-advertise={}", SocketAddr::new(ip, 17947));
                    let gossip = ([0, 0, 0, 0], 17947).into();
                    let target = SocketAddr::new(ip, 17946).to_string();
                    let rpc = ([127, 0, 0, 1], 17374).into();
                    let peer = lab.spec(0).name("peer").addresses(gossip, rpc);
                    let peer = lab.start(peer.args([&advertised, "-retry-join", &target]));
                    peer.await_log("Synced with 1 initial agents", 20.0);
                    node.await_log(&format!("EventMemberJoin: peer {ip}"), 20.0);
                    peer.signal(libc::SIGINT);
                    peer.await_exit(20.0);
                    node.await_log("EventMemberLeave: peer", 20.0);
                }
            }
        },
    );
}

#[test]
fn link_local_addresses_make_a_cluster_on_one_network() {
    own_network(
        "life::addresses::link_local_addresses_make_a_cluster_on_one_network",
        || {
            make_interfaces();
            for (name, address) in [("va", "fe80::a"), ("vb", "fe80::b")] {
                system(&format!("ip -6 address add {address}/64 dev {name} nodad"));
            }
            let lab = Lab::new("zones", "CC");
            let place = |address: &str| format!("-bind=[{address}]:17946");
            let first = lab.spec(0).args([place("fe80::a%va")]);
            let first = lab.start(first);
            // The zone also comes from the interface.
            let args = [
                &place("fe80::b"),
                "-iface=vb",
                "-advertise=:17946",
                "-retry-join=[fe80::a%vb]:17946",
                "-retry-join=[fe80::a%vc]:17946",
            ];
            let second = lab.start(lab.spec(1).args(args));
            second.await_log("Synced with 1 initial agents", 20.0);
            second.await_log("gossip is not bound to a link-local address", 20.0);
            first.await_log("EventMemberJoin: n2 fe80::b", 20.0);
            // Datagrams arrive in both directions.
            for node in [&first, &second] {
                let args = ["query", "-expect=all", "-fields=ack", "-strict", "x"];
                let mut command = node.command(Kind::Cottar, &args);
                let asked = run(&mut command, patience(20.0)).unwrap();
                assert_eq!(
                    (asked.code, asked.stdout.as_str()),
                    (0, "n1\nn2\n"),
                    "{asked:?}"
                );
            }
        },
    );
}
