//! Completion for bash.

use crate::expected_completions::{
    Values, arguments_of, first_words, paths, second_words, values_of,
};
use std::fmt::Write as _;

/// Returns the parts of the script that come from the table: the command names, the flags of each command,
/// and the completions of their values.
pub fn parts() -> Vec<String> {
    vec![words(), flags(), values()]
}

fn words() -> String {
    let mut text = String::new();
    let names: Vec<&str> = first_words().iter().map(|(name, _)| *name).collect();
    let _ = write!(
        text,
        "    if ((last == 1)); then\n        _cottar_words \"$cur\" {} --help --version\n        return\n    fi\n",
        names.join(" ")
    );
    let groups: Vec<&str> = names
        .into_iter()
        .filter(|name| !second_words(name).is_empty())
        .collect();
    for group in groups {
        let words: Vec<&str> = second_words(group).iter().map(|(word, _)| *word).collect();
        let _ = write!(
            text,
            "    if [[ $path == {group} ]]; then\n        if ((last == 2)); then\n            _cottar_words \"$cur\" {}\n            return\n        fi\n        path+=\" ${{words[2]}}\" first=3\n    fi\n",
            words.join(" ")
        );
    }
    text
}

fn flags() -> String {
    let mut text = String::new();
    for (path, command) in paths() {
        let _ = writeln!(text, "        {})", quoted(&path));
        let (mut flags, mut takes) = (String::new(), String::new());
        for flag in command.all_flags() {
            let off = if flag.default == "true" { "=false" } else { "" };
            let _ = write!(flags, " -{}{off}", flag.name);
            if !flag.kind.is_switch() {
                let _ = write!(takes, " {}", flag.name);
            }
        }
        let _ = writeln!(text, "            flags=({})", flags.trim_start());
        let _ = writeln!(text, "            takes='{takes} '");
        let arguments = match (command.arguments, arguments_of(command)) {
            ("", _) => "",
            (_, Values::File) => "file",
            (_, Values::Agent(what)) => what,
            _ => "other",
        };
        let _ = writeln!(text, "            arguments='{arguments}'");
        let _ = writeln!(text, "            ;;");
    }
    text
}

fn values() -> String {
    let mut text = String::new();
    for (path, command) in paths() {
        for flag in command.all_flags() {
            let propose = match values_of(command, flag) {
                Values::Unknown => continue,
                Values::Words(words) => format!("_cottar_words \"$value\" {}", words.join(" ")),
                Values::List(words) => format!("_cottar_list \"$value\" {}", words.join(" ")),
                Values::File => "_cottar_files -f \"$value\"".to_owned(),
                Values::Directory => "_cottar_files -d \"$value\"".to_owned(),
                Values::Interface => "_cottar_interfaces \"$value\"".to_owned(),
                Values::Agent(what) => format!("_cottar_{what} \"$value\""),
            };
            let at = format!("{path} {}", flag.name);
            let _ = writeln!(text, "        {}) {propose} ;;", quoted(&at));
        }
    }
    text
}

fn quoted(words: &str) -> String {
    if words.contains(' ') {
        format!("'{words}'")
    } else {
        words.to_owned()
    }
}
