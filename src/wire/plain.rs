//! Decoder of a stream's innermost layer: one message, neither encrypted nor compressed.

use super::membership::message_type;
use super::msgpack::{self, Boundary, Reader};
use super::stream::{PushPull, PushPullNode, StreamMessage};
use super::{Ack, DecodeError, Ping, limits};

/// Smallest encoded push/pull entry (gossip spec 8.1).
const NODE_BYTES_MIN: usize = 20;

/// Incremental decoder of the body after the type byte.
#[derive(Debug)]
pub(super) struct Plain {
    kind: u8,
    stage: Stage,
    /// Scan position in the object that is arriving.
    boundary: Boundary,
}

#[derive(Debug)]
enum Stage {
    /// Expects the map after the type byte.
    Head,
    /// Expects `left` more entries of a push/pull.
    Nodes {
        partial: PushPull,
        left: usize,
        user_state_bytes: usize,
    },
    /// Expects the raw bytes that end the message, this many.
    Tail {
        message: StreamMessage,
        bytes: usize,
    },
}

/// Outcome of a call of [`Plain::advance`].
#[derive(Debug)]
pub(super) enum Progress {
    /// More bytes are needed.
    Wait,
    /// The call reached its work limit; call again.
    More,
    /// The message is complete.
    Done(StreamMessage),
}

/// Outcome of one decoding step.
enum Step {
    /// More bytes are needed.
    Wait,
    /// This many bytes were consumed; continue.
    Took(usize),
    /// The message is complete.
    Done(StreamMessage),
}

impl Plain {
    /// Creates a decoder for a message type that may be sent on a stream; fails for other types.
    pub(super) fn new(kind: u8) -> Result<Self, DecodeError> {
        match kind {
            message_type::PING
            | message_type::ACK
            | message_type::PUSH_PULL
            | message_type::USER
            | message_type::ERROR => Ok(Plain {
                kind,
                stage: Stage::Head,
                boundary: Boundary::default(),
            }),
            other => Err(DecodeError::UnexpectedType(other)),
        }
    }

    /// Decodes a complete message, type byte first.
    #[cfg(test)]
    pub(super) fn decode_complete(bytes: &[u8]) -> Result<StreamMessage, DecodeError> {
        let (&kind, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
        match Plain::new(kind)?.advance(body, true, usize::MAX)? {
            (_, Progress::Done(message)) => Ok(message),
            _ => Err(DecodeError::MsgPack(msgpack::Error::Truncated)),
        }
    }

    /// Decodes `input` until `bytes_at_once` bytes are consumed. Returns the number of consumed bytes, which
    /// must not be passed again. `complete`: no bytes follow `input`.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        complete: bool,
        bytes_at_once: usize,
    ) -> Result<(usize, Progress), DecodeError> {
        let mut taken = 0;
        while taken < bytes_at_once {
            match self.step(input.get(taken..).unwrap_or_default(), complete)? {
                Step::Wait => return Ok((taken, Progress::Wait)),
                Step::Took(count) => taken += count,
                Step::Done(message) => return Ok((taken, Progress::Done(message))),
            }
        }
        Ok((taken, Progress::More))
    }

