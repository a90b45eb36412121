//! Tests of the complete node over the real membership layer, in virtual time and without a network.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod by_hand;
mod cluster;
mod continuing;
mod coordinates;
mod exchanges;
mod failures;
mod harness;
mod journalled;
mod keys;
mod knobs;
mod lost;
mod node;
mod noise;
mod order;
mod queries;
mod repair;
mod repeats;
mod snapshot;
mod stale_leaves;
