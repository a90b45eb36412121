//! Parsing of command lines: the table of agent spec 3.1.

use std::process::Stdio;

use crate::run::{cottar, finish, run};

pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nAgent Protocol: 5 (Understands back to: 2)\n"
);

/// An RPC address without a listener.
pub const NOBODY: &str = "-rpc-addr=127.0.0.1:1";

pub const REFUSED: &str =
    "Error connecting to Serf agent: dial tcp 127.0.0.1:1: connect: connection refused\n";

#[test]
fn without_a_command_the_commands_are_listed() {
    for (line, status) in [
        (&[][..], 127),
        (&["help"], 127),
        (&["help", "members"], 127),
        (&["-version"], 127),
        (&["-bogus"], 127),
        (&["mem"], 127),
        (&["Members"], 127),
        (&[""], 127),
        (&["-h"], 0),
        (&["-help"], 0),
        (&["--help"], 0),
    ] {
        let got = run(line);
        assert_eq!(
            (got.status, got.text().as_str()),
            (Some(status), ""),
            "{line:?}"
        );
        assert!(
            got.stderr
                .starts_with("Usage: cottar [--version] [--help] <command> [<args>]\n")
        );
        let commands: Vec<_> = got
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .collect();
        assert!(commands.is_sorted() && commands.len() >= 11);
    }
}

#[test]
fn help_of_a_command() {
    for line in [
        &["members", "-h"][..],
        &["members", "--help"],
        &["members", "-help"],
        &["members", "-detailed", "-h"],
        &["query", "-timeout", "1s", "-h", "x"],
        &["agent", "-h"],
        &["version", "-h"],
    ] {
        let got = run(line);
        assert_eq!((got.status, got.text().as_str()), (Some(0), ""), "{line:?}");
        let usage = format!("Usage: cottar {}", line[0]);
        assert!(got.stderr.starts_with(&usage), "{}", got.stderr);
    }
}

#[test]
fn version_of_the_program() {
    for line in [
        &["-v"][..],
        &["--version"],
        &["version"],
        &["members", "--version"],
        &["event", "-v", "x"],
        &["-rpc-addr=x", "--version"],
    ] {
        let got = run(line);
        let text = got.text();
        let lines = text.strip_prefix(VERSION);
        let lines: Vec<_> = lines.map(|rest| rest.lines().collect()).unwrap();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("Features: "), "{text}");
        let built = lines[1].strip_prefix("Build: ").unwrap();
        let (target, commit) = built.split_once(", commit ").unwrap();
        assert!(target.contains("linux"), "{text}");
        // The commit is set by make, not by cargo alone.
        let is_hex = commit.len() == 12 && commit.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(commit == "unknown" || is_hex, "{text}");
        assert_eq!((got.status, got.stderr.as_str()), (Some(0), ""));
    }
}

/// Checks that the flags were accepted: the command fails to connect, because no agent listens.
#[track_caller]
fn assert_refused(line: &[&str]) {
    let got = run(line);
    assert_eq!(
        (got.status, got.text().as_str()),
        (Some(1), REFUSED),
        "{line:?}"
    );
}

#[test]
fn help_and_version_are_arguments_behind_the_first_argument() {
    for line in [
        &["event", NOBODY, "x", "--version"][..],
        &["event", NOBODY, "x", "-h"],
        &["event", NOBODY, "--", "-h", "-v"],
        &["event", NOBODY, "-", "-h"],
    ] {
        assert_refused(line);
    }
}

#[test]
fn flags_before_the_command_are_refused() {
    let got = run(&["-rpc-addr=127.0.0.1:1", "members"]);
    assert_eq!((got.status, got.text().as_str()), (Some(1), ""));
    assert!(got.stderr.contains("Flags of a command follow it"));
    assert!(got.stderr.contains("Usage: cottar members [options]"));
}

