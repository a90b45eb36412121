//! Help texts of commands.

use std::fmt::Write;

use super::command::{Command, Flag};
use crate::agent::config::features::missing_for_flag;

/// Line width of the text.
const COLUMNS: usize = 80;

/// Returns the help of a command.
pub fn help(command: &Command) -> String {
    let mut text = format!("Usage: cottar {}", command.name);
    if command.all_flags().next().is_some() {
        text.push_str(" [options]");
    }
    if !command.arguments.is_empty() {
        let _ = write!(text, " {}", command.arguments);
    }
    text.push_str("\n\n");
    wrap(&mut text, "  ", command.description);
    if command.all_flags().next().is_some() {
        text.push_str("\nOptions:\n");
    }
    for flag in command.all_flags() {
        let _ = writeln!(text, "\n  {}", synopsis(flag));
        wrap(&mut text, "        ", &explanation(flag));
    }
    text
}

fn synopsis(flag: &Flag) -> String {
    if flag.kind.is_switch() {
        match flag.default {
            // A switch that is on by default can only be turned off.
            "true" => format!("-{}=false", flag.name),
            _ => format!("-{}", flag.name),
        }
    } else {
        format!("-{}={}", flag.name, flag.value)
    }
}

fn explanation(flag: &Flag) -> String {
    let mut text = flag.help.to_owned();
    match flag.default {
        "" | "false" => {}
        "true" => text.push_str(" On by default."),
        default => {
            let _ = write!(text, " Default: {default}.");
        }
    }
    if missing_for_flag(flag.name).is_some() {
        text.push_str(" Not in this build.");
    }
    text
}

fn wrap(text: &mut String, indent: &str, paragraph: &str) {
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > COLUMNS {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            text.push_str(indent);
            column = indent.len();
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::COMMANDS;

    #[test]
    fn commands_are_sorted_and_flags_complete() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
        for command in COMMANDS {
            assert!(command.flags.is_sorted_by_key(|flag| flag.name));
            let text = help(command);
            assert!(text.starts_with(&format!("Usage: cottar {}", command.name)));
            for flag in command.all_flags() {
                assert!(text.contains(&format!("  -{}", flag.name)), "{}", flag.name);
                assert_eq!(flag.kind.is_switch(), flag.value.is_empty());
                assert!(flag.help.ends_with('.'));
            }
            assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
        }
    }
}
