//! Header lines of a handler in a directory: settings in the block of comments at the top of the file.
//!
//! ```sh
//! #!/bin/sh
//! # cottar: on=member-join,member-leave settle=2s
//! # cottar: where.role=web input=json
//! ```

use super::settings::header_pairs;

/// Limit for the leading block of comment lines, in bytes.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Comment signs of the usual scripting languages.
const COMMENTS: [&str; 4] = ["#", "//", "--", ";"];
/// Text that follows the comment sign, and optional blanks, in a header line.
pub const MARK: &[u8] = b"cottar:";

/// Returns the pairs of all header lines of a file that begins with `text`. The first [`HEADER_BYTES_MAX`] +
/// 1 bytes of the file are enough.
///
/// # Errors
/// If the block of comment lines exceeds [`HEADER_BYTES_MAX`], or a header line has a syntax error.
pub fn read_header(text: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut bytes = 0;
    for (at, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let Some(comment) = comment(line) else {
            break;
        };
        bytes += line.len();
        if bytes > HEADER_BYTES_MAX {
            return Err(format!(
                "the comment lines at the beginning have more than {HEADER_BYTES_MAX} bytes"
            ));
        }
        let Some(said) = comment.strip_prefix(MARK) else {
            continue;
        };
        let in_line = |why: &str| format!("line {}: {why}", at + 1);
        let said = std::str::from_utf8(said.trim_ascii()).map_err(|_| in_line("not UTF-8"))?;
        pairs.extend(header_pairs(said).map_err(|why| in_line(&why))?);
    }
    Ok(pairs)
}

/// Returns the text of a comment line without the sign and the blanks behind it; `None` for other lines.
fn comment(line: &[u8]) -> Option<&[u8]> {
    let mut signs = COMMENTS.iter();
    let text = signs.find_map(|sign| line.strip_prefix(sign.as_bytes()))?;
    Some(text.trim_ascii_start())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match read_header(text.as_bytes()) {
            Ok(pairs) => {
                let shown = pairs.iter().map(|(key, value)| format!("{key}={value}"));
                shown.collect::<Vec<_>>().join("|")
            }
            Err(why) => format!("error: {why}"),
        }
    }

    #[test]
    fn header_lines_stand_in_the_leading_comments() {
        for (text, expected) in [
            ("", ""),
            ("#!/bin/sh\necho on=x\n", ""),
            ("#!/bin/sh\n# cottar: on=user\n", "on=user"),
            ("# cottar: on=user", "on=user"),
            ("#cottar:on=user settle=2s \r\n", "on=user|settle=2s"),
            (
                "#!/bin/sh\n# Words.\n#\n#   cottar: on=user\n#\tcottar: where.role=\"a b\"\n\n# cottar: no=1",
                "on=user|where.role=a b",
            ),
            (
                "#!/usr/bin/env node\n// cottar: on=user\nx\n// cottar: no=1",
                "on=user",
            ),
            ("#!/usr/bin/lua\n-- cottar: on=query:q\n", "on=query:q"),
            ("; cottar: on=*\n", "on=*"),
            ("# cottar:\n# cottar: on=sync\n", "on=sync"),
            // Comments that only mention cottar are not header lines.
            (
                "# cottar runs this\n# see cottar: on=x\n## cottar: on=x\n",
                "",
            ),
            ("\n# cottar: on=user\n", ""),
            (" # cottar: on=user\n", ""),
            ("\u{feff}#!/bin/sh\n# cottar: on=user\n", ""),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
        assert_eq!(read_header(b"\x7fELF\0\n# cottar: on=user"), Ok(vec![]));
        // Bytes in the block that are not UTF-8 are accepted outside of header lines.
        let latin = b"# \xe9\n# cottar: on=user\n";
        assert_eq!(read_header(latin).unwrap().len(), 1);
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, expected) in [
            (
                "#!/bin/sh\n# cottar: on\n",
                "error: line 2: 'on' is not KEY=VALUE",
            ),
            (
                "# cottar: on=\"user\n",
                "error: line 1: the quoted value of 'on' has no end",
            ),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
        let why = read_header(b"# cottar: on=user:\xe9\n").unwrap_err();
        assert_eq!(why, "line 1: not UTF-8");
    }

    #[test]
    fn the_block_is_bounded() {
        let long = "the comment lines at the beginning have more than 4096 bytes";
        let line = |len: usize| format!("# cottar: on=user:{}\n", "x".repeat(len - 19));
        assert_eq!(line(100).len(), 100);
        assert!(read_header(line(HEADER_BYTES_MAX).as_bytes()).is_ok());
        for bytes in [HEADER_BYTES_MAX + 1, 5 << 10] {
            assert_eq!(read_header(line(bytes).as_bytes()), Err(long.to_owned()));
            // The same when a reader cuts the text, and behind other comments.
            let cut = &line(bytes)[..=HEADER_BYTES_MAX];
            assert_eq!(read_header(cut.as_bytes()), Err(long.to_owned()));
        }
        let many = "# x\n".repeat(1025);
        assert_eq!(read_header(many.as_bytes()), Err(long.to_owned()));
        let code = format!("# cottar: on=user\n{}", "x\n".repeat(9000));
        assert_eq!(read_header(code.as_bytes()).unwrap().len(), 1);
        // The line that ends the block may begin before the limit and end behind it.
        let edge = format!("{}{}", line(HEADER_BYTES_MAX - 5), "echo a long line");
        assert!(read_header(&edge.as_bytes()[..=HEADER_BYTES_MAX]).is_ok());
    }
}
