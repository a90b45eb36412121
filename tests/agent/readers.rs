//! Readers and clients that stop reading, and too many clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::live::{COTTAR, Kind, Output, PATIENCE, Process, Spec, wait_until};
use crate::{handshake, serves_rpc, start};

/// Starts an agent with verbose logging whose stdout is a pipe of the test. Returns once its banner has
/// shown its gossip and RPC addresses.
fn talkative() -> (Process, BufReader<ChildStdout>, (SocketAddr, SocketAddr)) {
    let mut command = Command::new(COTTAR);
    command
        .args(["agent", "-node=n1", "-log-level=trace"])
        .args(["-bind=127.0.0.1:0", "-rpc-addr=127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let process = Process::spawn(&mut command).unwrap();
    let mut reader = BufReader::new(process.child().stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("RPC addr") {
        assert!(reader.read_line(&mut text).unwrap() > 0, "{text}");
    }
    let quoted: Vec<&str> = text.split('\'').collect();
    let addrs = (quoted[3].parse().unwrap(), quoted[5].parse().unwrap());
    (process, reader, addrs)
}

#[track_caller]
fn interrupt(process: &Process) {
    process.signal(libc::SIGINT);
    wait_until("the end", || process.status().is_some());
    assert_eq!(process.status().unwrap().code(), Some(0));
}

#[test]
fn a_closed_stdout_is_no_reason_to_stop() {
    let (process, reader, (_, rpc)) = talkative();
    drop(reader);
    for _ in 0..20 {
        assert!(serves_rpc(rpc));
    }
    interrupt(&process);
}

#[test]
fn a_reader_of_stdout_that_stops_does_not_stop_the_agent() {
    let (process, reader, (gossip, rpc)) = talkative();
    // Causes more log lines than fit into the pipe and into the agent's buffer: each client and each bad
    // datagram causes one.
    let junk = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 0..300 {
        for _ in 0..50 {
            junk.send_to(&[0xee; 64], gossip).unwrap();
        }
        assert!(serves_rpc(rpc), "round {round}");
    }
    // When the pipe is read again, the buffered lines arrive, then the number of lost lines, and further
    // lines.
    let output = Output::copy_of(reader);
    let has = |line: &str| output.look(|text| text.contains(line));
    wait_until("how much was lost", || {
        has("lines lost: stdout was not read in time\n")
    });
    interrupt(&process);
    wait_until("the last lines", || has("==> Caught signal: interrupt"));
}

#[test]
fn datagrams_dropped_by_the_kernel_are_reported() {
    let agent = start("flooded", &[]);
    let info = || agent.call("info", &[]).1;
    assert!(!info().contains("lost:"), "{}", info());
    // More than a receive buffer holds, while the agent is stopped.
    agent.signal(libc::SIGSTOP);
    let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..10_000 {
        flood.send_to(&[255; 1400], agent.gossip).unwrap();
    }
    agent.signal(libc::SIGCONT);
    agent.wait_for("lost in the receive buffer");
    let info = info();
    assert!(info.contains("lost:\n"), "{info}");
    assert!(!info.contains("packets_unread = 0"), "{info}");
    assert!(info.contains("packets_unsent = 0"), "{info}");
}

#[test]
fn accepting_pauses_when_descriptors_run_out() {
    let spec = Spec::bare(Kind::Cottar).name("n1");
    let agent = spec.after("ulimit -n 40").start();
    let rpc = agent.rpc;
    let clients: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(rpc).unwrap()).collect();
    agent.wait_for("too many open files");
    drop(clients);
    assert!(serves_rpc(rpc));
}

#[test]
fn a_client_that_does_not_read_does_not_affect_others() {
    let agent = start("n1", &[]);
    let mut deaf = TcpStream::connect(agent.rpc).unwrap();
    handshake(&mut deaf).unwrap();
    deaf.set_nonblocking(true).unwrap();
    // Sends requests without reading replies, until the agent stops reading as well.
    let request = b"\x82\xa7Command\xa7members\xa3Seq\x02".repeat(1000);
    let quiet = Duration::from_millis(300);
    let deadline = Instant::now() + PATIENCE;
    let mut last_write = Instant::now();
    while last_write.elapsed() < quiet {
        assert!(Instant::now() < deadline, "the agent reads without end");
        match deaf.write(&request) {
            Ok(_) => last_write = Instant::now(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(5));
            }
            // The agent closed the connection, which is allowed as well.
            Err(_) => break,
        }
    }
    assert!(serves_rpc(agent.rpc));
    let resident = Process::resident_kb(agent.pid());
    assert!(resident < 64 << 10, "{resident} kB");
}

#[test]
fn a_client_that_closes_its_side_early_gets_its_answers() {
    let agent = start("n1", &[]);
    let mut client = TcpStream::connect(agent.rpc).unwrap();
    client
        .write_all(b"\x82\xa7Command\xa9handshake\xa3Seq\x01\x81\xa7Version\x01")
        .unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"\x82\xa5Error\xa0\xa3Seq\x01");
}
