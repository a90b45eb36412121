//! The completions that follow from the table of flags, for all shells.

use cottar::cli::table::{COMMANDS, Command, Flag};

/// Values that can be proposed for a flag or an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// None that a shell could know.
    Unknown,
    /// One of these words.
    Words(&'static [&'static str]),
    /// One or more of these words, separated by commas.
    List(&'static [&'static str]),
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A network interface of this host.
    Interface,
    /// Names that a running agent knows; each shell has a function of this name that asks for them.
    Agent(&'static str),
}

/// Values that a running agent provides: a command, a flag (or nothing for the arguments), and the function.
const ASKED: &[(&str, &str, &str)] = &[
    ("force-leave", "", "nodes"),
    ("handler drop", "", "handlers"),
    ("handler pause", "", "handlers"),
    ("handler resume", "", "handlers"),
    ("handler run", "", "handlers"),
    ("handler sync", "", "handlers"),
    ("keys", "remove", "keys"),
    ("keys", "use", "keys"),
    ("members", "name", "nodes"),
    ("members", "tag", "filters"),
    ("query", "node", "nodes"),
    ("query", "tag", "filters"),
    ("rtt", "", "nodes"),
    ("tags", "delete", "tags"),
    ("tags", "set", "settings"),
    ("wait", "", "nodes"),
    ("wait", "name", "nodes"),
    ("wait", "tag", "filters"),
];

fn asked(command: &Command, flag: &str) -> Option<Values> {
    let mut asked = ASKED.iter();
    let found = asked.find(|(name, asked, _)| *name == command.name && *asked == flag);
    found.map(|(_, _, function)| Values::Agent(function))
}

/// Flags of any command that accept only a few values. Each value must be named in the help.
const WORDS: &[(&str, &[&str])] = &[
    ("expect", &["all"]),
    ("format", &["text", "json"]),
    ("log-level", &["TRACE", "DEBUG", "INFO", "WARN", "ERR"]),
    ("profile", &["lan", "wan", "local"]),
    ("protocol", &["2", "3", "4", "5"]),
    ("status", &["alive", "leaving", "left", "failed"]),
];

/// Flags of some commands that accept lists of a few words. Each word must be named in the help.
const LISTS: &[(&str, &str, &[&str])] = &[
    ("members", "fields", MEMBER_FIELDS),
    ("monitor", "event", EVENTS),
    ("query", "fields", &["node", "payload", "ack"]),
    ("wait", "fields", MEMBER_FIELDS),
];

const EVENTS: &[&str] = &[
    "member-join",
    "member-leave",
    "member-failed",
    "member-update",
    "member-reap",
    "user",
    "query",
];

const MEMBER_FIELDS: &[&str] = &["name", "addr", "ip", "port", "status", "tags", "protocol"];

/// Returns the values of a command's flag.
pub fn values_of(command: &Command, flag: &Flag) -> Values {
    let is_its = |(name, list, _): &&(&str, &str, _)| *name == command.name && *list == flag.name;
    if let Some((_, _, words)) = LISTS.iter().find(is_its) {
        return Values::List(words);
    }
    if let Some((_, words)) = WORDS.iter().find(|(name, _)| *name == flag.name) {
        return Values::Words(words);
    }
    asked(command, flag.name).unwrap_or_else(|| kind_of(flag.value))
}

/// Returns the values that a placeholder in capitals stands for.
fn kind_of(placeholder: &str) -> Values {
    match placeholder {
        "DIRECTORY" => Values::Directory,
        "INTERFACE" => Values::Interface,
        _ if placeholder.contains("FILE") || placeholder.contains("SCRIPT") => Values::File,
        _ => Values::Unknown,
    }
}

/// Returns the values of a command's positional arguments.
pub fn arguments_of(command: &Command) -> Values {
    asked(command, "").unwrap_or_else(|| kind_of(command.arguments))
}

/// Returns the first sentence of a help text, without its full stop.
pub fn short(help: &str) -> &str {
    let end = help.find(". ").unwrap_or(help.len());
    help[..end].trim_end_matches('.')
}

/// Returns the words that a command's first argument may be, if its usage lists them: `list|test`.
fn choices(command: &Command) -> Vec<&'static str> {
    let first = command.arguments.split(' ').next().unwrap_or_default();
    let first = first.trim_matches(|c| "(){}[]".contains(c));
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    if first.split('|').all(word) {
        first.split('|').collect()
    } else {
        Vec::new()
    }
}

/// Summary of commands with the same first word.
const GROUPS: [(&str, &str); 1] = [(
    "handler",
    "Shows and controls an agent's handlers, and tries one",
)];

/// Returns the first words of all commands, each with its summary: `handler list` counts as `handler`.
pub fn first_words() -> Vec<(&'static str, &'static str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for command in COMMANDS {
        match command.name.split_once(' ') {
            None => found.push((command.name, command.summary)),
            Some((group, _)) if found.iter().all(|(name, _)| *name != group) => {
                let summary = GROUPS.iter().find(|(name, _)| *name == group);
                found.push((group, summary.expect("a summary of the group").1));
            }
            Some(_) => {}
        }
    }
    found
}

/// Returns the second words after a first word that has them: commands of two words, or choices of its first
/// argument.
pub fn second_words(first: &str) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    for command in COMMANDS {
        match command.name.split_once(' ') {
            Some((group, word)) if group == first => found.push((word, command.summary)),
            None if command.name == first => {
                found.extend(choices(command).into_iter().map(|word| (word, "")));
            }
            _ => {}
        }
    }
    found
}

/// Returns every sequence of words after which flags may follow, with its command in the table.
pub fn paths() -> Vec<(String, &'static Command)> {
    let mut found = Vec::new();
    for command in COMMANDS {
        found.push((command.name.to_owned(), command));
        for word in choices(command) {
            found.push((format!("{} {word}", command.name), command));
        }
    }
    found
}

#[test]
fn enumerated_values_are_those_of_the_help() {
    for command in COMMANDS {
        for flag in command.all_flags() {
            let (Values::Words(words) | Values::List(words)) = values_of(command, flag) else {
                continue;
            };
            for word in words {
                let named = flag.help.contains(word) || (flag.name == "protocol" && *word < "6");
                assert!(named, "{} -{}: {word}", command.name, flag.name);
            }
        }
    }
}

#[test]
fn commands_and_flags_that_ask_an_agent_exist() {
    for (command, flag, _) in ASKED {
        let command = cottar::cli::table::command(command).unwrap();
        assert!(command.calls_agent);
        match *flag {
            "" => assert!(!command.arguments.is_empty()),
            flag => assert!(command.flag(flag).is_some(), "{flag}"),
        }
    }
}

#[test]
fn sentences_are_cut_after_the_first() {
    assert_eq!(short("One. Two."), "One");
    assert_eq!(short("Files '.json'."), "Files '.json'");
    assert_eq!(short("Like 0.5 of it."), "Like 0.5 of it");
}
