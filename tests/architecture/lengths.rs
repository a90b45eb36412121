//! Checks that files and functions are short, or say why they are not split.

use crate::read;
use crate::tokens::{Token, closed, tokens};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// How a comment begins that says why a file or a function is not split: at the top of the file, or among the
/// comments and attributes directly above the function.
const REASON: &str = "// Long: ";

/// A function of a source file, with the lines of its signature's start and of its closing brace.
struct Function {
    name: String,
    first: usize,
    last: usize,
}

/// Returns the functions that have a body, nested ones too.
fn functions(source: &str) -> Vec<Function> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        let [(first, Token::Word(keyword)), (_, Token::Word(name))] = pair else {
            continue;
        };
        if keyword != "fn" {
            continue;
        }
        let mut at = index + 2;
        while at < tokens.len() && !tokens[at].1.is('{') && !tokens[at].1.is(';') {
            // The semicolon of an array type is between brackets.
            at = match tokens[at].1 {
                Token::Mark('(' | '[') => closed(&tokens, at),
                _ => at + 1,
            };
        }
        if tokens.get(at).is_some_and(|(_, token)| token.is('{')) {
            found.push(Function {
                name: name.clone(),
                first: *first,
                last: tokens[closed(&tokens, at) - 1].0,
            });
        }
    }
    found
}

/// Returns the files and functions over their limits without a reason, and the reasons without such a file or
/// function.
fn breaches(file: &str, source: &str) -> Vec<String> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_reason = |line: &usize| lines[*line - 1].starts_with(REASON);
    let is_above = |line: &usize| lines[*line - 1].starts_with(['#', '/']);
    let mut reasons: Vec<usize> = (1..=lines.len()).filter(is_reason).collect();
    let mut found = Vec::new();

    let is_top = |line: &usize| lines[*line - 1].is_empty() || lines[*line - 1].starts_with("//");
    let mut top = (1..=lines.len()).take_while(is_top);
    if lines.len() > FILE_LINES_MAX {
        match top.find(is_reason) {
            Some(reason) => reasons.retain(|line| *line != reason),
            None => found.push(format!(
                "{file}:1: the file has {} lines, limit {FILE_LINES_MAX}",
                lines.len()
            )),
        }
    }
    for Function { name, first, last } in functions(source) {
        let length = last - first + 1;
        if length <= FUNCTION_LINES_MAX {
            continue;
        }
        let mut above = (1..first).rev().take_while(is_above);
        match above.find(is_reason) {
            Some(reason) => reasons.retain(|line| *line != reason),
            None => found.push(format!(
                "{file}:{first}: {name} has {length} lines, limit {FUNCTION_LINES_MAX}"
            )),
        }
    }
    let idle = reasons.iter();
    found.extend(
        idle.map(|line| {
            format!("{file}:{line}: the reason is not needed, nothing is over its limit")
        }),
    );
    found
}

#[test]
fn files_and_functions_are_short_or_say_why_not() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for (file, source) in read(folder) {
            found.extend(breaches(&file, &source));
        }
    }
    let advice = format!("Split them, or begin a comment with \"{REASON}\" and say why not.");
    assert!(found.is_empty(), "\n{}\n{advice}", found.join("\n"));
}

/// A function with a body of so many lines.
fn function(name: &str, body_lines: usize) -> String {
    let body = "    g();\n".repeat(body_lines);
    format!("fn {name}(a: [u8; 4]) -> [u8; 2] {{\n{body}}}\n")
}

#[test]
fn a_long_file_is_found() {
    let lines = |count| "const A: u8 = 0;\n".repeat(count);
    assert_eq!(breaches("x.rs", &lines(500)), [""; 0]);
    let found = ["x.rs:1: the file has 501 lines, limit 500"];
    assert_eq!(breaches("x.rs", &lines(501)), found);
    let reasoned = format!("//! Title.\n\n// Long: a table.\n{}", lines(500));
    assert_eq!(breaches("x.rs", &reasoned), [""; 0]);
    let late = format!("const A: u8 = 0;\n// Long: a table.\n{}", lines(500));
    assert_eq!(breaches("x.rs", &late).len(), 2);
    let bare = format!("// Long:\n{}", lines(500));
    assert_eq!(breaches("x.rs", &bare).len(), 1);
}

#[test]
fn a_long_function_is_found() {
    assert_eq!(breaches("x.rs", &function("f", 68)), [""; 0]);
    let found = ["x.rs:1: f has 71 lines, limit 70"];
    assert_eq!(breaches("x.rs", &function("f", 69)), found);
    let within = format!("impl A {{\n\n{}}}\nfn f();\n", function("g", 70));
    let found = ["x.rs:3: g has 72 lines, limit 70"];
    assert_eq!(breaches("x.rs", &within), found);

    let long = function("f", 69);
    let reasoned = format!("/// Title.\n// Long: a table.\n#[test]\n{long}");
    assert_eq!(breaches("x.rs", &reasoned), [""; 0]);
    let apart = format!("// Long: a table.\n\n{long}");
    assert_eq!(breaches("x.rs", &apart).len(), 2);
    let second = format!("// Long: a table.\n{long}{}", function("g", 69));
    assert_eq!(breaches("x.rs", &second).len(), 1);
}

#[test]
fn a_reason_for_nothing_is_found() {
    let source = format!("// Long: a table.\n{}", function("f", 1));
    let found = ["x.rs:1: the reason is not needed, nothing is over its limit"];
    assert_eq!(breaches("x.rs", &source), found);
}
