//! Counts with a noun in messages: "1 event", "2 events".

#![forbid(unsafe_code)]

use std::fmt;

/// A number and its noun in the singular; the plural appends `s`.
#[derive(Clone, Copy, Debug)]
pub struct Count<'a>(pub u64, pub &'a str);

impl fmt::Display for Count<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count(number, noun) = self;
        let plural = if *number == 1 { "" } else { "s" };
        write!(f, "{number} {noun}{plural}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        let shown = [0, 1, 2].map(|number| Count(number, "user event").to_string());
        assert_eq!(shown, ["0 user events", "1 user event", "2 user events"]);
    }
}
