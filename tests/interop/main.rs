//! Clusters of cottar and the reference agent: one suite, and every scenario says which of the two plays
//! which node.
//!
//! `COTTAR_INTEROP=require` turns a missing reference into a failure, `COTTAR_SERF` names its binary,
//! `COTTAR_INTEROP_CAST=serf` lets the reference play every part (that is how the suite itself is
//! checked), `COTTAR_PATIENCE=n` stretches every deadline by that (by four unless set).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod afterwards;
mod cli;
mod encryption;
mod events;
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
