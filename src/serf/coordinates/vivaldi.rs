//! Network coordinates: Vivaldi with height, adjustment and gravity (gossip spec 5.13; Dabek et al.,
//! "Vivaldi: a decentralized network coordinate system", 2004).
//!
//! Distances are in seconds. The formulas are applied in the spec's order, operation by operation, so that
//! the results equal the reference's bit for bit.

use crate::rng::Rng;
use crate::time::Duration;
use crate::wire::coordinate::{Coordinate, DIMENSIONS};

/// Initial error, and upper bound of the error.
pub const ERROR_MAX: f64 = 1.5;
/// Minimum height, in seconds: the least latency of an access link.
pub const HEIGHT_MIN: f64 = 10.0e-6;
/// Weights of a sample in the error (`CONFIDENCE`) and in the position (`FORCE`).
const CONFIDENCE: f64 = 0.25;
const FORCE: f64 = 0.25;
/// Number of samples in the adjustment's average.
const ADJUSTMENT_WINDOW: usize = 20;
/// Number of round trips per node in the median filter.
const LATENCY_SAMPLES: usize = 3;
/// Distance from the origin at which gravity is one second.
const GRAVITY_RHO: f64 = 150.0;
/// Lower bound for distances and round trips in the formulas, in seconds.
const ZERO: f64 = 1.0e-6;
/// Longest round trip accepted.
pub const RTT_MAX: Duration = Duration::from_secs(10);

/// Why a sample was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The coordinate contains a number that is not finite.
    Invalid,
    /// The round trip is longer than [`RTT_MAX`].
    RoundTrip(Duration),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Invalid => f.write_str("coordinate is invalid"),
            Refused::RoundTrip(rtt) => {
                write!(f, "round trip of {rtt:?} is longer than {RTT_MAX:?}")
            }
        }
    }
}

fn initial() -> Coordinate {
    Coordinate {
        adjustment: 0.0,
        error: ERROR_MAX,
        height: HEIGHT_MIN,
        vec: [0.0; DIMENSIONS],
    }
}

fn magnitude(vec: &[f64; DIMENSIONS]) -> f64 {
    vec.iter()
        .map(|component| component * component)
        .sum::<f64>()
        .sqrt()
}

fn difference(a: &[f64; DIMENSIONS], b: &[f64; DIMENSIONS]) -> [f64; DIMENSIONS] {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

/// Returns the distance without adjustments, in seconds.
fn raw_distance(a: &Coordinate, b: &Coordinate) -> f64 {
    magnitude(&difference(&a.vec, &b.vec)) + a.height + b.height
}

/// Returns the estimated round-trip time between two nodes, in whole nanoseconds.
pub fn distance(a: &Coordinate, b: &Coordinate) -> Duration {
    let raw = raw_distance(a, b);
    let adjusted = raw + a.adjustment + b.adjustment;
    let seconds = if adjusted > 0.0 { adjusted } else { raw };
    // Truncates as the reference does; the cast saturates and turns NaN into 0.
    Duration::from_nanos((seconds * 1.0e9) as u64)
}

/// Moves `a` away from `b` by `force`, or towards it if negative.
fn apply_force(a: &mut Coordinate, force: f64, b: &Coordinate, rng: &mut Rng) {
    let (direction, separation) = direction(&a.vec, &b.vec, rng);
    for (component, unit) in a.vec.iter_mut().zip(direction) {
        *component += unit * force;
    }
    if separation > ZERO {
        a.height = ((a.height + b.height) * force / separation + a.height).max(HEIGHT_MIN);
    }
}

/// Returns the unit vector from `b` to `a` and their distance. The vector is random if the two are at the
/// same position.
fn direction(
    a: &[f64; DIMENSIONS],
    b: &[f64; DIMENSIONS],
    rng: &mut Rng,
) -> ([f64; DIMENSIONS], f64) {
    let apart = difference(a, b);
    let separation = magnitude(&apart);
    if separation > ZERO {
        return (
            apart.map(|component| component * (1.0 / separation)),
            separation,
        );
    }
    let random: [f64; DIMENSIONS] = std::array::from_fn(|_| rng.unit_f64() - 0.5);
    let length = magnitude(&random);
    if length > ZERO {
        return (random.map(|component| component * (1.0 / length)), 0.0);
    }
    let mut first_axis = [0.0; DIMENSIONS];
    first_axis[0] = 1.0;
    (first_axis, 0.0)
}

/// The last round-trip times to a probed node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latencies {
    /// In seconds, oldest first.
    samples: [f64; LATENCY_SAMPLES],
    count: usize,
}

