//! cottar: a cluster agent that joins HashiCorp Serf clusters as an equal and runs event handlers.
//!
//! # The map
//!
//! The protocol and the behaviour of the reference that cottar keeps to are described in `src/spec`, which
//! comments cite by section.
//!
//! The core holds the protocol. It is made of pure state machines: bytes, time and a seed go in, bytes and
//! events come out, so that a simulator can run whole clusters of it and repeat every run.
//!
//! | module | what it knows |
//! |---|---|
//! | [`time`], [`rng`], [`go`] | instants, seeded choices, durations and quoting as the reference writes them |
//! | [`json`] | JSON as the reference prints it |
//! | [`count`] | numbers of things in messages |
//! | [`ordered`] | maps and sets in the order of their keys, in little machine code |
//! | [`wire`] | bytes and messages, in both directions, and every limit on what a peer may send |
//! | [`swim`] | who is in the cluster and who answers: SWIM with Lifeguard |
//! | [`serf`] | members, tags, intents, user events, queries; owns a `Swim`; the contract with the shell |
//! | [`handler`] | which script runs for which event, when, with what, and what its end means |
//! | [`rpc`] | requests, replies and records of the RPC port |
//!
//! The shell around it has the sockets, processes, files and clocks:
//!
//! | module | what it does |
//! |---|---|
//! | [`os`] | system calls, clocks, signals, the texts of errors |
//! | [`agent`] | one loop: gossip sockets, RPC clients, one handler at a time, signals, settings, log |
//! | [`cli`] | one table of commands and flags, a blocking RPC client, output as text and JSON |
//!
//! Dependence goes one way: `time`, `rng`, `json`, `ordered`, `count` ← `wire` ← `swim` ← `serf` ← `handler` ← `os` ← `agent` ←
//! `cli`, with `rpc` beside `handler`. Nothing in the core names a socket, file, process, thread or clock, and `unsafe`
//! is found in `os::sys` alone.
//!
//! # The way of the data
//!
//! Sockets → `agent::net` → [`serf::Input`] → `wire` → `swim` → `serf` → [`serf::Event`] → RPC streams and
//! [`handler::HandlerQueue`] → a script → its output → [`serf::Command::Respond`] → `wire` → sockets.

#![deny(unsafe_code)]

pub mod agent;
pub mod cli;
pub mod count;
pub mod go;
pub mod handler;
pub mod json;
pub mod ordered;
pub mod os;
pub mod rng;
pub mod rpc;
pub mod serf;
pub mod swim;
pub mod time;
pub mod wire;
