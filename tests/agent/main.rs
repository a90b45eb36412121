//! Live agents on loopback: the banner, the ways to fail, signals, joins, handlers, and readers that
//! stop reading.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../live/mod.rs"]
mod live;

mod check;
mod config;
mod directories;
mod files;
mod handler_runs;
mod harness;
mod idle;
mod joining;
mod journal;
mod json;
mod labels;
mod old_kernels;
mod on_demand;
mod processes;
mod readers;
mod settings;
mod slow_handlers;
mod sockets;
mod starts;
mod sync;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use live::{Agent, PATIENCE, content};

/// Starts an agent and waits until it serves.
fn start(name: &str, more: &[&str]) -> Agent {
    let name = format!("-node={name}");
    Agent::start(&[&[&name[..]], more].concat())
}

/// The gossip address of an agent with a port that the kernel chose, from its banner.
fn shown(agent: &Agent) -> SocketAddr {
    let text = agent.text();
    let (_, rest) = text.split_once("Bind addr: '").unwrap();
    rest.split('\'').next().unwrap().parse().unwrap()
}

/// Performs the handshake on an RPC connection.
fn handshake(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"\x82\xa7Command\xa9handshake\xa3Seq\x01\x81\xa7Version\x01")?;
    let mut reply = [0; 13];
    stream.read_exact(&mut reply)?;
    assert_eq!(&reply, b"\x82\xa5Error\xa0\xa3Seq\x01");
    Ok(())
}

fn serves_rpc(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).is_ok_and(|mut stream| handshake(&mut stream).is_ok())
}

fn lines_of(path: &Path) -> Vec<String> {
    content(path).lines().map(str::to_owned).collect()
}