    fn step(&mut self, input: &[u8], complete: bool) -> Result<Step, DecodeError> {
        if let Stage::Tail { message, bytes } = &mut self.stage {
            let Some(tail) = input.get(..*bytes) else {
                return Ok(Step::Wait);
            };
            let mut message = std::mem::replace(message, StreamMessage::User(Vec::new()));
            match &mut message {
                StreamMessage::PushPull(push_pull) => push_pull.user_state = tail.to_vec(),
                StreamMessage::User(bytes) => *bytes = tail.to_vec(),
                StreamMessage::Ping(_) | StreamMessage::Ack(_) | StreamMessage::Error(_) => {}
            }
            return Ok(Step::Done(message));
        }
        if let Stage::Nodes {
            partial,
            left: 0,
            user_state_bytes,
        } = &mut self.stage
        {
            self.stage = Stage::Tail {
                bytes: *user_state_bytes,
                message: StreamMessage::PushPull(std::mem::take(partial)),
            };
            return Ok(Step::Took(0));
        }
        let found = self.boundary.find(input, limits::STREAM_OBJECT_BYTES_MAX)?;
        let Some(size) = found else {
            return Ok(Step::Wait);
        };
        self.boundary = Boundary::default();
        let (object, rest) = input.split_at(size);
        let reader = &mut Reader::new(object);
        match &mut self.stage {
            Stage::Nodes { partial, left, .. } => {
                *left -= 1;
                partial.take_node(PushPullNode::decode(reader)?);
            }
            _ => {
                let rest_bytes = complete.then_some(rest.len());
                if let Some(message) = self.head(reader, rest_bytes)? {
                    return Ok(Step::Done(message));
                }
            }
        }
        Ok(Step::Took(size))
    }

    /// Decodes the object after the type byte: the whole message, or the head of a push/pull or user message.
    fn head(
        &mut self,
        reader: &mut Reader<'_>,
        rest_bytes: Option<usize>,
    ) -> Result<Option<StreamMessage>, DecodeError> {
        match self.kind {
            message_type::PING => Ping::decode_body(reader).map(StreamMessage::Ping).map(Some),
            message_type::ACK => Ack::decode_body(reader).map(StreamMessage::Ack).map(Some),
            message_type::ERROR => decode_error_text(reader)
                .map(StreamMessage::Error)
                .map(Some),
            message_type::PUSH_PULL => {
                let head = PushPullHead::decode(reader)?;
                if rest_bytes.is_some_and(|rest| head.nodes > rest / NODE_BYTES_MIN) {
                    return Err(DecodeError::TooLarge("Nodes"));
                }
                self.stage = Stage::Nodes {
                    partial: PushPull {
                        join: head.join,
                        ..PushPull::default()
                    },
                    left: head.nodes,
                    user_state_bytes: head.user_state_bytes,
                };
                Ok(None)
            }
            _ => {
                self.stage = Stage::Tail {
                    message: StreamMessage::User(Vec::new()),
                    bytes: decode_user_message_bytes(reader)?,
                };
                Ok(None)
            }
        }
    }
}

/// Converts a signed count and checks that it is within `max`.
fn bounded(count: i64, max: usize, field: &'static str) -> Result<usize, DecodeError> {
    let count = usize::try_from(count).map_err(|_| DecodeError::Invalid(field))?;
    if count > max {
        return Err(DecodeError::TooLarge(field));
    }
    Ok(count)
}

struct PushPullHead {
    nodes: usize,
    user_state_bytes: usize,
    join: bool,
}

impl PushPullHead {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (mut nodes, mut user_state_bytes, mut join) = (0, 0, false);
        reader.fields::<msgpack::Error>(&["Nodes", "UserStateLen", "Join"], |field, reader| {
            match field {
                0 => nodes = reader.i64()?,
                1 => user_state_bytes = reader.i64()?,
                _ => join = reader.bool()?,
            }
            Ok(())
        })?;
        Ok(PushPullHead {
            nodes: bounded(nodes, limits::PUSH_PULL_NODES_MAX, "Nodes")?,
            user_state_bytes: bounded(
                user_state_bytes,
                limits::USER_STATE_BYTES_MAX,
                "UserStateLen",
            )?,
            join,
        })
    }
}

fn decode_user_message_bytes(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let mut bytes = 0;
    reader.fields::<msgpack::Error>(&["UserMsgLen"], |_, reader| {
        bytes = reader.i64()?;
        Ok(())
    })?;
    bounded(bytes, limits::STREAM_USER_MESSAGE_BYTES_MAX, "UserMsgLen")
}

