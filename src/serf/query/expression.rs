//! Rewrites regular expressions in the reference's syntax (RE2) for the local engine. The engine's syntax
//! lacks quoted text and octal numbers, and is stricter about characters that are special in other syntaxes.
//!
//! Not supported at all are Unicode classes (`\pL`, `\p{Greek}`) and `(?i)` for non-ASCII letters. They would
//! need the crate `regex` with its tables instead of `regex-lite`: the static binary would grow from
//! 1,504,240 to 1,888,376 bytes, by a quarter, and far exceed its limit of 1,500,000. (`make static` with
//! musl, regex 1.13.2 with `std` and the Unicode tables for case, general categories, Perl's classes and
//! scripts, without its performance features; regex-lite 0.1.9.)

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

/// Rewrites an expression. Invalid expressions stay invalid. The result is at most eight times as long.
pub fn rewrite_expression(source: &str) -> String {
    let mut rest = source.chars().peekable();
    let mut out = String::with_capacity(source.len());
    // Number of characters since the start of the class; `None` outside of classes.
    let mut in_class: Option<usize> = None;
    while let Some(character) = rest.next() {
        let first_in_class = in_class == Some(0);
        if let Some(count) = &mut in_class {
            *count += 1;
        }
        match (character, in_class.is_some()) {
            ('\\', within) => escape(&mut rest, within, &mut out),
            ('[', false) => {
                in_class = Some(0);
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            // A `]` directly after the `[` does not end the class.
            (']', true) if first_in_class => out.push_str("\\]"),
            (']', true) => {
                in_class = None;
                out.push(']');
            }
            ('[', true) if rest.peek() == Some(&':') => named_class(&mut rest, &mut out),
            ('[' | '&' | '~', true) => {
                out.push('\\');
                out.push(character);
            }
            ('{', false) if !is_repetition(rest.clone()) => out.push_str("\\{"),
            (other, _) => out.push(other),
        }
    }
    out
}

/// Rewrites an escape sequence; its backslash is consumed.
fn escape(rest: &mut Peekable<Chars<'_>>, in_class: bool, out: &mut String) {
    let Some(next) = rest.next() else {
        // Invalid; left to the engine to report.
        return out.push('\\');
    };
    match next {
        'Q' if !in_class => quoted(rest, out),
        // Outside of quoted text it has no effect.
        'E' if !in_class => {}
        '0'..='7' => {
            let is_octal = next == '0' || rest.peek().is_some_and(|c| ('0'..='7').contains(c));
            if !is_octal {
                out.push('\\');
                return out.push(next);
            }
            let mut number = next.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                let Some(digit) = rest.peek().and_then(|c| c.to_digit(8)) else {
                    break;
                };
                rest.next();
                number = number * 8 + digit;
            }
            let _ = write!(out, "\\x{{{number:x}}}");
        }
        // The engine would treat the escaped characters as word boundaries.
        '<' | '>' => out.push(next),
        other => {
            out.push('\\');
            out.push(other);
        }
    }
}

/// Rewrites the text up to `\E` or the end, with each character escaped.
fn quoted(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    while let Some(character) = rest.next() {
        if character == '\\' && rest.next_if_eq(&'E').is_some() {
            return;
        }
        out.push_str(&regex_lite::escape(character.encode_utf8(&mut [0; 4])));
    }
}

/// Rewrites `[:name:]` in a class, its `[` already consumed; escapes the bracket if this is not a named
/// class.
fn named_class(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    let text: String = rest.clone().collect();
    let end = text.find(":]");
    let name = end.and_then(|end| text.get(1..end)).unwrap_or_default();
    let is_name = |name: &str| name.bytes().all(|b| b == b'^' || b.is_ascii_lowercase());
    if name.is_empty() || !is_name(name) {
        return out.push_str("\\[");
    }
    let _ = write!(out, "[:{name}:]");
    for _ in 0..name.len() + 3 {
        rest.next();
    }
}

/// Whether a brace is followed by `n}`, `n,}` or `n,m}`; otherwise the brace is a literal character.
fn is_repetition(mut rest: Peekable<Chars<'_>>) -> bool {
    let digits = |rest: &mut Peekable<Chars<'_>>| {
        let mut count = 0;
        while rest.next_if(char::is_ascii_digit).is_some() {
            count += 1;
        }
        count
    };
    if digits(&mut rest) == 0 {
        return false;
    }
    if rest.next_if_eq(&',').is_some() {
        digits(&mut rest);
    }
    rest.next() == Some('}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use regex_lite::Regex;

    #[test]
    fn what_the_reference_understands_is_understood() {
        // Each with the result of the reference.
        for (expression, text, expected) in [
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\Q(a\E+$", "(aaa", true),
            (r"^\Q[\", r"[\", true),
            (r"^\Qa", "a", true),
            (r"^a\E$", "a", true),
            (r"^\167\145b$", "web", true),
            (r"^[\141-\143]+$", "abc", true),
            (r"^\0$", "\0", true),
            (r"^\x77eb$", "web", true),
            (r"^[[:alpha:]]+$", "web", true),
            (r"^[[:^digit:]-]+$", "a-b", true),
            (r"^[a[b]+$", "[ab", true),
            (r"^[[:]$", "[", true),
            (r"^[a&&b~~]+$", "&~ab", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]+$", "bc", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^{$", "{", true),
            (r"^a{2}$", "aa", true),
            (r"^a{2,}$", "aaa", true),
            (r"^\<a\>$", "<a>", true),
            (r"^a\-\/$", "a-/", true),
        ] {
            let regex = Regex::new(&rewrite_expression(expression));
            let regex = regex.unwrap_or_else(|why| panic!("{expression}: {why}"));
            assert_eq!(regex.is_match(text), expected, "{expression} {text}");
        }
    }

    #[test]
    fn what_is_wrong_stays_wrong_and_what_is_missing_is_an_error() {
        for expression in [
            "(",
            "[",
            "*a",
            r"\1",
            r"a\",
            r"\pL",
            r"[\pL]+",
            r"\p{Greek}",
            r"\8",
        ] {
            assert!(
                Regex::new(&rewrite_expression(expression)).is_err(),
                "{expression}"
            );
        }
    }
}
