//! Compares the manual pages with the tables of flags and keys: each must document exactly what the other
//! contains.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use cottar::agent::config::settings::{KEYS, Settings, Slot};
use cottar::cli::table::{self, Kind};
use cottar::handler::settings;
use std::collections::BTreeSet;
use std::path::Path;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the flags that lines with this macro introduce: `.Op Fl name`, `.It Fl name`.
fn flags<'a>(page: &'a str, introduction: &str) -> Vec<&'a str> {
    page.lines()
        .filter_map(|line| line.strip_prefix(introduction))
        .map(|rest| rest.split(' ').next().unwrap_or(rest))
        .collect()
}

/// Returns the text of the section or list item that begins with `start`, up to the next one.
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
        // What looks like a default in the table must be stated in the page, too.
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
fn the_page_of_handlers_has_the_settings_of_the_table() {
    let page = page("cottar-handler.7");
    let (_, rest) = page.split_once("\n.Sh SETTINGS\n").expect("SETTINGS");
    let (section, _) = rest.split_once("\n.El\n").expect("a list");
    let listed: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix(".It Va "))
        .collect();
    let known = settings::KEYS
        .iter()
        .map(|key| format!("{} Pq {}", key.name, key.kind.as_str()));
    let known: BTreeSet<String> = known.collect();
    assert_eq!(listed, known.iter().map(String::as_str).collect());
}

#[test]
fn keys_and_flags_have_the_same_kinds_and_defaults() {
    let agent = table::command("agent").expect("the agent command");
    for key in KEYS.iter().filter(|key| !key.flag.is_empty()) {
        let flag = agent.flag(key.flag).expect(key.name);
        let default = match key.inverted {
            true => "false",
            false => key.default,
        };
        assert_eq!(flag.default, default, "{} and -{}", key.name, key.flag);
        let kind = match key.slot(&mut Settings::default()) {
            Slot::Text(_) => Kind::Text,
            Slot::Bytes(_) => Kind::Bytes,
            Slot::Addresses(_) | Slot::List(_) => Kind::List,
            Slot::Handlers(_) | Slot::Map(_) | Slot::Paths(_) => Kind::ByteList,
            Slot::Switch(_) => Kind::Switch,
            Slot::Number(_) => Kind::Integer,
            Slot::Duration(_) | Slot::Limit(_) => Kind::LateDuration,
            Slot::Ignored => panic!("{} has no effect", key.name),
        };
        assert_eq!(flag.kind, kind, "{} and -{}", key.name, key.flag);
    }
    // Keys about files are not set in a file.
    let bare: Vec<&str> = agent
        .all_flags()
        .map(|flag| flag.name)
        .filter(|flag| KEYS.iter().all(|key| key.flag != *flag))
        .collect();
    assert_eq!(bare, ["check", "config-dir", "config-file"]);
}

/// Returns the part of the tool's page about one command, and the text after the list of commands.
fn command_sections(page: &str) -> (Vec<(&str, &str)>, &str) {
    let (_, rest) = page.split_once("\n.Sh COMMANDS\n").expect("COMMANDS");
    let (commands, common) = rest
        .split_once("\ntalk to an agent and have these flags, too:\n")
        .expect("the flags that all have");
    let sections = commands.split("\n.It Nm cottar Cm ").skip(1);
    let sections = sections.map(|section| {
        let heading = section.lines().next().unwrap_or_default();
        // A command's name may have two words.
        let ends = [" Op ", " Oo ", " Ar "].map(|mark| heading.find(mark));
        let end = ends.into_iter().flatten().min();
        (&heading[..end.unwrap_or(heading.len())], section)
    });
    let (common, _) = common.split_once("\n.Sh ").expect("a section behind it");
    (sections.collect(), common)
}

