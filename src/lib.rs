//! cottar: a cluster agent that joins HashiCorp Serf clusters as an equal and runs event handlers.
//!
//! # Overview
//!
//! `src/spec` describes the protocol and the behaviour of the reference that cottar implements; comments cite
//! it by section.
//!
//! The core implements the protocol as pure state machines: input is bytes, time and a seed, output is bytes
//! and events. So a simulator can run whole clusters and reproduce every run.
//!
//! | module | content |
//! |---|---|
//! | [`time`], [`rng`], [`go`] | instants, seeded randomness, the reference's format of durations, quotes |
//! | [`json`] | JSON as the reference prints it |
//! | [`count`] | counts with a noun, for messages |
//! | [`ordered`] | ordered maps, sets and tables that generate little machine code |
//! | [`wire`] | encoding and decoding of messages, and all limits on input from peers |
//! | [`swim`] | membership and failure detection: SWIM with Lifeguard |
//! | [`serf`] | members, tags, intents, user events, queries; owns a `Swim`; the contract with the shell |
//! | [`handler`] | which script runs for which event, when, with which input; what its exit status means |
//! | [`rpc`] | requests, replies and records of the RPC port |
//!
//! The shell around it handles sockets, processes, files and clocks:
//!
//! | module | content |
//! |---|---|
//! | [`os`] | system calls, clocks, signals, error texts |
//! | [`agent`] | the event loop: gossip sockets, RPC clients, one handler at a time, signals, settings, log |
//! | [`cli`] | the table of commands and flags, a blocking RPC client, output as text and JSON |
//!
//! Dependencies go one way: `time`, `rng`, `json`, `ordered`, `count` ← `wire` ← `swim` ← `serf` ← `handler`
//! ← `os` ← `agent` ← `cli`, with `rpc` beside `handler`. The core uses no socket, file, process, thread or
//! clock, and only `os::sys` contains `unsafe` code.
//!
//! # Data flow
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
