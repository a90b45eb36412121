//! Regular expressions in a handler's settings.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};

use crate::serf::rewrite_expression;

/// Limit for the memory of a compiled expression, in bytes; it bounds the time of a match, too.
const COMPILED_BYTES_MAX: usize = 256 << 10;

/// A regular expression that must match a whole text, as those of `members -tag` do.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles an expression; an empty one matches only an empty text.
    ///
    /// # Errors
    /// If the syntax is invalid or the compiled expression exceeds `COMPILED_BYTES_MAX`.
    pub fn new(source: &str) -> Result<Self, String> {
        // The group makes `^` and `$` apply to every alternative.
        RegexBuilder::new(&format!("^(?:{})$", rewrite_expression(source)))
            .size_limit(COMPILED_BYTES_MAX)
            .build()
            .map(|regex| Pattern {
                source: source.to_owned(),
                regex,
            })
            .map_err(|why| why.to_string())
    }

    /// Returns whether the whole text matches. Bytes that are not UTF-8 count as replacement characters.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.regex.is_match(&String::from_utf8_lossy(text))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

/// Shows the expression as it was written.
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_to_match_as_a_whole() {
        for (source, text, expected) in [
            ("web", "web", true),
            ("web", "web1", false),
            ("a|b", "ab", false),
            ("web.*|db", "web1", true),
            ("", "", true),
            ("", "x", false),
            (r"\Qa.b\E", "a.b", true),
        ] {
            let pattern = Pattern::new(source).unwrap();
            assert_eq!(pattern.matches(text.as_bytes()), expected, "{source}");
        }
        assert!(Pattern::new("(").is_err());
        assert!(Pattern::new("(a{1000}){1000}").is_err());
    }
}
