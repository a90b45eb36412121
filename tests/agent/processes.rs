//! Handlers as processes: signals, terminals, orphans, and output after the end of the agent.

use std::fs;
use std::process::{Command, Stdio};

use crate::live::{Agent, COTTAR, Hold, Kind, Spec, arg, content, lacks_namespaces, wait_until};

/// A shell that runs `first`, then executes the agent.
fn after(first: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    let script = format!("{first}; exec \"$@\"");
    command.args(["-c", &script, "sh"]);
    command.stdin(Stdio::null());
    command
}

fn fire(agent: &Agent, event: &str) {
    let (fired, text) = agent.call("event", &["-coalesce=false", event]);
    assert!(fired, "{text}");
}

#[test]
fn a_handler_starts_with_default_signals() {
    let ignored = "grep SigIgn /proc/self/status";
    let output = after("trap '' QUIT ALRM TSTP HUP USR2")
        .args([COTTAR, "handler", "test", "-quiet", ignored, "user", "x"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mask = text.trim().rsplit('\t').next().unwrap_or_default();
    let mask = u64::from_str_radix(mask, 16).unwrap_or_else(|why| panic!("{why}: {output:?}"));
    let is_ignored = |signal: i32| mask & (1 << (signal - 1)) != 0;
    // The last ordinary signal.
    for signal in 1..=31 {
        let terminal = [libc::SIGTTIN, libc::SIGTTOU].contains(&signal);
        assert_eq!(is_ignored(signal), terminal, "signal {signal} of {mask:x}");
    }
}

#[test]
fn an_ignored_sigquit_stays_ignored() {
    let agent = Agent::start(&["-node=a"]);
    agent.signal(libc::SIGQUIT);
    // Ended by the signal, without an exit status.
    assert_eq!(agent.exit_code(), -1, "{}", agent.text());

    let spec = Spec::bare(Kind::Cottar).name("b");
    let agent = spec.after("trap '' QUIT ALRM").start();
    agent.signal(libc::SIGQUIT);
    agent.signal(libc::SIGALRM);
    // The agent handles signals in order, so that the end of the reload shows that it has handled the first.
    agent.reload("");
    assert!(agent.sees("b", "alive"), "{}", agent.text());
}

#[test]
fn a_handler_that_uses_the_terminal_is_not_stopped() {
    // `script` provides a terminal; by default, reading from it stops a process in the background.
    for (handler, expected) in [
        ("stty -echo </dev/tty; echo changed: $?", "changed: 0"),
        ("read x </dev/tty; echo read: $?", "read: 1"),
    ] {
        let line = format!("{COTTAR} handler test -quiet '{handler}' user x");
        let mut child = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until(handler, || child.try_wait().unwrap().is_some());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_stopped_handler_is_named_and_can_continue() {
    let agent = Agent::start(&["-node=a", "-event-handler=user:x=kill -STOP $$; echo on"]);
    fire(&agent, "x");
    let text = agent.wait_for("has been stopped by a signal for 10s");
    let group = text.rsplit_once("'kill -CONT -").unwrap().1;
    let group: i32 = group.split_once('\'').unwrap().0.parse().unwrap();
    // SAFETY: sends a signal to the process group that the agent has reported.
    assert_eq!(unsafe { libc::kill(-group, libc::SIGCONT) }, 0);
    let text = agent.wait_for("ran for 'user-event: x': exit status 0");
    assert_eq!(text.matches("has been stopped").count(), 1, "{text}");
}

/// Returns the processes with this parent.
fn children(parent: u32) -> Vec<String> {
    let stats = fs::read_dir("/proc").unwrap().flatten();
    let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    // After the name in parentheses: state, parent.
    let is_child = |stat: &String| {
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        after_name.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    stats.filter(is_child).collect()
}

fn pid_of(stat: &str) -> u32 {
    stat.split_once(' ').unwrap().0.parse().unwrap()
}

#[test]
fn process_one_reaps_orphans() {
    let namespace = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    if lacks_namespaces("process one", &namespace) {
        return;
    }
    let handler =
        "-event-handler=user:bg=sleep 0.05 >/dev/null 2>&1 & sleep 0.05 >/dev/null 2>&1 &";
    let agent = Spec::bare(Kind::Cottar)
        .args(["-node=a", handler])
        .launcher(&[&["unshare"], &namespace[..]].concat())
        .start();
    for _ in 0..20 {
        fire(&agent, "bg");
    }
    let ended = "exit status 0";
    agent.wait("20 runs", |text| text.matches(ended).count() == 20);
    let process_one = pid_of(&children(agent.pid())[0]);
    wait_until("the end of all orphans", || {
        children(process_one).is_empty()
    });
}

#[test]
fn a_handler_outlives_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let (hold, done) = (Hold::new(), dir.path().join("done"));
    // The handler and a background process of an earlier handler write after the end of the agent.
    let write = format!(
        "{}; echo a; echo b; echo $SERF_USER_EVENT >>{}",
        hold.script(),
        arg(&done)
    );
    let background = format!("-event-handler=user:first=({write}) &");
    let foreground = format!("-event-handler=user:second={write}");
    let agent = Agent::start(&["-node=a", "-handler-grace=1ms", &background, &foreground]);
    fire(&agent, "first");
    agent.wait_for("ran for 'user-event: first'");
    fire(&agent, "second");
    agent.wait_for("Received event: user-event: second");
    agent.reload("");
    assert_eq!(agent.end(libc::SIGTERM), 1);
    let text = agent.text();
    assert!(
        text.contains("Exiting while script 'while test -e"),
        "{text}"
    );
    hold.release();
    wait_until("the last lines of both", || {
        content(&done).contains("first") && content(&done).contains("second")
    });
}

#[test]
fn a_leave_waits_for_handlers_as_long_as_configured() {
    let dir = tempfile::tempdir().unwrap();
    let done = dir.path().join("done");
    let handler = format!("-event-handler=member-leave=sleep 3; touch {}", arg(&done));
    let agent = Agent::start(&["-node=a", "-handler-leave-wait=30s", &handler]);
    assert_eq!(agent.end(libc::SIGINT), 0, "{}", agent.text());
    assert!(done.exists(), "{}", agent.text());
}

#[test]
fn a_handler_that_cannot_be_started_is_logged_shortened() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("long.json");
    let script = format!("user:x=echo {}", "x".repeat(140_000));
    let text = serde_json::json!({ "event_handlers": [script] }).to_string();
    fs::write(&config, text).unwrap();
    let agent = Agent::start(&["-node=a", &format!("-config-file={}", arg(&config))]);
    fire(&agent, "x");
    let text = agent.wait_for("cannot start /bin/sh: argument list too long\n");
    let line = text.lines().find(|line| line.contains("Error invoking"));
    assert!(line.unwrap().len() < 512, "{line:?}");
    assert!(!text.contains("ran for"), "{text}");
}
