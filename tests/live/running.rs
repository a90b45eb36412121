//! An agent of either program, for suites that ask it by its RPC alone.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A running agent; ends with the test.
pub struct Agent {
    pub process: Child,
    pub gossip: SocketAddr,
    pub rpc: SocketAddr,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Agent {
    /// With these addresses for gossip and for RPC, once it runs.
    pub fn start_at(
        mut program: Command,
        name: &str,
        (gossip, rpc): (SocketAddr, SocketAddr),
        flags: &[&str],
    ) -> Agent {
        let mut process = program
            .arg("agent")
            .arg(format!("-node={name}"))
            .arg(format!("-bind={gossip}"))
            .arg(format!("-rpc-addr={rpc}"))
            .args(flags)
            .env_remove("SERF_RPC_ADDR")
            .env_remove("SERF_RPC_AUTH")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        let agent = Agent {
            process,
            gossip,
            rpc,
        };
        let (line_sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = line_sender.send(line);
            }
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut log = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) if line.contains("Serf agent running!") => return agent,
                Ok(line) => log.push(line),
                Err(_) => panic!("the agent does not start: {log:#?}"),
            }
        }
    }
}
