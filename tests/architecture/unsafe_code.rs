//! Checks that the compiler refuses unsafe code outside of the one folder for it.

use crate::boundaries::MODULES;
use crate::tokens::{Token, tokens};
use crate::{UNSAFE_FOLDER, module_of, sources};

/// Returns whether the source has an inner attribute such as `#![forbid(unsafe_code)]`, regardless of
/// spacing.
fn declares(source: &str, level: &str) -> bool {
    let tokens = tokens(source);
    let marks: Vec<String> = tokens
        .iter()
        .map(|(_, token)| match token {
            Token::Word(word) => word.clone(),
            Token::Mark(mark) => mark.to_string(),
        })
        .collect();
    let due = ["#", "!", "[", level, "(", "unsafe_code", ")", "]"];
    marks.windows(due.len()).any(|window| window == due)
}

/// Returns whether this file must forbid unsafe code: it is the root of a module, or, in the module with the
/// unsafe folder, the root of one of that folder's siblings.
fn must_forbid(file: &str) -> bool {
    let above = UNSAFE_FOLDER.trim_end_matches('/');
    let (mixed, folder) = above.rsplit_once('/').unwrap();
    match module_of(file).as_slice() {
        [] => file == "src/main.rs",
        [top] => format!("src/{top}") != mixed,
        [top, name] => format!("src/{top}") == mixed && name != folder,
        _ => false,
    }
}

#[test]
fn the_compiler_refuses_unsafe_code_too() {
    let sources = sources();
    let lax: Vec<_> = sources
        .iter()
        .filter(|(file, source)| must_forbid(file) && !declares(source, "forbid"))
        .map(|(file, _)| file)
        .collect();
    assert!(lax.is_empty(), "without #![forbid(unsafe_code)]: {lax:?}");
    let roots = sources.iter().filter(|(file, _)| must_forbid(file)).count();
    assert!(roots > MODULES.len(), "{roots} roots");
    let (_, lib) = sources
        .iter()
        .find(|(file, _)| file == "src/lib.rs")
        .unwrap();
    assert!(declares(lib, "deny"));
    for (file, source) in &sources {
        let allows = tokens(source).windows(3).any(|window| {
            window[0].1.word() == Some("allow")
                && window[1].1.is('(')
                && window[2].1.word() == Some("unsafe_code")
        });
        assert!(
            !allows || file.starts_with(UNSAFE_FOLDER),
            "{file} allows unsafe code"
        );
    }
}

#[test]
fn roots_of_modules_are_recognised() {
    for (file, expected) in [
        ("src/main.rs", true),
        ("src/time.rs", true),
        ("src/agent/mod.rs", true),
        ("src/os/clock.rs", true),
        ("src/os/mod.rs", false),
        ("src/os/sys/mod.rs", false),
        ("src/os/sys/users.rs", false),
        ("src/agent/run/mod.rs", false),
        ("src/lib.rs", false),
    ] {
        assert_eq!(must_forbid(file), expected, "{file}");
    }
    assert!(declares("#! [forbid( unsafe_code )]", "forbid"));
    assert!(!declares("// #![forbid(unsafe_code)]", "forbid"));
    assert!(!declares("#![deny(unsafe_code)]", "forbid"));
}
