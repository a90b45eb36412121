//! RPC sessions over a real node, in virtual time and without sockets (agent spec 2).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod access;
mod commands;
mod harness;
mod limits;
mod monitor;
mod noise;
mod queries;
#[path = "../data/rpc_vectors.rs"]
mod rpc_vectors;
mod runs;
mod sessions;
mod types;
mod value;
mod vectors;
