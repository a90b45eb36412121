//! Completion for fish.

use crate::expected_completions::{
    Values, arguments_of, first_words, paths, second_words, short, values_of,
};
use cottar::cli::table::{Command, Flag};
use std::fmt::Write as _;

/// Returns the part of the script that comes from the table.
pub fn parts() -> Vec<String> {
    let mut text = String::new();
    for (word, summary) in first_words() {
        let _ = writeln!(
            text,
            "complete -c cottar -n __fish_cottar_is -a {word} -d {}",
            quoted(summary)
        );
        for (second, summary) in second_words(word) {
            let _ = writeln!(
                text,
                "complete -c cottar -n '__fish_cottar_is {word}' -a {second} -d {}",
                quoted(summary)
            );
        }
    }
    for (path, command) in paths() {
        if !second_words(&path).is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n# cottar {path}");
        let here = format!("complete -c cottar -n '__fish_cottar_begins {path}'");
        for flag in command.all_flags() {
            let _ = writeln!(text, "{here} {}", option(command, flag));
        }
        let _ = match arguments_of(command) {
            Values::File => writeln!(text, "{here} -F"),
            Values::Agent(what) => writeln!(text, "{here} -a '(__fish_cottar_{what})'"),
            _ => Ok(()),
        };
    }
    vec![text]
}

fn option(command: &Command, flag: &Flag) -> String {
    let help = quoted(short(flag.help));
    if flag.kind.is_switch() {
        return match flag.default {
            "true" => format!("-a '-{}=false' -d {help}", flag.name),
            _ => format!("-o {} -d {help}", flag.name),
        };
    }
    let values = match values_of(command, flag) {
        Values::Unknown => "-x".to_owned(),
        Values::Words(words) => format!("-x -a '{}'", words.join(" ")),
        Values::List(words) => format!("-x -a '(__fish_append , {})'", words.join(" ")),
        Values::File => "-r -F".to_owned(),
        Values::Directory => "-x -a '(__fish_complete_directories)'".to_owned(),
        Values::Interface => "-x -a '(__fish_print_interfaces)'".to_owned(),
        Values::Agent(what) => format!("-x -a '(__fish_cottar_{what})'"),
    };
    format!("-o {} {values} -d {help}", flag.name)
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{text}'")
}
