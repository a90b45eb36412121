//! Every section of `src/spec` that a comment cites exists.

use std::collections::BTreeMap;
use std::path::Path;

use regex_lite::Regex;

use super::read;

/// Folders whose comments cite sections of the gossip spec by bare numbers, as in `(4.11)`.
const BARE_CITATIONS: &[&str] = &["src/wire/", "src/swim/", "src/serf/"];
/// The spec that bare numbers refer to.
const BARE_PAGE: &str = "gossip";
/// One number, or several: `5.8.3, 5.8.4 and 6`.
const NUMBERS: &str = r"D?\d+(?:\.\d+)*(?:(?:,| and| or) D?\d+(?:\.\d+)*)*";

/// Returns the section numbers of each spec, by the spec's name.
type Pages = BTreeMap<String, Vec<String>>;

fn sections(page: &str) -> Vec<String> {
    let heading = Regex::new(r"(?m)^#+ (D?\d+(?:\.\d+)*)\.? ").unwrap();
    let numbers = heading.captures_iter(page).map(|found| found[1].to_owned());
    numbers.collect()
}

/// Returns the text of comments: each block of comment lines as one string, with the number of its first
/// line.
pub fn comments(source: &str) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, usize, String)> = Vec::new();
    for (index, line) in source.lines().enumerate() {
        let Some(start) = line.find("//") else {
            continue;
        };
        let text = line[start..].trim_start_matches(['/', '!']).trim();
        match blocks.last_mut() {
            Some((_, last, block)) if *last + 1 == index => {
                *last = index;
                block.push(' ');
                block.push_str(text);
            }
            _ => blocks.push((index, index, text.to_owned())),
        }
    }
    let block = |(first, _, text)| (first + 1, text);
    blocks.into_iter().map(block).collect()
}

/// Returns citations of sections that no spec has.
fn dangling(file: &str, source: &str, pages: &Pages) -> Vec<String> {
    let names = pages.keys().cloned().collect::<Vec<_>>().join("|");
    let named = Regex::new(&format!("(?i)({names}) spec,? ({NUMBERS})")).unwrap();
    let bare = Regex::new(&format!(r"\(([1-9]\d*\.{NUMBERS})[ )]")).unwrap();
    let number = Regex::new(r"D?\d+(?:\.\d+)*").unwrap();
    let is_core = BARE_CITATIONS.iter().any(|folder| file.starts_with(folder));
    let mut missing = Vec::new();
    for (line, text) in comments(source) {
        let by_name = named
            .captures_iter(&text)
            .map(|found| (found[1].to_lowercase(), found[2].to_owned()));
        let by_number = bare
            .captures_iter(&text)
            .filter(|_| is_core)
            .map(|found| (BARE_PAGE.to_owned(), found[1].to_owned()));
        for (page, numbers) in by_name.chain(by_number) {
            for cited in number.find_iter(&numbers).map(|found| found.as_str()) {
                if !pages[&page].iter().any(|section| section == cited) {
                    missing.push(format!("{file}:{line}: {page} spec {cited}"));
                }
            }
        }
    }
    missing
}

fn pages() -> Pages {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/spec");
    let mut pages = Pages::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        pages.insert(name, sections(&std::fs::read_to_string(&path).unwrap()));
    }
    pages
}

#[test]
fn every_cited_section_exists() {
    let pages = pages();
    assert!(
        ["agent", "delivery", "gossip"]
            .iter()
            .all(|page| pages.contains_key(*page))
    );
    let missing: Vec<String> = ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| read(folder))
        .flat_map(|(file, source)| dangling(&file, &source, &pages))
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_citation_of_nothing_is_found() {
    let pages = Pages::from([
        ("agent".to_owned(), sections("## 1. One\n### 1.2 Two\n")),
        ("gossip".to_owned(), sections("#### 4.8.1 Alive\n")),
    ]);
    let missing = |file, source| dangling(file, source, &pages);
    assert_eq!(
        missing("src/agent/x.rs", "/// Agent\n/// spec 1.2, 1.3 and 1"),
        ["src/agent/x.rs:1: agent spec 1.3"]
    );
    assert_eq!(
        missing(
            "src/swim/x.rs",
            "x(); // As before (4.8.1 rule 5), and so (4.9).\n"
        ),
        ["src/swim/x.rs:1: gossip spec 4.9"]
    );
    assert!(missing("src/agent/x.rs", "// Of (4.9) nobody knows.").is_empty());
    assert!(missing("src/swim/x.rs", "// Serf (0.9.4)\nlet x = (4.9);").is_empty());
}
