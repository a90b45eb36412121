//! `-fields` and `-0`: prints chosen fields, so that scripts need not parse columns.

use std::io::{self, Write};

use super::command::flags::Flags;
use super::common::is_json;
use super::failure::Failure;
use crate::wire::name::Escaped;

/// Fields to print of each record.
pub(super) struct Fields {
    names: Vec<String>,
    /// Whether to print bytes unescaped, with NUL after each record.
    raw: bool,
}

impl Fields {
    /// Parses `-fields`, if given. In `known`, a name that ends in a colon is followed by a suffix of the
    /// user's choice.
    ///
    /// # Errors
    /// If a field is unknown, or the flags contradict each other.
    pub fn parse(flags: &Flags, known: &[&str]) -> Result<Option<Self>, Failure> {
        let refuse = |why: String| Err(Failure::Message(why));
        let raw = flags.flag("0");
        let Some(list) = flags.value("fields") else {
            return match raw {
                true => refuse("-0 requires -fields".to_owned()),
                false => Ok(None),
            };
        };
        if is_json(flags) {
            return refuse("Only one of -fields and -format=json allowed".to_owned());
        }
        let is_known = |field: &str| {
            known.iter().any(|known| match known.ends_with(':') {
                true => field.len() > known.len() && field.starts_with(known),
                false => field == *known,
            })
        };
        let names: Vec<String> = list.split(',').map(str::to_owned).collect();
        if let Some(field) = names.iter().find(|field| !is_known(field)) {
            let choice = known.join(", ").replace("tag:", "tag:KEY");
            return refuse(format!("Unknown field '{field}'. The fields are {choice}"));
        }
        Ok(Some(Fields { names, raw }))
    }

    /// Returns whether this field was chosen.
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|field| field == name)
    }

    /// Returns whether bytes are printed unescaped.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// Prints one record. Without `-0` it is one line with escaped fields, so that nothing in a field splits
    /// the line or the field; with `-0`, only NUL ends the record.
    pub fn write(&self, cell: &dyn Fn(&str) -> Vec<u8>, out: &mut dyn Write) -> io::Result<()> {
        for (number, name) in self.names.iter().enumerate() {
            if number > 0 {
                out.write_all(b"\t")?;
            }
            let cell = cell(name);
            if self.raw {
                for (part, bytes) in cell.split(|byte| *byte == 0).enumerate() {
                    if part > 0 {
                        out.write_all(b"\\u{0}")?;
                    }
                    out.write_all(bytes)?;
                }
            } else {
                write!(out, "{}", Escaped(&cell))?;
            }
        }
        out.write_all(if self.raw { b"\0" } else { b"\n" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::table;

    fn parse(line: &[&str]) -> Result<Option<Fields>, String> {
        let command = table::command("members").unwrap();
        let flags = Flags::parse(command, line.iter().map(|word| (*word).into())).unwrap();
        Fields::parse(&flags, &["name", "tag:"]).map_err(|failure| match failure {
            Failure::Message(why) => why,
            other => format!("{other:?}"),
        })
    }

    fn printed(line: &[&str], cell: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let fields = parse(line).unwrap().unwrap();
        fields.write(&|_| cell.to_vec(), &mut out).unwrap();
        out
    }

    #[test]
    fn a_record_is_one_line_or_ends_with_nul() {
        let cell = b"a\tb\nc\0\xff";
        assert_eq!(printed(&["-fields=name"], cell), b"a\\tb\\nc\\u{0}\\xff\n");
        assert_eq!(
            printed(&["-0", "-fields=name"], cell),
            b"a\tb\nc\\u{0}\xff\0"
        );
        assert_eq!(printed(&["-fields=name,tag:x"], b"v"), b"v\tv\n");
    }

    #[test]
    fn what_cannot_be_printed_is_refused() {
        assert!(parse(&[]).unwrap().is_none());
        for (line, why) in [
            (
                &["-fields=nme"][..],
                "Unknown field 'nme'. The fields are name, tag:KEY",
            ),
            (
                &["-fields="],
                "Unknown field ''. The fields are name, tag:KEY",
            ),
            (
                &["-fields=name,"],
                "Unknown field ''. The fields are name, tag:KEY",
            ),
            (
                &["-fields=tag:"],
                "Unknown field 'tag:'. The fields are name, tag:KEY",
            ),
            (&["-0"], "-0 requires -fields"),
            (
                &["-fields=name", "-format=json"],
                "Only one of -fields and -format=json allowed",
            ),
        ] {
            assert_eq!(parse(line).err().as_deref(), Some(why), "{line:?}");
        }
    }
}