impl Latencies {
    /// Adds a round-trip time and returns the median of the last ones.
    fn filtered(&mut self, rtt_seconds: f64) -> f64 {
        if self.count == LATENCY_SAMPLES {
            self.samples.rotate_left(1);
            self.count -= 1;
        }
        self.samples[self.count] = rtt_seconds;
        self.count += 1;
        let mut sorted = self.samples;
        let sorted = &mut sorted[..self.count];
        // Insertion sort: there are at most three samples.
        for end in 1..sorted.len() {
            for at in (1..=end).rev() {
                if sorted[at - 1].total_cmp(&sorted[at]).is_gt() {
                    sorted.swap(at - 1, at);
                }
            }
        }
        sorted[sorted.len() / 2]
    }
}

/// The local node's coordinate, and the state for computing it.
#[derive(Clone, Debug)]
pub struct CoordinateClient {
    own: Coordinate,
    adjustments: [f64; ADJUSTMENT_WINDOW],
    adjustment_next: usize,
    resets: u64,
}

impl Default for CoordinateClient {
    fn default() -> Self {
        CoordinateClient {
            own: initial(),
            adjustments: [0.0; ADJUSTMENT_WINDOW],
            adjustment_next: 0,
            resets: 0,
        }
    }
}

impl CoordinateClient {
    /// Creates a client with the initial coordinate, at the origin.
    pub fn new() -> Self {
        CoordinateClient::default()
    }

    /// Returns the local node's coordinate.
    pub fn own(&self) -> &Coordinate {
        &self.own
    }

    /// Returns the number of times the coordinate was reset.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Updates the coordinate with one round trip to a node; `other` is the node's coordinate, `latencies`
    /// its filter. Changes nothing on error.
    ///
    /// # Errors
    /// [`Refused::Invalid`] if `other` is not finite, [`Refused::RoundTrip`] if `rtt` exceeds [`RTT_MAX`].
    pub fn update(
        &mut self,
        latencies: &mut Latencies,
        other: &Coordinate,
        rtt: Duration,
        rng: &mut Rng,
    ) -> Result<(), Refused> {
        if !other.is_finite() {
            return Err(Refused::Invalid);
        }
        if rtt > RTT_MAX {
            return Err(Refused::RoundTrip(rtt));
        }
        let rtt_seconds = latencies.filtered(rtt.as_secs_f64());
        self.attract(other, rtt_seconds, rng);
        self.adjust(other, rtt_seconds);
        self.gravitate(rng);
        if !self.own.is_finite() {
            self.own = initial();
            self.resets += 1;
        }
        Ok(())
    }

    fn attract(&mut self, other: &Coordinate, rtt_seconds: f64, rng: &mut Rng) {
        let rtt_seconds = rtt_seconds.max(ZERO);
        let estimate = distance(&self.own, other).as_secs_f64();
        let wrongness = (estimate - rtt_seconds).abs() / rtt_seconds;
        let total_error = (self.own.error + other.error).max(ZERO);
        let weight = self.own.error / total_error;
        self.own.error = (CONFIDENCE * weight * wrongness
            + self.own.error * (1.0 - CONFIDENCE * weight))
            .min(ERROR_MAX);
        let force = FORCE * weight * (rtt_seconds - estimate);
        apply_force(&mut self.own, force, other, rng);
    }

    fn adjust(&mut self, other: &Coordinate, rtt_seconds: f64) {
        self.adjustments[self.adjustment_next] = rtt_seconds - raw_distance(&self.own, other);
        self.adjustment_next = (self.adjustment_next + 1) % ADJUSTMENT_WINDOW;
        self.own.adjustment =
            self.adjustments.iter().sum::<f64>() / (2.0 * ADJUSTMENT_WINDOW as f64);
    }

