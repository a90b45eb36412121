//! Replies to key and coordinate commands (agent spec 2.4).

use super::TextMap;
use super::request::text_map;
use crate::ordered::OrderedMap;
use crate::serf::KeyReport;
use crate::wire::coordinate::{Coordinate, DIMENSIONS};
use crate::wire::msgpack::{Error, Reader, Writer};

/// Writes the body of a reply to a key command. `Keys` is written only for a list, even if it is empty.
pub fn write_keys(w: &mut Writer, report: &KeyReport, is_list: bool) {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    w.map(5).key("Keys");
    if is_list {
        w.map(report.keys.len());
        for (key, members) in &report.keys {
            w.text(key).int(count(*members));
        }
    } else {
        w.nil();
    }
    w.key("Messages").map(report.messages.len());
    for (node, message) in &report.messages {
        w.text(node.as_bytes()).text(message);
    }
    w.key("NumErr").int(count(report.num_err));
    w.key("NumNodes").int(count(report.num_nodes));
    w.key("NumResp").int(count(report.num_resp));
}

/// Decoded reply to a key command.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct KeyReply {
    /// Messages of nodes, by node name.
    pub messages: TextMap,
    /// Keys in base64, and how many nodes have each.
    pub keys: OrderedMap<Vec<u8>, i64>,
    pub num_nodes: i64,
    pub num_err: i64,
    pub num_resp: i64,
}

impl KeyReply {
    /// Decodes the body of a reply to a key command.
    ///
    /// # Errors
    /// If the body is malformed or a field has the wrong type.
    pub fn decode(value: &[u8]) -> Result<Self, Error> {
        const FIELDS: [&str; 5] = ["Messages", "Keys", "NumNodes", "NumErr", "NumResp"];
        let mut reply = KeyReply::default();
        Reader::new(value).fields(&FIELDS, |field, r| {
            match field {
                0 => reply.messages = text_map(r)?,
                1 => {
                    let count = r.map()?;
                    reply.keys = (0..count)
                        .map(|_| Ok((r.text()?.to_vec(), r.i64()?)))
                        .collect::<Result<_, Error>>()?;
                }
                2 => reply.num_nodes = r.i64()?,
                3 => reply.num_err = r.i64()?,
                _ => reply.num_resp = r.i64()?,
            }
            Ok::<_, Error>(())
        })?;
        Ok(reply)
    }
}

/// Writes the body of a reply to `get-coordinate`; `None`: the node's coordinate is unknown.
pub fn write_coordinate(w: &mut Writer, coordinate: Option<&Coordinate>) {
    w.map(2).key("Coord");
    match coordinate {
        Some(coordinate) => coordinate.write(w),
        None => {
            w.map(4).key("Adjustment").f64(0.0).key("Error").f64(0.0);
            w.key("Height").f64(0.0).key("Vec").nil();
        }
    }
    w.key("Ok").bool(coordinate.is_some());
}

/// Decodes the body of a reply to `get-coordinate`.
///
/// # Errors
/// If a field has the wrong type, or the coordinate has the wrong number of dimensions or a number that is
/// not finite.
pub fn decode_coordinate(value: &[u8]) -> Result<Option<Coordinate>, String> {
    let mut place = Coordinate {
        adjustment: 0.0,
        error: 0.0,
        height: 0.0,
        vec: [0.0; DIMENSIONS],
    };
    let (mut known, mut dimensions) = (false, 0);
    let mut reader = Reader::new(value);
    let read = reader.fields(&["Coord", "Ok"], |field, r| {
        if field == 1 {
            known = r.bool()?;
            return Ok(());
        }
        r.fields(&["Vec", "Error", "Adjustment", "Height"], |field, r| {
            match field {
                0 => {
                    dimensions = r.array()?;
                    for axis in 0..dimensions {
                        let number = r.f64()?;
                        if let Some(component) = place.vec.get_mut(axis) {
                            *component = number;
                        }
                    }
                }
                1 => place.error = r.f64()?,
                2 => place.adjustment = r.f64()?,
                _ => place.height = r.f64()?,
            }
            Ok::<_, Error>(())
        })
    });
    read.map_err(|why| why.to_string())?;
    if known && (dimensions != DIMENSIONS || !place.is_finite()) {
        return Err("an invalid coordinate".to_owned());
    }
    Ok(known.then_some(place))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::NodeName;
    use crate::wire::msgpack::{Dialect, written};

    #[test]
    fn key_replies_come_back_as_they_went() {
        let report = KeyReport {
            error: None,
            messages: [(NodeName::new(b"n1").unwrap(), b"no".to_vec())].into(),
            keys: [(b"a2V5".to_vec(), 200)].into(),
            primary_keys: OrderedMap::new(),
            num_nodes: 3,
            num_err: 1,
            num_resp: 2,
        };
        let list =
            KeyReply::decode(&written(Dialect::Rpc, |w| write_keys(w, &report, true))).unwrap();
        assert_eq!(list.keys, [(b"a2V5".to_vec(), 200)].into());
        assert_eq!(list.messages, [(b"n1".to_vec(), b"no".to_vec())].into());
        assert_eq!((list.num_nodes, list.num_err, list.num_resp), (3, 1, 2));
        let other =
            KeyReply::decode(&written(Dialect::Rpc, |w| write_keys(w, &report, false))).unwrap();
        assert_eq!((other.keys.len(), other.messages), (0, list.messages));
    }

    #[test]
    fn coordinates_come_back_as_they_went() {
        let place = Coordinate {
            adjustment: -0.5,
            error: 1.5,
            height: 1.0e-5,
            vec: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        };
        let body = written(Dialect::Rpc, |w| write_coordinate(w, Some(&place)));
        assert_eq!(decode_coordinate(&body), Ok(Some(place.clone())));
        let body = written(Dialect::Rpc, |w| write_coordinate(w, None));
        assert_eq!(decode_coordinate(&body), Ok(None));
        let infinite = Coordinate {
            height: f64::INFINITY,
            ..place
        };
        let body = written(Dialect::Rpc, |w| write_coordinate(w, Some(&infinite)));
        assert!(decode_coordinate(&body).is_err());
        assert!(decode_coordinate(b"\xc1").is_err());
    }
}
