//! Network coordinates (gossip spec 5.13): the formulas, and the stored coordinates of members.

pub(super) mod store;
mod vivaldi;

pub use vivaldi::{CoordinateClient, ERROR_MAX, HEIGHT_MIN, Latencies, RTT_MAX, Refused, distance};
