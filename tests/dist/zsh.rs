//! Completion for zsh.

use crate::expected_completions::{
    Values, arguments_of, first_words, paths, second_words, short, values_of,
};
use cottar::cli::table::{Command, Flag};
use std::fmt::Write as _;

/// Returns the part of the script that comes from the table.
pub fn parts() -> Vec<String> {
    let mut text = String::new();
    let groups: Vec<(&str, &str)> = first_words()
        .into_iter()
        .filter(|(name, _)| !second_words(name).is_empty())
        .collect();
    chooser(&mut text, "_cottar", "", &first_words());
    for (group, _) in &groups {
        text.push('\n');
        let function = format!("_cottar_{}", group.replace('-', "_"));
        chooser(&mut text, &function, group, &second_words(group));
    }
    vec![text]
}

/// Returns a function that completes one of several words, and then what follows it.
fn chooser(text: &mut String, function: &str, group: &str, words: &[(&str, &str)]) {
    let _ = writeln!(text, "{function}() {{");
    text.push_str("    local curcontext=$curcontext state line ret=1\n");
    text.push_str("    typeset -A opt_args\n");
    let general = match group {
        "" => " '(- *)--help[List the commands]' '(- *)--version[Print the version]'",
        _ => "",
    };
    let _ = writeln!(
        text,
        "    _arguments -C -A '-*'{general} '1:command:->command' '*:: :->rest' && ret=0"
    );
    text.push_str("    case $state in\n        command)\n            local -a commands\n            commands=(\n");
    for (word, summary) in words {
        let described = match *summary {
            "" => (*word).to_owned(),
            summary => format!("{word}:{}", summary.replace(':', "\\:")),
        };
        let _ = writeln!(text, "                {}", quoted(&described));
    }
    text.push_str("            )\n            _describe -t commands command commands && ret=0\n            ;;\n");
    text.push_str("        rest)\n            case $line[1] in\n");
    for (word, _) in words {
        let full = if group.is_empty() {
            (*word).to_owned()
        } else {
            format!("{group} {word}")
        };
        let _ = writeln!(text, "                {word})");
        if second_words(&full).is_empty() {
            if let Some((_, command)) = paths().into_iter().find(|(path, _)| *path == full) {
                options(text, command);
            }
        } else {
            let function = format!("_cottar_{}", word.replace('-', "_"));
            let _ = writeln!(text, "                    {function} && ret=0");
        }
        text.push_str("                    ;;\n");
    }
    text.push_str("            esac\n            ;;\n    esac\n    return ret\n}\n");
}

/// Returns the call that completes flags and arguments of one command.
fn options(text: &mut String, command: &Command) {
    text.push_str("                    _arguments -A '-*'");
    for flag in command.all_flags() {
        let _ = write!(
            text,
            " \\\n                        {}",
            quoted(&option(command, flag))
        );
    }
    let arguments = match arguments_of(command) {
        Values::File => "*:file:_files".to_owned(),
        Values::Agent(what) => format!("*:{}:_cottar_{what}", what.trim_end_matches('s')),
        _ => String::new(),
    };
    if !arguments.is_empty() {
        let _ = write!(text, " \\\n                        '{arguments}'");
    }
    text.push_str(" && ret=0\n");
}

fn option(command: &Command, flag: &Flag) -> String {
    let repeated = if flag.kind.is_repeatable() { "*" } else { "" };
    let help: String = short(flag.help)
        .chars()
        .flat_map(|c| {
            let escape = matches!(c, '[' | ']' | '\\').then_some('\\');
            escape.into_iter().chain([c])
        })
        .collect();
    if flag.kind.is_switch() {
        return match flag.default {
            "true" => format!("-{}=-[{help}]:value:(false true)", flag.name),
            _ => format!("-{}[{help}]", flag.name),
        };
    }
    let action = match values_of(command, flag) {
        Values::Unknown => " ".to_owned(),
        Values::Words(words) => format!("({})", words.join(" ")),
        Values::List(words) => format!("_values -s , field {}", words.join(" ")),
        Values::File => "_files".to_owned(),
        Values::Directory => "_files -/".to_owned(),
        Values::Interface => "_cottar_interfaces".to_owned(),
        Values::Agent(what) => format!("_cottar_{what}"),
    };
    let value = flag.value.replace(':', "\\:");
    format!("{repeated}-{}=[{help}]:{value}:{action}", flag.name)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