/// Checks that the flags of a command in a part of the page are those of the table, with the same kind of
/// value and the same default.
fn holds_to(part: &str, flags_of_table: &[&table::Flag], whose: &str) {
    let part = format!("\n{part}");
    let listed: Vec<&str> = part
        .lines()
        .filter_map(|line| line.strip_prefix(".It Fl "))
        .map(|rest| rest.split(' ').next().unwrap_or(rest))
        .collect();
    let known: Vec<&str> = flags_of_table.iter().map(|flag| flag.name).collect();
    assert_eq!(listed, known, "flags of {whose}");
    for flag in flags_of_table {
        let text = item(&part, &format!("\n.It Fl {}", flag.name));
        let heading = text.lines().next().unwrap_or_default();
        // A switch that is on by default can only be turned off, with a value.
        let has_value = !flag.kind.is_switch() || flag.default == "true";
        assert_eq!(
            !heading.is_empty(),
            has_value,
            "{whose} -{}: {heading}",
            flag.name
        );
        if !flag.kind.is_switch() && !flag.default.is_empty() {
            assert!(
                text.contains(flag.default),
                "{whose} -{}: the page does not name the default {}",
                flag.name,
                flag.default
            );
        }
        assert_eq!(
            text.replace('\n', " ").contains("given several times"),
            flag.kind.is_repeatable(),
            "{whose} -{}: given several times?",
            flag.name
        );
    }
}

#[test]
fn the_tools_page_has_the_commands_and_flags_of_the_table() {
    let page = page("cottar.1");
    let (sections, common) = command_sections(&page);
    let listed: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
    let known: Vec<&str> = table::COMMANDS.iter().map(|command| command.name).collect();
    assert_eq!(listed, known);
    for (name, section) in sections {
        let command = table::command(name).expect("listed");
        let own: Vec<&table::Flag> = match name {
            // These have their own page.
            "agent" => Vec::new(),
            _ => command.flags.iter().collect(),
        };
        holds_to(section, &own, name);
        let heading = section.lines().next().unwrap_or_default();
        assert_eq!(
            heading.ends_with(" Op Ar option ...") || heading.contains(" Oo Ar option ... Oc "),
            !command.flags.is_empty(),
            "{heading}: brackets around the options and nothing else"
        );
        for argument in ["name", "payload", "address", "node1", "node2"] {
            assert_eq!(
                heading.contains(&format!("Ar {argument}")),
                command.arguments.to_lowercase().contains(argument),
                "{heading}"
            );
        }
    }
    holds_to(
        common,
        &table::RPC_FLAGS.iter().collect::<Vec<_>>(),
        "all commands",
    );
}

#[test]
fn the_tools_page_says_which_commands_call_no_agent() {
    let page = page("cottar.1");
    let (_, list) = page.split_once("\nAll commands but\n").expect("the list");
    let (list, _) = list.split_once("\ntalk to an agent").expect("its end");
    for command in table::COMMANDS {
        let line = |line: &str| {
            line.strip_prefix(".Cm ")
                .map(|rest| rest.trim_end_matches(" ,") == command.name)
        };
        let named = list.lines().any(|l| line(l) == Some(true));
        assert_eq!(named, !command.calls_agent, "{}", command.name);
    }
}

#[test]
fn the_tools_page_says_how_each_command_ends() {
    let page = page("cottar.1");
    let (_, section) = page.split_once("\n.Sh EXIT STATUS\n").expect("the section");
    let (section, _) = section.split_once("\n.Sh ").expect("its end");
    let named: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix(".It Cm "))
        .flat_map(|names| names.split(" , "))
        .collect();
    let names: BTreeSet<&str> = named.iter().copied().collect();
    let known: BTreeSet<&str> = table::COMMANDS.iter().map(|command| command.name).collect();
    assert_eq!(names, known);
    assert_eq!(names.len(), named.len(), "a command is named twice");
    for status in ["0", "1", "2", "127"] {
        assert!(section.contains(&format!("\n.It {status}\n")), "{status}");
    }
}
