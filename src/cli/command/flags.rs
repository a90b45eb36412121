//! Flags in the syntax of the reference's flag parser (agent spec 3.1).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use crate::agent::config::FlagValues;
use crate::cli::table::{Command, Flag, Kind};
use crate::go;
use crate::ordered::OrderedMap;
use crate::wire::name::Escaped;

/// Parsed command line after the command's name.
#[derive(Debug)]
pub struct Flags {
    command: &'static Command,
    texts: OrderedMap<&'static str, Vec<String>>,
    /// Values of flags for which [`Kind::takes_bytes`] returns true.
    bytes: OrderedMap<&'static str, Vec<Vec<u8>>>,
    /// Names of the flags in the order given.
    order: Vec<&'static str>,
    arguments: Vec<OsString>,
    /// Whether `--` separates flags and arguments.
    ended: bool,
}

/// Why no command can be run.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help was requested.
    Help,
    /// The version was requested.
    Version,
    /// The line is invalid; the text is the reference's.
    Error(String),
}

impl Flags {
    /// Returns the flags of a line that ends after the command's name.
    pub fn none(command: &'static Command) -> Self {
        Flags {
            command,
            texts: OrderedMap::new(),
            bytes: OrderedMap::new(),
            order: Vec::new(),
            arguments: Vec::new(),
            ended: false,
        }
    }

    /// Parses flags up to the first positional argument or `--`; the rest are arguments.
    ///
    /// # Errors
    /// If a flag is unknown or its value invalid, or if help or the version is requested; see [`Stop`].
    pub fn parse(
        command: &'static Command,
        line: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, Stop> {
        let mut line = line.into_iter().peekable();
        let mut flags = Flags::none(command);
        while let Some(argument) =
            line.next_if(|next| next.len() > 1 && next.as_bytes().starts_with(b"-"))
        {
            if argument == "--" {
                flags.ended = true;
                break;
            }
            if argument == "-v" || argument == "--version" {
                return Err(Stop::Version);
            }
            let (name, attached) = split(&argument)?;
            let Some(flag) = command.flag(&name) else {
                return Err(match &*name {
                    "h" | "help" => Stop::Help,
                    _ => undefined(name.as_bytes()),
                });
            };
            let value = match attached {
                Some(value) => value,
                None if flag.kind.is_switch() => "true".into(),
                None => line
                    .next()
                    .ok_or_else(|| Stop::Error(format!("flag needs an argument: -{name}")))?,
            };
            flags.set(flag, value)?;
        }
        flags.arguments = line.collect();
        Ok(flags)
    }

    fn set(&mut self, flag: &'static Flag, value: OsString) -> Result<(), Stop> {
        if flag.kind.takes_bytes() {
            let values = self.bytes.get_or_insert_with(flag.name, Vec::new);
            values.push(value.into_vec());
            self.order.push(flag.name);
            return Ok(());
        }
        let value = value.into_string().map_err(|value| {
            Stop::Error(format!(
                "invalid value {} for flag -{}: not UTF-8",
                go::quote(value.as_bytes()),
                flag.name
            ))
        })?;
        let valid = match flag.kind {
            Kind::Switch => parse_bool(&value).is_some(),
            Kind::Integer => parse_integer(&value).is_some(),
            Kind::Duration => go::parse_nanos(&value).is_ok(),
            Kind::Text | Kind::List | Kind::LateDuration => true,
            Kind::Bytes | Kind::ByteList => true,
        };
        if !valid {
            let quoted = go::quote(value.as_bytes());
            return Err(Stop::Error(if flag.kind.is_switch() {
                format!(
                    "invalid boolean value {quoted} for -{}: parse error",
                    flag.name
                )
            } else {
                format!(
                    "invalid value {quoted} for flag -{}: parse error",
                    flag.name
                )
            }));
        }
        let values = self.texts.get_or_insert_with(flag.name, Vec::new);
        values.push(value);
        self.order.push(flag.name);
        Ok(())
    }

    /// Returns whether the flag was given.
    pub fn is_given(&self, name: &str) -> bool {
        self.order.contains(&name)
    }

    /// Returns all values of a text flag in the order given; empty if it was not given.
    pub fn values(&self, name: &str) -> &[String] {
        let takes_bytes = self.command.flag(name).map(|flag| flag.kind.takes_bytes());
        debug_assert_eq!(takes_bytes, Some(false), "no text flag -{name}");
        self.texts.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns all values of a flag that takes bytes, in the order given; empty if it was not given.
    pub fn byte_values(&self, name: &str) -> &[Vec<u8>] {
        let takes_bytes = self.command.flag(name).map(|flag| flag.kind.takes_bytes());
        debug_assert_eq!(takes_bytes, Some(true), "no flag for bytes -{name}");
        self.bytes.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the last value of a flag that takes bytes, if it was given.
    pub fn byte_value(&self, name: &str) -> Option<&[u8]> {
        self.byte_values(name).last().map(Vec::as_slice)
    }

    /// Returns the last value of a text flag, if it was given.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().map(String::as_str)
    }

    /// Returns whether a switch is on, by its last value or else its default.
    pub fn flag(&self, name: &str) -> bool {
        self.value(name)
            .or_else(|| self.command.flag(name).map(|flag| flag.default))
            .and_then(parse_bool)
            .unwrap_or(false)
    }

    /// Returns the value of an integer flag, if it was given.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.value(name).and_then(parse_integer)
    }

    /// Returns the value of a duration flag, if it was given.
    ///
    /// # Errors
    /// If it is negative or [`go::parse_nanos`] fails.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, String> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let nanos = u64::try_from(go::parse_nanos(value)?)
            .map_err(|_| format!("-{name} must not be negative"))?;
        Ok(Some(Duration::from_nanos(nanos)))
    }

