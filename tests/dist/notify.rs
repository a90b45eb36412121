//! The agent's notifications to a service manager, for which a socket of the test stands in.

use crate::live::{Agent, Kind, PATIENCE, Spec, content, free, wait_until};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::path::Path;

struct Manager {
    socket: UnixDatagram,
    /// The value of `NOTIFY_SOCKET`.
    name: String,
}

impl Manager {
    fn at(path: &Path) -> Self {
        let name = path.to_str().unwrap().to_owned();
        Manager::over(UnixDatagram::bind(path).unwrap(), name)
    }

    fn in_no_file_system(name: &str) -> Self {
        let addr = UnixAddr::from_abstract_name(name).unwrap();
        Manager::over(UnixDatagram::bind_addr(&addr).unwrap(), format!("@{name}"))
    }

    fn over(socket: UnixDatagram, name: String) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, name }
    }

    fn start(&self, args: &[&str]) -> Agent {
        let spec = Spec::bare(Kind::Cottar).args(args);
        spec.env("NOTIFY_SOCKET", &self.name).launch()
    }

    /// Returns the next message, one assignment per line.
    #[track_caller]
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let len = self.socket.recv(&mut bytes).expect("a message");
        let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// Asserts that no unread message has arrived. Any message would have been sent before an event for which
    /// the caller has already waited.
    #[track_caller]
    fn assert_silent(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        let got = self.socket.recv(&mut bytes);
        assert!(got.is_err(), "{}", String::from_utf8_lossy(&bytes));
        self.socket.set_nonblocking(false).unwrap();
    }
}

fn monotonic_micros() -> u64 {
    // Read from the kernel; the same clock as the agent's.
    let text = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    (seconds * 1e6) as u64
}

#[test]
fn a_life_is_reported_to_an_abstract_socket() {
    let manager = Manager::in_no_file_system(&format!("cottar-test-{}", free()));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.json");
    fs::write(&file, "{}").unwrap();
    let agent = manager.start(&["-config-file", file.to_str().unwrap()]);
    assert_eq!(manager.next(), ["READY=1", "STATUS=Serving"]);
    // The agent is ready once it serves RPC clients.
    assert!(agent.call("members", &[]).0);

    agent.signal(libc::SIGHUP);
    let reloading = manager.next();
    assert_eq!(reloading[0], "RELOADING=1");
    let at = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    let (at, now) = (at.parse::<u64>().unwrap(), monotonic_micros());
    assert!(at.abs_diff(now) < 60_000_000, "{at} but it is {now}");
    assert_eq!(reloading[2], "STATUS=Reloading");
    assert_eq!(manager.next(), ["READY=1", "STATUS=Serving"]);

    fs::write(&file, "{\"no_such_key\": 1}").unwrap();
    agent.signal(libc::SIGHUP);
    assert_eq!(manager.next()[0], "RELOADING=1");
    let failed = manager.next();
    assert_eq!(failed[0], "READY=1");
    assert!(
        failed[1].starts_with("STATUS=Serving; the last reload failed: Error decoding"),
        "{failed:?}"
    );

    assert_eq!(agent.end(libc::SIGINT), 0);
    assert_eq!(manager.next(), ["STOPPING=1", "STATUS=Leaving the cluster"]);
    manager.assert_silent();
}

#[test]
fn readiness_follows_the_join_and_is_hidden_from_handlers() {
    let peer = Agent::start(&["-node=peer"]);
    // Accepts the connection and sends nothing, so that the join lasts until this end is closed.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow: SocketAddr = silent.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let manager = Manager::at(&directory.path().join("notify"));
    let seen = directory.path().join("environment");
    let handler = format!(
        "user:look=env >'{0}.new' && mv '{0}.new' '{0}'",
        seen.display()
    );
    let agent = manager.start(&[
        "-node=joiner",
        &format!("-join={slow}"),
        &format!("-join={}", peer.gossip),
        &format!("-event-handler={handler}"),
    ]);
    assert_eq!(manager.next(), ["STATUS=Joining the cluster"]);
    let (connection, _) = silent.accept().unwrap();
    // A reload during the join must not report the agent as serving.
    agent.signal(libc::SIGHUP);
    agent.wait_for("==> Reloading configuration...");
    assert!(agent.call("members", &[]).0, "the reload is over");
    manager.assert_silent();
    drop((connection, silent));
    assert_eq!(manager.next(), ["READY=1", "STATUS=Serving"]);
    assert!(agent.sees("peer", "alive"), "{}", agent.text());

    assert!(agent.call("event", &["look"]).0);
    wait_until("the handler", || seen.exists());
    let environment = content(&seen);
    assert!(environment.contains("SERF_USER_EVENT=look"));
    assert!(!environment.contains("NOTIFY_SOCKET"), "{environment}");

    // The agent notifies the manager of every kind of end.
    assert_eq!(agent.end(libc::SIGTERM), 1);
    assert_eq!(manager.next(), ["STOPPING=1", "STATUS=Ending"]);
    manager.assert_silent();
}

#[test]
fn a_leave_over_rpc_is_the_end_too() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Manager::at(&directory.path().join("notify"));
    let agent = manager.start(&[]);
    assert_eq!(manager.next()[0], "READY=1");
    assert!(agent.call("leave", &[]).0);
    assert_eq!(agent.exit_code(), 0);
    assert_eq!(manager.next(), ["STOPPING=1", "STATUS=Left"]);
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let directory = tempfile::tempdir().unwrap();
    let manager = Manager::at(&directory.path().join("notify"));
    let nobody = free();
    let agent = manager.start(&[&format!("-join={nobody}")]);
    assert_eq!(agent.exit_code(), 1);
    assert_eq!(manager.next(), ["STATUS=Joining the cluster"]);
    assert_eq!(manager.next(), ["STOPPING=1", "STATUS=Ending"]);
    manager.assert_silent();
}

#[test]
fn an_unusable_notify_socket_stops_nothing() {
    for name in [
        "/nonexistent/notify",
        "relative",
        "@nobody listens here",
        "",
    ] {
        let spec = Spec::bare(Kind::Cottar).env("NOTIFY_SOCKET", name);
        let agent = spec.launch();
        let text = agent.wait_for("Log data will now stream in");
        assert!(agent.call("members", &[]).0, "{name:?}: {text}");
        let complaint = "Cannot notify the service manager";
        if name.is_empty() {
            assert!(!agent.text().contains(complaint));
        } else {
            agent.wait_for(complaint);
        }
        assert_eq!(agent.end(libc::SIGINT), 0);
    }
}
