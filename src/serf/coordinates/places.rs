//! The coordinates of this node and of other members, learned from the acks of probes (gossip spec 5.13).

use super::{CoordinateClient, Latencies};
use crate::ordered::OrderedMap;
use crate::serf::Serf;
use crate::serf::coordinates;
use crate::serf::gossip::Sample;
use crate::serf::membership::members::Members;
use crate::time::Duration;
use crate::wire::coordinate::Coordinate;
use crate::wire::{DecodeError, NodeName};

/// This node's coordinate, and those of the members that were probed.
#[derive(Debug, Default)]
pub(in crate::serf) struct Places {
    client: CoordinateClient,
    others: OrderedMap<NodeName, Box<Probed>>,
}

#[derive(Debug)]
struct Probed {
    /// The last coordinate received.
    coordinate: Coordinate,
    latencies: Latencies,
}

impl Places {
    pub(in crate::serf) fn resets(&self) -> u64 {
        self.client.resets()
    }

    pub(in crate::serf) fn place(&self, name: &[u8], local: &NodeName) -> Option<&Coordinate> {
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
    pub(in crate::serf) fn learn_place(
        &mut self,
        node: &NodeName,
        rtt: Duration,
        place: Result<Coordinate, DecodeError>,
    ) {
        let Some(places) = &mut self.places else {
            return;
        };
        let place = match place {
            Ok(place) => place,
            Err(error) => {
                log::debug!(target: "serf", "Ignoring the coordinate of {node}: {error:?}");
                self.counters.refused_coordinates += 1;
                return;
            }
        };
        self.counters.zero_round_trips += u64::from(rtt.is_zero());
        let before = places.client.own().clone();
        let probed = places.others.get(node);
        let mut latencies = probed.map_or_else(Latencies::default, |probed| probed.latencies);
        let client = &mut places.client;
        let updated = client.update(&mut latencies, &place, rtt, &mut self.rng);
        if let Err(why) = updated {
            log::debug!(target: "serf", "Rejecting the coordinate of {node}: {why}");
            self.counters.refused_coordinates += 1;
            return;
        }
        let moved = coordinates::distance(&before, places.client.own());
        self.samples.push(Sample::Moved(moved));
        let probed = Probed {
            coordinate: place,
            latencies,
        };
        places.others.insert(node.clone(), Box::new(probed));
        self.tell_own_place();
    }

    /// Sets the coordinate that this node's acks carry from now on.
    pub(in crate::serf) fn tell_own_place(&mut self) {
        let own = self.places.as_ref().map(|places| places.client.own());
        self.repair.set_coordinate(own.map(Coordinate::encode));
    }

    pub(in crate::serf) fn forget_place(&mut self, node: &NodeName) {
        if let Some(places) = &mut self.places {
            places.others.remove(node);
        }
    }
}