#[test]
fn wrong_flags_are_named_on_stderr_and_help_is_on_stdout() {
    for (line, complaint) in [
        (
            &["members", "-bogus"][..],
            "flag provided but not defined: -bogus",
        ),
        (
            &["members", "-bogus=1"],
            "flag provided but not defined: -bogus",
        ),
        (
            &["members", "--version=1"],
            "flag provided but not defined: -version",
        ),
        (&["members", "-name"], "flag needs an argument: -name"),
        (
            &["members", "-detailed=maybe"],
            "invalid boolean value \"maybe\" for -detailed: parse error",
        ),
        (
            &["members", "-detailed="],
            "invalid boolean value \"\" for -detailed: parse error",
        ),
        (
            &["query", "-timeout=5", "x"],
            "invalid value \"5\" for flag -timeout: parse error",
        ),
        (
            &["query", "-timeout", "x", "y"],
            "invalid value \"x\" for flag -timeout: parse error",
        ),
        (
            &["query", "-relay-factor=1x", "x"],
            "invalid value \"1x\" for flag -relay-factor: parse error",
        ),
        (
            &["agent", "-protocol=", "x"],
            "invalid value \"\" for flag -protocol: parse error",
        ),
        (
            &["agent", "-retry-max=0x", "x"],
            "invalid value \"0x\" for flag -retry-max: parse error",
        ),
        (&["members", "---x"], "bad flag syntax: ---x"),
        (&["members", "-=x"], "bad flag syntax: -=x"),
        (&["members", "--=x"], "bad flag syntax: --=x"),
    ] {
        let got = run(line);
        assert_eq!(got.status, Some(1), "{line:?}");
        assert_eq!(got.stderr, format!("{complaint}\n"));
        let usage = format!("Usage: cottar {}", line[0]);
        assert!(got.text().starts_with(&usage), "{line:?}");
    }
}

#[test]
fn wrong_arguments_are_named_on_stdout_before_the_help() {
    let too_many = "Too many command line arguments. Only a name and payload must be specified.";
    for (line, complaint) in [
        (&["event"][..], "An event name must be specified."),
        (&["event", "a", "b", "c"], too_many),
        (&["query"], "A query name must be specified."),
        (&["query", "a", "b", "c"], too_many),
        (
            &["force-leave"],
            "A node name must be specified to force leave.",
        ),
        (
            &["force-leave", "a", "b"],
            "Too many command line arguments. Only one node name must be specified, after all flags.",
        ),
        (&["join"], "At least one address to join must be specified."),
    ] {
        let got = run(line);
        assert_eq!((got.status, got.stderr.as_str()), (Some(1), ""), "{line:?}");
        let begin = format!("{complaint}\n\nUsage: cottar {}", line[0]);
        assert!(got.text().starts_with(&begin), "{line:?}");
    }
    let got = run(&["query", "-tag", "a=1", "-tag", "b=1", "-tag", "a=2", "x"]);
    let words = "Only one -tag for each key allowed: join expressions for one key into one\n";
    assert_eq!((got.status, got.text()), (Some(1), words.into()));
    let got = run(&["tags"]);
    assert_eq!((got.status, got.stderr.as_str()), (Some(1), ""));
    assert!(got.text().starts_with("Usage: cottar tags"));
}

#[test]
fn errors_in_flags_are_reported_before_connecting() {
    for (line, complaint) in [
        (
            &["members", NOBODY, "-tag", "foo"][..],
            "Error: Invalid tag: 'foo'\n",
        ),
        (
            &["query", NOBODY, "-tag", "=x", "q"],
            "Error: Invalid tag: '=x'\n",
        ),
        (
            &["query", NOBODY, "-relay-factor=256", "q"],
            "Relay factor must be between 0 and 255\n",
        ),
        (
            &["query", NOBODY, "-relay-factor=-1", "q"],
            "Relay factor must be between 0 and 255\n",
        ),
        (
            &["tags", NOBODY, "-set", "=x"],
            "Error: Invalid tag: '=x'\n",
        ),
        (&["query", NOBODY, "-format=xml", "q"], REFUSED),
        (&["query", NOBODY, "-relay-factor=0xff", "q"], REFUSED),
        (&["query", NOBODY, "-relay-factor=0b101", "q"], REFUSED),
        (&["query", NOBODY, "-timeout=1h3m0.5s", "q"], REFUSED),
        (
            &["query", NOBODY, "-timeout=-1h3m0.5s", "q"],
            "-timeout must not be negative\n",
        ),
    ] {
        let got = run(line);
        assert_eq!(
            (got.status, got.text().as_str()),
            (Some(1), complaint),
            "{line:?}"
        );
    }
}

