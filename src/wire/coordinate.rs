//! Network coordinates, the payload of acks (gossip spec 5.13).

use super::DecodeError;
use super::msgpack::{self, Dialect, Reader, Writer};

/// Dimensions of a coordinate's vector.
pub const DIMENSIONS: usize = 8;

/// First byte of an ack's payload.
const PAYLOAD_VERSION: u8 = 1;

/// A node's position in the round-trip-time space.
#[derive(Clone, Debug, PartialEq)]
pub struct Coordinate {
    /// Correction for latencies that the vector space cannot model, in seconds.
    pub adjustment: f64,
    /// Estimated error of the position: dimensionless, smaller is better.
    pub error: f64,
    /// Latency of the node's access link, in seconds.
    pub height: f64,
    /// Position, in seconds.
    pub vec: [f64; DIMENSIONS],
}

impl Coordinate {
    /// Whether all numbers are finite.
    pub fn is_finite(&self) -> bool {
        let scalars = [self.adjustment, self.error, self.height];
        scalars
            .iter()
            .chain(&self.vec)
            .all(|number| number.is_finite())
    }

    /// Decodes the payload of an ack.
    ///
    /// # Errors
    /// Fails on an empty payload, an unknown version, a malformed map, a wrong number of dimensions, or a
    /// number that is not finite.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Coordinate::decode_first(payload).map(|(coordinate, _)| coordinate)
    }

    /// Decodes the payload of an ack and also returns the bytes after the coordinate, which the reference
    /// ignores.
    ///
    /// # Errors
    /// Fails as [`Self::decode`] does.
    pub fn decode_first(payload: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let body = match payload.split_first() {
            Some((&PAYLOAD_VERSION, body)) => body,
            Some((&other, _)) => return Err(DecodeError::UnexpectedType(other)),
            None => return Err(DecodeError::Empty),
        };
        let mut coordinate = Coordinate {
            adjustment: 0.0,
            error: 0.0,
            height: 0.0,
            vec: [0.0; DIMENSIONS],
        };
        let mut dimensions = 0;
        // The reference declares the vector first.
        let names = ["Vec", "Error", "Adjustment", "Height"];
        let mut reader = Reader::new(body);
        reader.fields(&names, |index, reader| {
            match index {
                0 => {
                    dimensions = reader.array()?;
                    for axis in 0..dimensions {
                        let number = reader.f64()?;
                        if let Some(component) = coordinate.vec.get_mut(axis) {
                            *component = number;
                        }
                    }
                }
                1 => coordinate.error = reader.f64()?,
                2 => coordinate.adjustment = reader.f64()?,
                _ => coordinate.height = reader.f64()?,
            }
            Ok::<_, msgpack::Error>(())
        })?;
        if dimensions != DIMENSIONS || !coordinate.is_finite() {
            return Err(DecodeError::Invalid("coordinate"));
        }
        Ok((coordinate, reader.rest()))
    }

    /// Encodes the payload of an ack.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(Dialect::Gossip);
        writer.verbatim(&[PAYLOAD_VERSION]);
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// Writes the coordinate as a map, in the dialect of the writer.
    pub fn write(&self, writer: &mut Writer) {
        writer
            .map(4)
            .key("Adjustment")
            .f64(self.adjustment)
            .key("Error")
            .f64(self.error);
        writer
            .key("Height")
            .f64(self.height)
            .key("Vec")
            .array(DIMENSIONS);
        for component in self.vec {
            writer.f64(component);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The ack payload of gossip spec 9.2.
    const FRESH: &str = "0184aa41646a7573746d656e74cb0000000000000000a54572726f72cb3ff8000000000000\
        a6486569676874cb3ee4f8b588e368f1a356656398cb0000000000000000cb0000000000000000\
        cb0000000000000000cb0000000000000000cb0000000000000000cb0000000000000000\
        cb0000000000000000cb0000000000000000";

    fn fresh() -> Vec<u8> {
        (0..FRESH.len() / 2)
            .map(|byte| u8::from_str_radix(&FRESH[2 * byte..2 * byte + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn a_fresh_node_as_captured() {
        let coordinate = Coordinate::decode(&fresh()).unwrap();
        assert_eq!(coordinate.error, 1.5);
        assert_eq!(coordinate.height, 1.0e-5);
        assert_eq!(coordinate.encode(), fresh());
    }

    #[test]
    fn what_follows_is_not_part_of_it() {
        let mut payload = fresh();
        payload.extend_from_slice(&[0xc1, 1, 2]);
        let (coordinate, rest) = Coordinate::decode_first(&payload).unwrap();
        assert_eq!(coordinate.encode(), fresh());
        assert_eq!(rest, [0xc1, 1, 2]);
        assert_eq!(Coordinate::decode(&payload), Ok(coordinate));
    }

    #[test]
    fn what_is_no_coordinate_is_refused() {
        assert_eq!(Coordinate::decode(&[]), Err(DecodeError::Empty));
        assert_eq!(
            Coordinate::decode(&[2, 0x80]),
            Err(DecodeError::UnexpectedType(2))
        );
        assert_eq!(
            Coordinate::decode(&[1, 0x80]),
            Err(DecodeError::Invalid("coordinate"))
        );
        let mut nan = fresh();
        let at = nan.len() - 8;
        nan[at..].copy_from_slice(&f64::NAN.to_be_bytes());
        assert_eq!(
            Coordinate::decode(&nan),
            Err(DecodeError::Invalid("coordinate"))
        );
        for cut in 0..fresh().len() {
            assert!(Coordinate::decode(&fresh()[..cut]).is_err());
        }
    }
}
