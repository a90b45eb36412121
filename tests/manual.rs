//! The manual pages against the tables of flags and of keys: neither may know one that the other does not.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use cottar::agent::settings::KEYS;
use cottar::cli::table;
use std::collections::BTreeSet;
use std::path::Path;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The flags that lines with this macro in front introduce: `.Op Fl name`, `.It Fl name`.
fn flags<'a>(page: &'a str, introduction: &str) -> Vec<&'a str> {
    page.lines()
        .filter_map(|line| line.strip_prefix(introduction))
        .map(|rest| rest.split(' ').next().unwrap_or(rest))
        .collect()
}

/// The text of the section or list item that begins with `start`, up to the next one.
fn item<'a>(page: &'a str, start: &str) -> &'a str {
    let from = page
        .find(start)
        .unwrap_or_else(|| panic!("nothing begins with {start}"));
    let rest = &page[from + start.len()..];
    let end = ["\n.It ", "\n.El", "\n.Sh "]
        .iter()
        .filter_map(|mark| rest.find(mark))
        .min();
    &rest[..end.unwrap_or(rest.len())]
}

#[test]
fn the_agents_page_has_the_flags_of_the_table() {
    let page = page("cottar-agent.8");
    let agent = table::command("agent").expect("the agent command");
    let known: BTreeSet<&str> = agent.all_flags().map(|flag| flag.name).collect();
    for introduction in [".Op Fl ", ".It Fl "] {
        let listed = flags(&page, introduction);
        let set: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(set, known, "flags after \"{introduction}\"");
        assert_eq!(
            set.len(),
            listed.len(),
            "a flag is listed twice after \"{introduction}\""
        );
    }
}

#[test]
fn the_agents_page_names_values_and_defaults_as_the_table_does() {
    let page = page("cottar-agent.8");
    let agent = table::command("agent").expect("the agent command");
    for flag in agent.all_flags() {
        let text = item(&page, &format!(".It Fl {}", flag.name));
        let heading = text.lines().next().unwrap_or_default();
        assert_eq!(
            heading.is_empty(),
            flag.kind.is_switch(),
            "-{}: a switch has no value, everything else has one: {heading}",
            flag.name
        );
        // What reads like a default in the table must be in the page's words, too.
        if !flag.kind.is_switch() && !flag.default.is_empty() {
            let words = text.replace('\n', " ");
            assert!(
                words.contains(flag.default.trim_end_matches('.')),
                "-{}: the page does not name the default {}: {words}",
                flag.name,
                flag.default
            );
        }
        let repeatable = text.contains("several times") || text.contains("Like\n.Fl join");
        assert_eq!(
            repeatable,
            flag.kind.is_repeatable(),
            "-{}: given several times?",
            flag.name
        );
    }
}

#[test]
fn every_flag_of_the_table_is_described() {
    for command in table::COMMANDS {
        let names: Vec<&str> = command.all_flags().map(|flag| flag.name).collect();
        let unique: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(
            unique.len(),
            names.len(),
            "{} has a flag twice",
            command.name
        );
        for flag in command.all_flags() {
            assert!(
                !flag.help.is_empty(),
                "{} -{} has no help",
                command.name,
                flag.name
            );
            assert_eq!(
                flag.value.is_empty(),
                flag.kind.is_switch(),
                "{} -{}",
                command.name,
                flag.name
            );
        }
    }
}

#[test]
fn the_page_of_files_has_the_keys_of_the_table() {
    let page = page("cottar.conf.5");
    let listed: Vec<String> = flags(&page, ".It Va ")
        .iter()
        .map(|key| key.to_ascii_lowercase())
        .collect();
    let set: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let known: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(set, known);
    assert_eq!(set.len(), listed.len(), "a key is listed twice");
}

#[test]
fn the_page_of_files_says_of_each_key_what_the_table_does() {
    let page = page("cottar.conf.5");
    for key in KEYS {
        let name = match key.name {
            "msgpackusenewtimeformat" => "MsgpackUseNewTimeFormat",
            name => name,
        };
        let text = item(&page, &format!(".It Va {name} Pq "));
        let heading = text.lines().next().unwrap_or_default();
        assert_eq!(heading, key.type_name(), "{name}");
        let says = |words: &str| text.contains(words);
        assert!(
            key.flag.is_empty() || says(&format!("The flag is\n.Fl {} .", key.flag)),
            "{name}: the flag -{}",
            key.flag
        );
        assert_eq!(says("The flag is"), !key.flag.is_empty(), "{name}");
        assert_eq!(says("A reload applies it."), key.reload, "{name}");
        let default = format!("The default is {}.", key.default);
        assert!(
            key.default.is_empty() || says(&default),
            "{name}: {default}"
        );
        assert!(
            !key.name.ends_with("_limit") || says("in bytes"),
            "{name}: its unit"
        );
    }
}

#[test]
fn keys_and_flags_have_the_same_defaults() {
    let agent = table::command("agent").expect("the agent command");
    for key in KEYS.iter().filter(|key| !key.flag.is_empty()) {
        let flag = agent.flag(key.flag).expect(key.name);
        let default = match key.flag {
            // The flag is the opposite of its key.
            "disable-compression" => "false",
            _ => key.default,
        };
        assert_eq!(flag.default, default, "{} and -{}", key.name, key.flag);
    }
    // Those that are about files, and so stand in none.
    let bare: Vec<&str> = agent
        .all_flags()
        .map(|flag| flag.name)
        .filter(|flag| KEYS.iter().all(|key| key.flag != *flag))
        .collect();
    assert_eq!(bare, ["config-dir", "config-file"]);
}
