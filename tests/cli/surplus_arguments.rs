//! Arguments that a command does not take, and flags behind arguments.

use crate::command_lines::{NOBODY, REFUSED, VERSION};
use crate::run::run;

#[test]
fn surplus_arguments_of_the_agent_cause_a_warning() {
    let got = run(&["agent", "-log-level=bogus", "foo", "-log-level=info"]);
    assert_eq!(got.status, Some(1));
    assert!(
        got.stderr.contains("ignoring 'foo' and all after it"),
        "{got:?}"
    );
    assert!(got.text().contains("Invalid log level: BOGUS"), "{got:?}");
}

/// Command lines with surplus or misplaced arguments, and the warning that they cause, if any.
const SURPLUS: &[(&[&str], &str)] = &[
    (
        &["info", NOBODY, "x", "-format=json"],
        "info takes no arguments: ignoring 'x' and all after it",
    ),
    (
        &["members", NOBODY, "-", "x"],
        "members takes no arguments: ignoring '-' and all after it",
    ),
    (
        &["members", NOBODY, "--", "-strict"],
        "members takes no arguments: ignoring '-strict' and all after it",
    ),
    (
        &["tags", NOBODY, "-set=a=b", "x"],
        "tags takes no arguments: ignoring 'x' and all after it",
    ),
    (
        &["event", NOBODY, "x", "-coalesce=false"],
        "'-coalesce=false' follows an argument and is taken as one: put flags first, or '--' \
         before arguments that begin with '-'",
    ),
    (
        &["join", NOBODY, "127.0.0.1", "--replay"],
        "'--replay' follows an argument and is taken as one: put flags first, or '--' before \
         arguments that begin with '-'",
    ),
    (
        &["event", NOBODY, "x", "--help"],
        "'--help' follows an argument and is taken as one: put flags first, or '--' before \
         arguments that begin with '-'",
    ),
    (
        &["query", NOBODY, "x", "-v"],
        "'-v' follows an argument and is taken as one: put flags first, or '--' before \
         arguments that begin with '-'",
    ),
    (&["event", NOBODY, "--", "x", "-h"], ""),
    (&["event", NOBODY, "x", "-1"], ""),
    (&["event", NOBODY, "x", "-bogus"], ""),
    (&["event", NOBODY, "--", "x", "-coalesce=false"], ""),
];

#[test]
fn surplus_arguments_are_ignored_with_a_warning_or_refused() {
    for (line, warning) in SURPLUS {
        let got = run(line);
        assert_eq!((got.status, got.text().as_str()), (Some(1), REFUSED));
        let expected = match *warning {
            "" => String::new(),
            warning => format!("Warning: {warning}\n"),
        };
        assert_eq!(got.stderr, expected, "{line:?}");
    }
    for (line, complaint) in [
        (&["handler", "list", NOBODY, "x"][..], "Too many arguments."),
        (&["handler", "queue", NOBODY, "x"], "Too many arguments."),
        (
            &["handler", "pause", NOBODY, "x", "y"],
            "Too many arguments.",
        ),
        (
            &["handler", "drop", NOBODY, "x", "y"],
            "Too many arguments.",
        ),
    ] {
        let got = run(line);
        assert_eq!((got.status, got.text()), (Some(1), String::new()));
        assert_eq!(got.stderr.lines().next(), Some(complaint), "{line:?}");
    }
    // Arguments are counted before the command connects.
    for line in [
        &["event", NOBODY, "x", "y", "z"][..],
        &["query", NOBODY, "x", "y", "z"],
        &["force-leave", NOBODY, "x", "y"],
        &["rtt", NOBODY, "x", "y", "z"],
        &["rtt", NOBODY],
    ] {
        let got = run(line);
        assert!(
            got.text().contains("\n\nUsage: cottar "),
            "{line:?}: {got:?}"
        );
        assert_eq!((got.status, got.stderr.as_str()), (Some(1), ""));
    }
    let version = run(&["version", "x"]);
    let words = "Warning: version takes no arguments: ignoring 'x' and all after it\n";
    assert_eq!((version.status, version.stderr.as_str()), (Some(0), words));
    assert!(version.text().starts_with(VERSION));
    let key = run(&["keygen", "-bogus", "x"]);
    assert_eq!((key.status, key.stdout.len()), (Some(0), 45));
}
