//! The MessagePack dialects of the gossip port and the RPC port (gossip spec 3.1 and 3.2, agent spec 2.2).
//!
//! The dialects differ in writing: the gossip port uses only the *raw* family (no str8, no bin), the RPC port
//! writes str8 and bin. Reading is the same for both: the reader accepts everything that any version of the
//! reference emits and fails on anything else, without a panic and without trusting announced lengths.

mod boundary;
mod head;
mod reader;
mod writer;

pub use boundary::Boundary;
pub use reader::{Reader, Structure};
pub use writer::{Dialect, Writer};

/// Maximum nesting depth of containers; deeper ones are refused (gossip spec 8.1).
pub const DEPTH_MAX: usize = 16;

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The input ends inside the value.
    Truncated,
    /// The value's type differs from the field's; names the expected type.
    WrongType(&'static str),
    /// An integer outside the field's range: negative or too large.
    OutOfRange,
    /// A container announces more elements than the remaining input can hold.
    TooMany,
    /// Containers nested deeper than [`DEPTH_MAX`].
    TooDeep,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Truncated => f.write_str("input ends inside a value"),
            Error::WrongType(due) => write!(f, "not {due}"),
            Error::OutOfRange => f.write_str("integer out of range"),
            Error::TooMany => f.write_str("more elements announced than bytes left"),
            Error::TooDeep => f.write_str("nested too deep"),
        }
    }
}

impl core::error::Error for Error {}

type Result<T> = core::result::Result<T, Error>;

/// Returns the bytes that `write` produces.
#[cfg(test)]
pub(crate) fn written(dialect: Dialect, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(dialect);
    write(&mut writer);
    writer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_their_shortest_form_and_come_back() {
        for (value, length) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (255, 2),
            (256, 3),
            (65_536, 5),
            (u64::from(u32::MAX) + 1, 9),
        ] {
            let bytes = written(Dialect::Gossip, |w| {
                w.uint(value);
            });
            assert_eq!(bytes.len(), length, "{value}");
            assert_eq!(Reader::new(&bytes).u64(), Ok(value));
        }
        for value in [
            0,
            -1,
            -32,
            -33,
            -128,
            -129,
            -32_769,
            i64::from(i32::MIN) - 1,
            i64::MIN,
            i64::MAX,
        ] {
            let bytes = written(Dialect::Rpc, |w| {
                w.int(value);
            });
            assert_eq!(Reader::new(&bytes).i64(), Ok(value));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_not_wrapped() {
        assert_eq!(Reader::new(&[0xff]).u8(), Err(Error::OutOfRange));
        assert_eq!(Reader::new(&[0xcd, 1, 0]).u8(), Err(Error::OutOfRange));
        assert!(matches!(
            Reader::new(&[0xcb, 0, 0, 0, 0, 0, 0, 0, 0]).u32(),
            Err(Error::WrongType(_))
        ));
        assert_eq!(Reader::new(&[2]).bool(), Err(Error::OutOfRange));
        assert_eq!(Reader::new(&[1]).bool(), Ok(true));
    }

    #[test]
    fn dialects_differ_in_text_and_bytes() {
        let long = [b'x'; 40];
        assert_eq!(
            written(Dialect::Gossip, |w| {
                w.text(long);
            })[..3],
            [0xda, 0, 40]
        );
        assert_eq!(
            written(Dialect::Rpc, |w| {
                w.text(long);
            })[..2],
            [0xd9, 40]
        );
        assert_eq!(
            written(Dialect::Gossip, |w| {
                w.bytes(b"ab");
            }),
            [0xa2, b'a', b'b']
        );
        assert_eq!(
            written(Dialect::Rpc, |w| {
                w.bytes(b"ab");
            }),
            [0xc4, 2, b'a', b'b']
        );
    }

    #[test]
    fn counts_are_held_against_what_is_left() {
        let huge = [0xdf, 0xff, 0xff, 0xff, 0xff, 0];
        assert_eq!(Reader::new(&huge).structure(), Err(Error::TooMany));
        assert_eq!(
            Reader::new(&[0xdb, 0xff, 0xff, 0xff, 0xff]).text(),
            Err(Error::Truncated)
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = [0x91; 4_000];
        assert!(matches!(
            Reader::new(&deep).skip(),
            Err(Error::TooDeep | Error::TooMany)
        ));
    }

    #[test]
    fn fields_by_name_by_position_and_not_at_all() {
        let read = |bytes: &[u8]| {
            let (mut a, mut b) = (0, 0);
            Reader::new(bytes).fields::<Error>(&["A", "B"], |index, reader| {
                *[&mut a, &mut b][index] = reader.u8()?;
                Ok(())
            })?;
            Ok::<_, Error>((a, b))
        };
        assert_eq!(read(&[0x82, 0xa1, b'B', 2, 0xa1, b'A', 1]), Ok((1, 2)));
        assert_eq!(read(&[0x93, 1, 2, 3]), Ok((1, 2)));
        assert_eq!(read(&[0xc0]), Ok((0, 0)));
        assert_eq!(
            read(&[0x82, 0xa1, b'a', 0x91, 7, 0xc4, 1, b'A', 9]),
            Ok((9, 0))
        );
    }
}
