//! Tells the program for which target and from which commit it is built; `cottar version` prints both.

use std::{env, fs};

/// Digits of a commit's name that tell it from all others.
const DIGITS: usize = 12;

/// The first word in `text` that is the name of a commit.
fn commit(text: &str) -> Option<&str> {
    let is_hex = |word: &&str| word.len() >= 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.find(is_hex).and_then(|word| word.get(..DIGITS))
}

fn main() {
    // `cargo package` and `git archive` leave a file behind; in a repository the Makefile asks git.
    let texts = [".cargo_vcs_info.json", "dist/commit"]
        .map(|file| fs::read_to_string(file).unwrap_or_default());
    let left = texts.iter().find_map(|text| commit(text));
    let given = env::var("COTTAR_COMMIT").unwrap_or_default();
    println!("cargo::rustc-env=COTTAR_COMMIT={}", left.unwrap_or(&given));
    println!(
        "cargo::rustc-env=COTTAR_TARGET={}",
        env::var("TARGET").unwrap_or_default()
    );
    println!("cargo::rerun-if-env-changed=COTTAR_COMMIT");
    for file in ["dist/build.rs", "dist/commit"] {
        println!("cargo::rerun-if-changed={file}");
    }
}