#[test]
fn errors_of_added_commands_go_to_stderr() {
    for (line, complaint) in [
        (
            &["handler", "drop", NOBODY, ""][..],
            "The name or id is empty. To drop all waiting events, omit it.",
        ),
        (
            &["wait", NOBODY, "-timeout=-1ns"],
            "-timeout must not be negative",
        ),
        (&["wait", NOBODY, "-timeout=-0s"], REFUSED.trim_end()),
        (
            &["wait", NOBODY, "a", "-timeout=9s"],
            "'-timeout=9s' follows a name: put flags first, or '--' before names that begin with '-'",
        ),
        (
            &["wait", NOBODY, "a", "--", "-b"],
            "'--' follows a name: put flags first, or '--' before names that begin with '-'",
        ),
        (&["wait", NOBODY, "--", "a", "-b"], REFUSED.trim_end()),
    ] {
        let got = run(line);
        assert_eq!((got.status, got.text()), (Some(1), String::new()));
        assert_eq!(got.stderr.lines().next(), Some(complaint), "{line:?}");
    }
}

#[test]
fn every_way_to_write_a_flag() {
    for line in [
        &["members", "-rpc-addr", "127.0.0.1:1"][..],
        &["members", "--rpc-addr", "127.0.0.1:1"],
        &["members", "--rpc-addr=127.0.0.1:1"],
        &["members", "-rpc-addr=127.0.0.1:9", "-rpc-addr=127.0.0.1:1"],
        &["members", "-detailed", NOBODY],
        &["members", "-detailed=T", NOBODY],
        &["members", "-detailed=FALSE", NOBODY],
        &["members", "-name", "-h", NOBODY],
    ] {
        assert_refused(line);
    }
}

#[test]
fn unreachable_addresses_give_the_reason() {
    for (address, why) in [
        (
            "127.0.0.1:1",
            "dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (
            "127.0.0.1",
            "dial tcp: address 127.0.0.1: missing port in address",
        ),
        ("", "dial tcp: missing address"),
        ("127.0.0.1:99999", "dial tcp: address 99999: invalid port"),
        ("[::1", "dial tcp: address [::1: missing ']' in address"),
        (
            "[fe80::1%nope]:1",
            "dial tcp: address fe80::1%nope: no such network interface",
        ),
    ] {
        let got = run(&["info", "-rpc-addr", address]);
        let expected = format!("Error connecting to Serf agent: {why}\n");
        assert_eq!((got.status, got.text()), (Some(1), expected));
    }
}

#[test]
fn the_environment_gives_the_agents_address() {
    let mut command = cottar(&["leave"]);
    let got = finish(command.env("SERF_RPC_ADDR", "127.0.0.1:1").spawn().unwrap());
    assert_eq!(got.text(), REFUSED);
    // The flag takes precedence; an empty variable counts as unset, an empty flag does not.
    let mut command = cottar(&["leave", NOBODY]);
    let got = finish(command.env("SERF_RPC_ADDR", "127.0.0.1:2").spawn().unwrap());
    assert_eq!(got.text(), REFUSED);
    let mut command = cottar(&["leave", "-rpc-addr="]);
    let got = finish(command.env("SERF_RPC_ADDR", "127.0.0.1:1").spawn().unwrap());
    assert!(got.text().ends_with("missing address\n"));
}

#[test]
fn a_closed_pipe_on_stdout_is_no_error() {
    for line in [&["version"][..], &["members", "-bogus"], &["info", NOBODY]] {
        let mut command = cottar(line);
        let (reader, writer) = pipe();
        drop(reader);
        let mut child = command.stdout(writer).spawn().unwrap();
        drop(command);
        let status = child.wait().unwrap().code();
        let mut stderr = String::new();
        std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut stderr).unwrap();
        assert!(!stderr.contains("panic"), "{stderr}");
        // A command that fails for another reason still fails.
        let expected = if line == ["version"] { 0 } else { 1 };
        assert_eq!(status, Some(expected), "{line:?}: {stderr}");
    }
}

fn pipe() -> (Stdio, Stdio) {
    let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    let stdio = |stream| Stdio::from(std::os::fd::OwnedFd::from(stream));
    (stdio(reader), stdio(writer))
}

#[test]
fn a_closed_output_counts_as_dev_null() {
    let program = env!("CARGO_BIN_EXE_cottar");
    for (line, status) in [("version >&-", 0), ("members -bogus >&- 2>&-", 1)] {
        let child = std::process::Command::new("sh")
            .args(["-c", &format!("exec '{program}' {line}")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), stderr.as_str()),
            (Some(status), ""),
            "{line}"
        );
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let child = cottar(&["version"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("cannot write the output")
    );
}
