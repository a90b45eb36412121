//! Sessions shown in documentation, replayed in one shell: each command is run, and its output is compared
//! with the text.
//!
//! A line that begins with `$ ` is a command, lines that begin with `> ` continue it, and the other lines are
//! its output. The number of consecutive blanks may differ, since a column is as wide as its widest cell.
//! `...` stands for any text within a line, or for any number of lines if it is alone on a line.
//!
//! Commands that only read state are repeated until they print what is expected, since gossip takes time. All
//! others run once, or again if no agent was listening yet. All must succeed.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::live::{COTTAR, PATIENCE, Process, Wait};

/// Beginnings of commands that only read state.
const ASKING: &[&str] = &[
    "cottar handler list",
    "cottar handler queue",
    "cottar info",
    "cottar members",
    "cottar query",
    "./rolling ",
    "cat ",
    "cut ",
    "grep ",
    "wc ",
];
/// Delimits a command's exit status after its output.
const MARK: char = '\u{1e}';

/// A command and its expected output.
#[derive(Debug)]
pub struct Step {
    pub command: String,
    pub output: String,
}

/// Parses lines into steps; the first line must be a command.
pub fn steps<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.into(),
                output: String::new(),
            });
            continue;
        }
        let step = steps.last_mut().expect("a session begins with a command");
        match line.strip_prefix("> ") {
            Some(more) if step.output.is_empty() => step.command.push_str(&format!("\n{more}")),
            _ => step.output.push_str(&format!("{line}\n")),
        }
    }
    steps
}

/// A shell in a folder; the processes that it starts end with it.
pub struct Session {
    stdin: ChildStdin,
    output: Arc<Mutex<String>>,
    shell: Process,
}

impl Session {
    /// Starts a shell with these variables, and without those that would select an agent.
    pub fn start(folder: &Path, variables: &[(&str, &str)]) -> Session {
        let bin = Path::new(COTTAR).parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("/bin/sh");
        for name in ["COTTAR_RPC_ADDR", "SERF_RPC_ADDR", "SERF_RPC_AUTH"] {
            command.env_remove(name);
        }
        command
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", bin.display()))
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let shell = Process::spawn(&mut command).expect("a shell");
        let (stdin, mut stdout) = {
            let mut child = shell.child();
            (child.stdin.take().unwrap(), child.stdout.take().unwrap())
        };
        let output = Arc::new(Mutex::new(String::new()));
        let read = Arc::clone(&output);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]);
                read.lock().unwrap().push_str(&text);
            }
        });
        let mut session = Session {
            stdin,
            output,
            shell,
        };
        // As on a terminal.
        session.run("exec 2>&1");
        session
    }

    /// Runs a command; returns its status and output.
    pub fn run(&mut self, command: &str) -> (String, String) {
        let typed = format!("{command}\nprintf '\\036%s\\036' \"$?\"\n");
        self.stdin.write_all(typed.as_bytes()).expect("a shell");
        let wait = Wait::new(2 * PATIENCE);
        loop {
            if let Some((printed, status)) = self.take_marked() {
                return (status, printed);
            }
            let printed = self.output.lock().unwrap().clone();
            assert!(self.shell.status().is_none(), "$ {command}\n{printed}");
            assert!(wait.goes_on(), "$ {command}\ndoes not complete: {printed}");
        }
    }

    /// Takes an output and the status after it.
    fn take_marked(&self) -> Option<(String, String)> {
        let mut output = self.output.lock().unwrap();
        let (printed, rest) = output.split_once(MARK)?;
        let (status, rest) = rest.split_once(MARK)?;
        let taken = (printed.to_owned(), status.to_owned());
        *output = rest.to_owned();
        Some(taken)
    }

    /// Replays the steps.
    #[track_caller]
    pub fn follow(&mut self, step: &Step) {
        let asks = ASKING.iter().any(|start| step.command.starts_with(start));
        let wait = Wait::new(PATIENCE);
        loop {
            let (status, mut printed) = self.run(&step.command);
            while step.command.ends_with('&') && !fits(&step.output, &printed) && wait.goes_on() {
                printed += &std::mem::take(&mut *self.output.lock().unwrap());
            }
            if status == "0" && fits(&step.output, &printed) {
                return;
            }
            let again = asks || printed.starts_with("Error connecting");
            if !again || !wait.goes_on() {
                let (_, logs) = self.run("tail -n 40 *.log");
                panic!(
                    "$ {}\nprinted ({status}):\n{printed}\ninstead of:\n{}\n{logs}",
                    step.command, step.output
                );
            }
        }
    }
}

/// Returns whether an output matches the expected one.
pub fn fits(shown: &str, printed: &str) -> bool {
    let squeezed = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| {
            let blanks = line.len() - line.trim_start_matches(' ').len();
            let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
            line[..blanks].to_owned() + &words.join(" ")
        });
        lines.collect()
    };
    lines_fit(&squeezed(shown), &squeezed(printed))
}

fn lines_fit(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim_start() == "..." => {
            (0..=printed.len()).any(|left_out| lines_fit(rest, &printed[left_out..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, more)| line_fits(first, line) && lines_fit(rest, more)),
    }
}

fn line_fits(shown: &str, line: &str) -> bool {
    let pieces: Vec<_> = shown.split("...").collect();
    let [first, between @ .., last] = pieces.as_slice() else {
        return shown == line;
    };
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    for piece in between {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn prompts_commands_and_output_are_told_apart() {
    let text = "$ one \\\n>     two\n  out\n> x\n$ three\n";
    let steps = steps(text.lines());
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0].command, "one \\\n    two");
    assert_eq!(steps[0].output, "  out\n> x\n");
    assert_eq!(
        (steps[1].command.as_str(), steps[1].output.as_str()),
        ("three", "")
    );
}

#[test]
fn shown_output_is_compared_with_printed_output() {
    for (shown, printed) in [
        ("", ""),
        ("a  b   c\nd", "a b c\nd\n"),
        ("a...c", "abc"),
        ("a...", "a"),
        ("...b...d", "abcd"),
        ("a\n...\nd", "a\nb\nc\nd"),
        ("  ...\nd", "d"),
    ] {
        assert!(fits(shown, printed), "{shown} and {printed}");
    }
    for (shown, printed) in [
        ("", "a"),
        ("a", ""),
        ("a\nb", "a b"),
        (" a", "  a"),
        ("a\tb", "a b"),
        ("a...c", "ab"),
        ("a...c", "a\nc"),
        ("ab...bc", "abc"),
        ("a\n...\nd", "a\nb"),
    ] {
        assert!(!fits(shown, printed), "{shown} and {printed}");
    }
}

#[test]
fn a_shell_keeps_variables_and_the_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = Session::start(folder.path(), &[("GIVEN", "given")]);
    for (command, status, printed) in [
        ("mkdir d; cd d; x=1", "0", ""),
        (
            "echo \"$x $GIVEN\"; pwd | grep -c '/d$' >&2",
            "0",
            "1 given\n1\n",
        ),
        ("false", "1", ""),
        ("printf 'no newline'", "0", "no newline"),
    ] {
        let ended = session.run(command);
        assert_eq!(ended, (status.to_owned(), printed.to_owned()), "{command}");
    }
}
