//! Prints text from other nodes.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use crate::wire::name::Escaped;

/// Indentation of all lines but the first of a text.
const INDENT: &str = "    ";

/// How to print text from other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// Escapes control characters and indents all lines but the first, so that no text can look like our own
    /// output or control the terminal.
    Escaped,
    /// Prints the bytes unchanged.
    Raw,
}

impl Foreign {
    /// Returns `Escaped` for a terminal, `Raw` otherwise.
    pub(super) fn for_stdout() -> Self {
        match io::stdout().is_terminal() {
            true => Foreign::Escaped,
            false => Foreign::Raw,
        }
    }

    /// Writes a text.
    ///
    /// # Errors
    /// If `out` fails.
    pub(super) fn write(self, text: &[u8], out: &mut dyn Write) -> io::Result<()> {
        match self {
            Foreign::Raw => out.write_all(text),
            Foreign::Escaped => out.write_all(readable(text, INDENT).as_bytes()),
        }
    }
}

/// Escapes everything except tabs and newlines; puts `indent` in front of all lines but the first.
pub(super) fn readable(text: &[u8], indent: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if number > 0 {
            shown.push('\n');
            shown.push_str(indent);
        }
        for (number, part) in line.split(|byte| *byte == b'\t').enumerate() {
            let tab = if number > 0 { "\t" } else { "" };
            let _ = write!(shown, "{tab}{}", Escaped(part));
        }
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(foreign: Foreign, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        foreign.write(text, &mut out).unwrap();
        out
    }

    #[test]
    fn a_terminal_gets_no_control_characters_and_no_forged_lines() {
        let text = b"a\tb\r\nAck from 'c'\n\x1b[2J\xc2\x9b\xff";
        assert_eq!(written(Foreign::Raw, text), text);
        assert_eq!(
            String::from_utf8(written(Foreign::Escaped, text)).unwrap(),
            "a\tb\\r\n    Ack from 'c'\n    \\u{1b}[2J\\u{9b}\\xff"
        );
    }
}
