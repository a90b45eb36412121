//! Checks that the oldest supported compiler can parse the sources.

use crate::read;
use crate::tokens::{Token, tokens};

/// Returns the lines of conditions that need let chains, which came with Rust 1.88.
fn let_chains(source: &str) -> Vec<usize> {
    let tokens = tokens(source);
    let is_word = |index: usize, name: &str| {
        tokens
            .get(index)
            .is_some_and(|(_, token)| token.word() == Some(name))
    };
    let mut found = Vec::new();
    for (index, (line, _)) in tokens.iter().enumerate() {
        if !(is_word(index, "let") && index > 0) {
            continue;
        }
        let is_and = |index: usize| {
            let mut pair = tokens.iter().skip(index).take(2);
            pair.len() == 2 && pair.all(|(_, token)| token.is('&'))
        };
        let is_first = is_word(index - 1, "if") || is_word(index - 1, "while");
        let mut depth = 0;
        let mut has_value = false;
        let mut goes_on = index > 1 && is_and(index - 2);
        for (place, (_, token)) in tokens
            .iter()
            .enumerate()
            .skip(index)
            .take_while(|_| is_first)
        {
            match token {
                Token::Mark('(' | '[') => depth += 1,
                Token::Mark(')' | ']') => depth -= 1,
                Token::Mark('{') if depth == 0 => break,
                Token::Mark('=') => has_value = true,
                // After an operand, `&` does not begin a reference.
                Token::Mark('&') if depth == 0 && has_value && is_and(place) => {
                    let before = tokens.get(place - 1).map(|(_, token)| token);
                    goes_on |= before.is_some_and(|token| token.word().is_some() || token.is(')'));
                }
                _ => {}
            }
        }
        if goes_on {
            found.push(*line);
        }
    }
    found
}

#[test]
fn the_oldest_compiler_that_is_promised_can_read_the_sources() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for (file, source) in read(folder) {
            let lines = let_chains(&source).into_iter();
            found.extend(lines.map(|line| format!("{file}:{line}: a let chain")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_let_chain_is_found() {
    for (source, lines) in [
        ("if let Some(a) = b && c {}", 1),
        ("if let Some(a) = b() && c {}", 1),
        ("if a && let Some(b) = c {}", 1),
        ("while let Some(a) = b\n && let Some(c) = a {}", 2),
        ("if let Some(&&a) = b.map(|c| c && d) { e && f }", 0),
        ("if let Some(a) = (b && c).then(f) { let g = a && h; }", 0),
        ("let Some(a) = b else { return c && d };", 0),
        ("let a = b && c;", 0),
        ("if let Some(a) = &&b {}", 0),
    ] {
        assert_eq!(let_chains(source).len(), lines, "{source}");
    }
}
