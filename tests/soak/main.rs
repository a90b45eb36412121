//! Events under chaos: agents are killed, stopped, made to leave and started again at random while events
//! with unique names are fired, and every run of a handler is checked against the promises of the delivery
//! spec ("Promises").
//!
//! `make soak` sets the variables; see [`settings::Settings`]. A run prints its seed. The same seed gives the
//! same plan, but the timing still varies.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod agent;
mod askers;
mod chaos;
mod history;
mod judge;
#[path = "../live/mod.rs"]
mod live;
mod membership;
mod network;
#[allow(dead_code)]
#[path = "../data/noise.rs"]
mod noise;
mod plan;
mod report;
#[allow(dead_code)]
#[path = "../../benches/bench/rpc.rs"]
mod rpc;
mod runs;
mod settings;

use settings::Settings;

/// A short chaos of cottars alone that lose datagrams.
#[test]
fn cottars_keep_their_promises_under_loss() {
    short(&Settings::short("CCCCCCCC"), 10);
}

/// A short chaos of cottars in a cluster with the reference.
#[test]
fn cottars_keep_their_promises_among_serfs() {
    short(&Settings::short("CSCSCSCS"), 0);
}

fn short(settings: &Settings, loss: u8) {
    let name = format!("soak {}", settings.cast);
    if !network::is_impossible(&name, settings.cast.contains('S')) {
        assert_eq!(chaos::run(settings, loss), 0, "broken promises, see above");
    }
}

/// What `make soak` runs: one soak for each loss.
#[test]
#[ignore = "takes minutes; see make soak"]
fn soak() {
    let settings = Settings::from_env();
    if network::is_impossible("soak", settings.cast.contains('S')) {
        return;
    }
    let mut broken = 0;
    for loss in &settings.losses {
        broken += chaos::run(&settings, *loss);
    }
    assert_eq!(broken, 0, "broken promises, see above");
}
