//! Whole clusters of the pure core in virtual time, from one seed.
//!
//! The simulator takes the place of the shell: it transports the bytes that the nodes send, loses,
//! duplicates, delays and truncates them depending on the seed, and keeps the clock. Everything that happens
//! is recorded in a history, which the checkers examine afterwards.
//!
//! In some seeds up to half of the nodes behave like the reference, and in some one node is a liar, or also
//! forges states and membership messages. Checkers then demand only what is promised in their presence.
//!
//! `COTTAR_SIM_SEEDS=n` sets the number of seeds of the swarm (64 by default), `COTTAR_SIM_FROM=x` the first
//! of them (0 by default), `COTTAR_SIM_SEED=x` runs that seed alone, and `COTTAR_SIM_LOG=debug` (or another
//! level) prints the nodes' logs. `COTTAR_SCALE_NODES=n` is for the ignored test `scale::scale`.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checkers;
mod cluster;
mod handlers;
mod history;
mod join_gossip;
mod key_rotation;
mod network;
mod rejoin;
mod scale;
mod slow_handler;
mod stories;
mod swarm;
mod trace;
