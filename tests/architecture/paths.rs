//! Extracts the paths that a source file uses.

use crate::tokens::{Token, closed};

/// A path in the source, with `crate`, `self` and `super` resolved.
#[derive(Debug, PartialEq)]
pub struct Use {
    pub line: usize,
    pub path: String,
}

/// Returns every path in the file of the module `module` (`["swim", "table"]`), with use trees expanded.
pub fn uses(tokens: &[(usize, Token)], module: &[String]) -> Vec<Use> {
    let mut uses = Vec::new();
    let mut module = module.to_vec();
    // For each open brace, whether it belongs to a module.
    let mut braces = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let word = |at: usize| tokens.get(at).and_then(|(_, token)| token.word());
        let mark = |at: usize, mark| tokens.get(at).is_some_and(|(_, token)| token.is(mark));
        if word(index) == Some("mod") && word(index + 1).is_some() && mark(index + 2, '{') {
            module.push(word(index + 1).unwrap().into());
            braces.push(true);
            index += 3;
        } else if mark(index, '{') {
            braces.push(false);
            index += 1;
        } else if mark(index, '}') {
            if braces.pop() == Some(true) {
                module.pop();
            }
            index += 1;
        } else if word(index).is_some() {
            let in_use = index > 0 && word(index - 1) == Some("use");
            index = path(tokens, index, &[], in_use, &module, &mut uses);
        } else {
            index += 1;
        }
    }
    uses
}

/// Reads a path at `index`, after its prefix, and returns the index of its end.
fn path(
    tokens: &[(usize, Token)],
    mut index: usize,
    before: &[String],
    in_use: bool,
    module: &[String],
    uses: &mut Vec<Use>,
) -> usize {
    let line = tokens[index].0;
    let mut segments = before.to_vec();
    let mark = |at: usize, mark| tokens.get(at).is_some_and(|(_, token)| token.is(mark));
    loop {
        match &tokens[index].1 {
            Token::Word(word) => segments.push(word.clone()),
            Token::Mark('*') => segments.push("*".into()),
            Token::Mark('{') if in_use => {
                let end = closed(tokens, index);
                index += 1;
                while index < end - 1 {
                    match tokens[index].1 {
                        Token::Mark(',') => index += 1,
                        _ => index = path(tokens, index, &segments, true, module, uses),
                    }
                }
                return end;
            }
            Token::Mark(_) => return index + 1,
        }
        index += 1;
        if !(mark(index, ':') && mark(index + 1, ':')) {
            break;
        }
        // A turbofish is not part of the path.
        if mark(index + 2, '<') {
            index += 2;
            break;
        }
        if index + 2 >= tokens.len() {
            break;
        }
        index += 2;
    }
    uses.push(Use {
        line,
        path: resolve(&segments, module).join("::"),
    });
    if in_use && tokens.get(index).and_then(|(_, token)| token.word()) == Some("as") {
        index += 2;
    }
    index
}

fn resolve(segments: &[String], module: &[String]) -> Vec<String> {
    let mut base: Option<Vec<String>> = None;
    let mut rest = segments;
    while let Some((first, after)) = rest.split_first() {
        match first.as_str() {
            "crate" | "cottar" => base = Some(vec![]),
            "self" if after.is_empty() && base.is_none() => return vec!["self".into()],
            "self" => base = Some(base.unwrap_or_else(|| module.to_vec())),
            "super" => {
                let mut up = base.unwrap_or_else(|| module.to_vec());
                up.pop();
                base = Some(up);
            }
            _ => break,
        }
        rest = after;
    }
    // `self` in a use tree stands for the tree's prefix.
    let rest = rest.iter().filter(|segment| *segment != "self").cloned();
    match base {
        Some(base) => ["crate".to_owned()]
            .into_iter()
            .chain(base)
            .chain(rest)
            .collect(),
        None => rest
            .enumerate()
            .map(|(index, segment)| match (index, segment.as_str()) {
                (0, "core" | "alloc") => "std".to_owned(),
                _ => segment,
            })
            .collect(),
    }
}

pub fn within(path: &str, stem: &str) -> bool {
    path.strip_prefix(stem)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
