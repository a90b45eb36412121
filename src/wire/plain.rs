//! The innermost layer of a stream: one message, neither encrypted nor compressed.

use super::boundary::Boundary;
use super::membership::message_type;
use super::msgpack::{self, Reader};
use super::stream::{PushPull, PushPullNode, StreamMessage};
use super::{Ack, DecodeError, Ping, limits};

/// The least that an entry of a push/pull takes (gossip spec 8.1).
const NODE_BYTES_MIN: usize = 20;

/// Decodes the body behind a type byte, object by object.
#[derive(Debug)]
pub(super) struct Plain {
    kind: u8,
    stage: Stage,
    /// Of the object that is arriving.
    boundary: Boundary,
}

#[derive(Debug)]
enum Stage {
    /// The map behind the type byte.
    Head,
    /// Entries of a push/pull; how many are to come.
    Nodes {
        partial: PushPull,
        left: usize,
        user_state_bytes: usize,
    },
    /// Raw bytes that end the message; how many.
    Tail {
        message: StreamMessage,
        bytes: usize,
    },
}

/// What a step came to.
enum Step {
    /// More bytes are needed.
    Wait,
    /// This many bytes are done with; there may be more to do.
    Took(usize),
    /// The message is complete.
    Done(StreamMessage),
}

impl Plain {
    /// Of the message types that travel on a stream.
    pub(super) fn new(kind: u8) -> Result<Self, DecodeError> {
        match kind {
            message_type::PING
            | message_type::ACK
            | message_type::PUSH_PULL
            | message_type::USER
            | message_type::ERROR => Ok(Plain {
                kind,
                stage: Stage::Head,
                boundary: Boundary::new(limits::STREAM_OBJECT_BYTES_MAX),
            }),
            other => Err(DecodeError::UnexpectedType(other)),
        }
    }

    /// Decodes a complete message, type byte first.
    pub(super) fn decode_complete(bytes: &[u8]) -> Result<StreamMessage, DecodeError> {
        let (&kind, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
        match Plain::new(kind)?.advance(body, true)? {
            (_, Some(message)) => Ok(message),
            (_, None) => Err(DecodeError::MsgPack(msgpack::Error::Truncated)),
        }
    }

    /// Works on what is there and tells how many bytes it is done with: these must not be passed
    /// again. `complete`: nothing follows.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        complete: bool,
    ) -> Result<(usize, Option<StreamMessage>), DecodeError> {
        let mut taken = 0;
        loop {
            match self.step(input.get(taken..).unwrap_or_default(), complete)? {
                Step::Wait => return Ok((taken, None)),
                Step::Took(count) => taken += count,
                Step::Done(message) => return Ok((taken, Some(message))),
            }
        }
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
        let Some(size) = self.boundary.find(input)? else {
            return Ok(Step::Wait);
        };
        self.boundary = Boundary::new(limits::STREAM_OBJECT_BYTES_MAX);
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

    /// The object behind the type byte: the whole message, or what tells how it goes on.
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

/// A signed count that must lie within `max`.
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