fn decode_error_text(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let mut text = &[][..];
    reader.fields::<msgpack::Error>(&["Error"], |_, reader| {
        text = reader.text()?;
        Ok(())
    })?;
    Ok(text
        .get(..limits::ERROR_TEXT_BYTES_MAX)
        .unwrap_or(text)
        .to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::msgpack::{Dialect, Writer};
    use super::super::{NodeName, PushPullNode, RemoteState, VersionVector};
    use super::*;

    fn node(name: &[u8]) -> PushPullNode {
        PushPullNode {
            name: NodeName::new(name).unwrap(),
            addr: "127.0.0.1:7946".parse().unwrap(),
            meta: None,
            incarnation: 1,
            state: RemoteState::Alive,
            versions: VersionVector::serf(5),
        }
    }

    /// Encodes a push/pull whose one entry has an invalid field.
    fn with_field(key: &str, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut head = Writer::appending(Dialect::Gossip, vec![message_type::PUSH_PULL]);
        head.map(1).key("Nodes").uint(2);
        let mut entry = Writer::appending(Dialect::Gossip, head.into_bytes());
        // Of duplicate keys the last one wins.
        entry.map(8);
        let good = StreamMessage::PushPull(PushPull {
            nodes: vec![node(b"bad")],
            ..PushPull::default()
        })
        .encode();
        let fields = good
            .windows(5)
            .position(|four| four == b"\xa4Addr")
            .unwrap();
        entry.verbatim(&good[fields..]).key(key);
        write(&mut entry);
        let mut bytes = entry.into_bytes();
        bytes.extend(&good[fields - 1..]);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<PushPull, DecodeError> {
        match Plain::decode_complete(bytes)? {
            StreamMessage::PushPull(push_pull) => Ok(push_pull),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bad_entry_costs_only_itself() {
        type Write = fn(&mut Writer);
        let cases: [(&str, Write); 9] = [
            ("Vsn", |w| {
                w.bytes(&[1, 5, 2]);
            }),
            ("Vsn", |w| {
                w.bytes(&[5, 1, 2, 2, 5, 5]);
            }),
            ("Vsn", |w| {
                w.nil();
            }),
            ("Addr", |w| {
                w.bytes(&[1, 2, 3]);
            }),
            ("State", |w| {
                w.uint(4);
            }),
            ("State", |w| {
                w.int(-1);
            }),
            ("Name", |w| {
                w.text(b"a\nb");
            }),
            ("Meta", |w| {
                w.bytes(&[0; 513]);
            }),
            ("Incarnation", |w| {
                w.nil();
            }),
        ];
        for (field, write) in cases {
            let push_pull = decode(&with_field(field, write)).unwrap();
            assert_eq!(push_pull.nodes, [node(b"bad")], "{field}");
            let reason = match field {
                "Name" => "node name",
                field => field,
            };
            assert_eq!(push_pull.refused, [DecodeError::Invalid(reason)]);
        }
        // An entry that is not valid MessagePack of its type fails the whole message.
        let wrong = decode(&with_field("Port", |w| {
            w.text(b"x");
        }));
        assert!(matches!(wrong, Err(DecodeError::MsgPack(_))));
        let large = decode(&with_field("Port", |w| {
            w.uint(65_536);
        }));
        assert!(matches!(large, Err(DecodeError::MsgPack(_))));
    }

    #[test]
    fn dead_entries_may_be_of_incarnation_zero() {
        for (state, nodes) in [(0, 1), (1, 2), (2, 2), (3, 2)] {
            let mut bytes = with_field("State", |w| {
                w.uint(state);
            });
            let at = bytes.windows(12).position(|key| key == b"\xabIncarnation");
            bytes[at.unwrap() + 12] = 0;
            assert_eq!(decode(&bytes).unwrap().nodes.len(), nodes, "{state}");
        }
    }

    #[test]
    fn a_known_size_bounds_the_count() {
        let many = b"\x06\x81\xa5Nodes\x03\xc0\xc0\xc0";
        assert_eq!(decode(many), Err(DecodeError::TooLarge("Nodes")));
    }
}
