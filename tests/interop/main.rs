//! Clusters of cottar and the reference agent. Every scenario lists its casts: which program plays which
//! node.
//!
//! `COTTAR_INTEROP=require` makes a missing reference a failure, `COTTAR_SERF` gives its path,
//! `COTTAR_INTEROP_CAST=serf` makes the reference play every node (to check the suite itself), and
//! `COTTAR_PATIENCE=n` multiplies every deadline (by four by default).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cli;
mod encryption;
mod events;
mod events_while_away;
mod failure;
mod garbage;
mod handlers;
mod keys;
mod life;
#[path = "../live/mod.rs"]
mod live;
mod membership;
#[path = "../data/noise.rs"]
mod noise;
mod order;
mod partition;
mod queries;
mod scale;
mod surroundings;
