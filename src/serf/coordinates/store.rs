//! The coordinates of this node and of other members, learned from the acks of probes (gossip spec 5.13).

use super::{CoordinateClient, Latencies};
use crate::ordered::OrderedMap;
use crate::serf::Serf;
use crate::serf::gossip::Sample;
use crate::serf::membership::members::Members;
use crate::time::Duration;
use crate::wire::coordinate::Coordinate;
use crate::wire::{DecodeError, NodeName};

/// This node's coordinate, and those of the members that were probed.
#[derive(Debug, Default)]
pub(in crate::serf) struct Coordinates {
    client: CoordinateClient,
    others: OrderedMap<NodeName, Box<Probed>>,
}

#[derive(Debug)]
struct Probed {
    /// The last coordinate received.
    coordinate: Coordinate,
    latencies: Latencies,
}

impl Coordinates {
    pub(in crate::serf) fn resets(&self) -> u64 {
        self.client.resets()
    }

    pub(in crate::serf) fn get(&self, name: &[u8], local: &NodeName) -> Option<&Coordinate> {
        if name == local.as_bytes() {
            return Some(self.client.own());
        }
        self.others.get(name).map(|probed| &probed.coordinate)
    }

    pub(in crate::serf) fn check_invariants(&self, members: &Members) {
        let mut names = self.others.keys();
        assert!(names.all(|name| members.record(name.as_bytes()).is_some()));
    }
}

impl Serf {
    /// Processes the coordinate in an ack, or the error of decoding it.
    pub(in crate::serf) fn learn_coordinate(
        &mut self,
        node: &NodeName,
        rtt: Duration,
        coordinate: Result<Coordinate, DecodeError>,
    ) {
        let Some(coordinates) = &mut self.coordinates else {
            return;
        };
        let coordinate = match coordinate {
            Ok(coordinate) => coordinate,
            Err(error) => {
                log::debug!(target: "serf", "Ignoring the coordinate of {node}: {error:?}");
                self.counters.refused_coordinates += 1;
                return;
            }
        };
        self.counters.zero_round_trips += u64::from(rtt.is_zero());
        let before = coordinates.client.own().clone();
        let probed = coordinates.others.get(node);
        let mut latencies = probed.map_or_else(Latencies::default, |probed| probed.latencies);
        let client = &mut coordinates.client;
        let updated = client.update(&mut latencies, &coordinate, rtt, &mut self.rng);
        if let Err(why) = updated {
            log::debug!(target: "serf", "Rejecting the coordinate of {node}: {why}");
            self.counters.refused_coordinates += 1;
            return;
        }
        let moved = super::distance(&before, coordinates.client.own());
        self.samples.push(Sample::Moved(moved));
        let probed = Probed {
            coordinate,
            latencies,
        };
        coordinates.others.insert(node.clone(), Box::new(probed));
        self.publish_coordinate();
    }

    /// Sets the coordinate that this node's acks carry from now on.
    pub(in crate::serf) fn publish_coordinate(&mut self) {
        let own = self
            .coordinates
            .as_ref()
            .map(|coordinates| coordinates.client.own());
        self.repair.set_coordinate(own.map(Coordinate::encode));
    }

    pub(in crate::serf) fn forget_coordinate(&mut self, node: &NodeName) {
        if let Some(coordinates) = &mut self.coordinates {
            coordinates.others.remove(node);
        }
    }
}
