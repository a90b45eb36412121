//! Whole clusters of the pure core in virtual time, from one seed (DESIGN section 8).
//!
//! The simulator takes the place of the shell: it carries the bytes that the nodes emit, loses,
//! doubles, delays and cuts them as the seed says, and keeps the clock. What happened is written
//! into a history, which the checkers judge afterwards.
//!
//! In some seeds up to half of the nodes behave like the reference, and in some one node lies, or forges states
//! and membership messages, too. Checkers then demand what is promised beside such nodes.
//!
//! `COTTAR_SIM_SEEDS=n` sets how many seeds the swarm runs (64 by default), `COTTAR_SIM_FROM=x` the
//! first of them (0 by default), `COTTAR_SIM_SEED=x` runs that one alone, and `COTTAR_SIM_LOG=debug` (or
//! another level) prints what the nodes log. `COTTAR_SCALE_NODES=n` is for the ignored test `scale::scale`.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checkers;
mod cluster;
mod handlers;
mod history;
mod key_rotation;
mod missed;
mod network;
mod rejoin;
mod scale;
mod slow_handler;
mod stories;
mod swarm;
mod trace;