    /// Returns the positional arguments.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// Returns the first argument that looks like a flag of the command, or asks for help or the version,
    /// unless `--` precedes the arguments.
    pub fn late_flag(&self) -> Option<&OsString> {
        let is_flag = |name: &str| {
            matches!(name, "h" | "help" | "v" | "version") || self.command.flag(name).is_some()
        };
        let is_known = |argument: &&OsString| {
            argument.as_bytes().starts_with(b"-")
                && split(argument).is_ok_and(|(name, _)| is_flag(&name))
        };
        let arguments = self.arguments.iter();
        arguments.filter(|_| !self.ended).find(is_known)
    }

    /// Refuses flags after the first argument. For commands with a variable number of names, where such a
    /// flag would be taken for a name.
    ///
    /// # Errors
    /// If an argument looks like a flag, unless `--` precedes the arguments; the text names it.
    pub fn refuse_late_flags(&self) -> Result<(), String> {
        let is_late =
            |argument: &&OsString| argument.len() > 1 && argument.as_bytes().starts_with(b"-");
        match self.arguments.iter().find(is_late) {
            Some(late) if !self.ended => Err(format!(
                "'{}' follows a name: put flags first, or '--' before names that begin with '-'",
                Escaped(late.as_bytes())
            )),
            _ => Ok(()),
        }
    }

    /// Returns the command that the flags belong to.
    pub fn command(&self) -> &'static Command {
        self.command
    }
}

impl FlagValues for Flags {
    fn values(&self, name: &str) -> &[String] {
        Flags::values(self, name)
    }
    fn byte_values(&self, name: &str) -> &[Vec<u8>] {
        Flags::byte_values(self, name)
    }
    fn value(&self, name: &str) -> Option<&str> {
        Flags::value(self, name)
    }
    fn flag(&self, name: &str) -> bool {
        Flags::flag(self, name)
    }
    fn integer(&self, name: &str) -> Option<i64> {
        Flags::integer(self, name)
    }
    fn byte_values_of_any(&self, names: &[&str]) -> Vec<&[u8]> {
        let mut next: OrderedMap<&str, std::slice::Iter<'_, Vec<u8>>> = names
            .iter()
            .map(|&name| (name, self.byte_values(name).iter()))
            .collect();
        let given = self.order.iter();
        given
            .filter_map(|name| next.get_mut(name)?.next())
            .map(Vec::as_slice)
            .collect()
    }
}

fn undefined(name: &[u8]) -> Stop {
    let name = Escaped(name);
    Stop::Error(format!("flag provided but not defined: -{name}"))
}

/// Splits `-name`, `--name` or `-name=value` into the name and the value, if any.
fn split(argument: &OsStr) -> Result<(String, Option<OsString>), Stop> {
    let bytes = argument.as_bytes();
    let bare = bytes
        .strip_prefix(b"--")
        .or_else(|| bytes.strip_prefix(b"-"))
        .unwrap_or(bytes);
    let bad_syntax = || Stop::Error(format!("bad flag syntax: {}", Escaped(bytes)));
    if matches!(bare.first(), None | Some(b'-' | b'=')) {
        return Err(bad_syntax());
    }
    let name = bare.split(|byte| *byte == b'=').next().unwrap_or_default();
    if std::str::from_utf8(name).is_err() {
        return Err(undefined(name));
    }
    // One dash and two dashes are equivalent here; lexopt expects two for long flags.
    let long = OsString::from_vec([b"--", bare].concat());
    let mut parser = lexopt::Parser::from_args([long]);
    let name = match parser.next() {
        Ok(Some(lexopt::Arg::Long(name))) => name.to_owned(),
        _ => return Err(bad_syntax()),
    };
    Ok((name, parser.optional_value()))
}

