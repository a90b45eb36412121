//! cottar: a cluster agent that joins HashiCorp Serf clusters as an equal and runs event handlers.
#![deny(unsafe_code)]

pub mod handler;
pub mod rng;
pub mod rpc;
pub mod serf;
pub mod swim;
pub mod time;
pub mod wire;