    /// Moves the coordinate towards the origin, so that the cluster as a whole does not drift.
    fn gravitate(&mut self, rng: &mut Rng) {
        let origin = Coordinate {
            error: 0.0,
            ..initial()
        };
        let from_origin = distance(&origin, &self.own).as_secs_f64();
        let force = -(from_origin / GRAVITY_RHO).powi(2);
        apply_force(&mut self.own, force, &origin, rng);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeMap;

    fn vectors() -> Value {
        let all: Value =
            serde_json::from_str(include_str!("../../../tests/data/gossip-vectors.json")).unwrap();
        all["algorithms"].clone()
    }

    fn coordinate(value: &Value) -> Coordinate {
        let vec: Vec<f64> = value["Vec"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_f64().unwrap())
            .collect();
        Coordinate {
            adjustment: value["Adjustment"].as_f64().unwrap(),
            error: value["Error"].as_f64().unwrap(),
            height: value["Height"].as_f64().unwrap(),
            vec: vec.try_into().unwrap(),
        }
    }

    #[test]
    fn updates_match_the_captured_ones_bit_for_bit() {
        let vectors = vectors();
        let (mut client, mut rng) = (CoordinateClient::new(), Rng::new(1));
        let mut latencies: BTreeMap<&str, Latencies> = BTreeMap::new();
        for step in vectors["coordinateUpdates"]["steps"].as_array().unwrap() {
            let latencies = latencies.entry(step["node"].as_str().unwrap()).or_default();
            let nanos = step["rttNanos"].as_i64().unwrap();
            let before = client.own().clone();
            let other = &step["other"];
            if other["Vec"].as_array().unwrap().len() != DIMENSIONS || nanos < 0 {
                assert!(
                    !step["error"].is_null(),
                    "the codec or the type refuses it: {step}"
                );
                continue;
            }
            let result = client.update(
                latencies,
                &coordinate(other),
                Duration::from_nanos(nanos as u64),
                &mut rng,
            );
            assert_eq!(result.is_err(), !step["error"].is_null(), "{step}");
            let after = if result.is_ok() {
                coordinate(&step["after"])
            } else {
                before
            };
            assert_eq!(client.own(), &after, "{step}");
        }
    }

    #[test]
    fn distances_match_the_captured_ones() {
        for case in vectors()["coordinateDistances"].as_array().unwrap() {
            let distance = distance(&coordinate(&case["a"]), &coordinate(&case["b"]));
            assert_eq!(
                distance.as_nanos(),
                u128::from(case["nanos"].as_u64().unwrap())
            );
        }
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let (mut client, mut rng) = (CoordinateClient::new(), Rng::new(2));
        let mut latencies = Latencies::default();
        let before = client.own().clone();
        let sick = Coordinate {
            error: f64::NAN,
            ..initial()
        };
        let rtt = Duration::from_millis(1);
        assert_eq!(
            client.update(&mut latencies, &sick, rtt, &mut rng),
            Err(Refused::Invalid)
        );
        let late = Duration::from_secs(11);
        assert_eq!(
            client.update(&mut latencies, &initial(), late, &mut rng),
            Err(Refused::RoundTrip(late))
        );
        assert_eq!(client.own(), &before);
    }

    #[test]
    fn an_overflow_starts_the_coordinate_afresh() {
        let (mut client, mut rng) = (CoordinateClient::new(), Rng::new(3));
        let mut latencies = Latencies::default();
        let mut far = initial();
        far.vec[0] = f64::MAX;
        far.height = f64::MAX;
        client
            .update(&mut latencies, &far, Duration::from_millis(1), &mut rng)
            .unwrap();
        assert_eq!(client.resets(), 1);
        assert!(client.own().is_finite());
    }

    #[test]
    fn two_nodes_in_one_place_part() {
        let (mut client, mut rng) = (CoordinateClient::new(), Rng::new(4));
        let mut latencies = Latencies::default();
        client
            .update(
                &mut latencies,
                &initial(),
                Duration::from_millis(20),
                &mut rng,
            )
            .unwrap();
        assert!(magnitude(&client.own().vec) > 0.0);
    }
}