/// Parses the reference's words for true and false.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Parses an integer, optionally with one of the prefixes `0x`, `0o`, `0b` and `0`.
pub fn parse_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some(_) if lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::table;

    fn parse(command: &str, line: &[&str]) -> Result<Flags, Stop> {
        let command = table::command(command).unwrap();
        Flags::parse(command, line.iter().map(OsString::from))
    }

    #[test]
    fn lists_add_up_and_of_scalars_the_last_one_counts() {
        let line =
            "-tag a=1 --tag=b=2 -node x --node=y -retry-max=0x10 -replay -protocol 4 rest -tag c=3";
        let line: Vec<_> = line.split(' ').collect();
        let flags = parse("agent", &line).unwrap();
        assert_eq!(flags.byte_values("tag"), [b"a=1", b"b=2"]);
        assert_eq!(flags.byte_value("node"), Some(&b"y"[..]));
        assert_eq!(flags.integer("retry-max"), Some(16));
        assert_eq!(flags.integer("protocol"), Some(4));
        assert!(flags.flag("replay"));
        assert_eq!(flags.arguments(), ["rest", "-tag", "c=3"]);
        assert_eq!(
            (flags.byte_value("role"), flags.integer("protocol")),
            (None, Some(4))
        );
        assert!(flags.values("join").is_empty());
    }

    #[test]
    fn switches_have_defaults_and_take_a_value_only_with_an_equals_sign() {
        assert!(parse("event", &[]).unwrap().flag("coalesce"));
        let flags = parse("event", &["-coalesce", "false", "x"]).unwrap();
        assert!(flags.flag("coalesce"));
        assert_eq!(flags.arguments(), ["false", "x"]);
        assert!(
            !parse("event", &["-coalesce=false"])
                .unwrap()
                .flag("coalesce")
        );
        let flags = parse("agent", &["-replay", "-replay=0"]).unwrap();
        assert!(!flags.flag("replay"));
    }

    #[test]
    fn durations_of_the_agent_are_checked_late() {
        let flags = parse("agent", &["-retry-interval=5"]).unwrap();
        let error = "time: missing unit in duration \"5\"".to_owned();
        assert_eq!(flags.duration("retry-interval"), Err(error));
        let flags = parse("agent", &["-retry-interval", "1m30s"]).unwrap();
        let expected = Some(Duration::from_secs(90));
        assert_eq!(flags.duration("retry-interval"), Ok(expected));
        assert_eq!(flags.duration("broadcast-timeout"), Ok(None));
    }

    #[test]
    fn values_that_are_no_text_are_refused_and_arguments_that_are_none_are_kept() {
        let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let command = table::command("event").unwrap();
        let refused = Flags::parse(command, [bytes(b"-rpc-auth=\xff")]);
        assert!(matches!(refused, Err(Stop::Error(why)) if why.contains("\\xff")));
        let flags = Flags::parse(command, [bytes(b"\xff")]).unwrap();
        assert_eq!(flags.arguments(), [bytes(b"\xff")]);
        // Paths, scripts, names and tags are bytes, as in the system's own interfaces.
        let command = table::command("agent").unwrap();
        let line = [
            b"-tag=a=\xff".as_slice(),
            b"-snapshot",
            b"/\xe9",
            b"-config-dir=\xe9",
        ];
        let flags = Flags::parse(command, line.map(bytes)).unwrap();
        assert_eq!(flags.byte_values("tag"), [b"a=\xff"]);
        assert_eq!(flags.byte_value("snapshot"), Some(&b"/\xe9"[..]));
        let any = ["config-file", "config-dir"];
        assert_eq!(flags.byte_values_of_any(&any), [b"\xe9"]);
    }

    #[test]
    fn numbers_with_prefixes() {
        for (text, number) in [
            ("0", Some(0)),
            ("255", Some(255)),
            ("-5", Some(-5)),
            ("+5", Some(5)),
            ("0xFF", Some(255)),
            ("-0x10", Some(-16)),
            ("0o17", Some(15)),
            ("017", Some(15)),
            ("0b101", Some(5)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("-", None),
            ("--5", None),
            ("0x", None),
            ("0x-5", None),
            ("08", None),
            ("5s", None),
            (" 5", None),
        ] {
            assert_eq!(parse_integer(text), number, "{text:?}");
        }
    }
}
