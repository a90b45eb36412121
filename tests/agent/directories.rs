//! Directories of handlers with a live agent: order, skipped files, and files that are added, changed and
//! removed while events arrive.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::lines_of;
use crate::live::{Agent, COTTAR, Kind, PATIENCE, Spec, arg, content, eventually, run};
use cottar::cli::client::Client;

/// A directory of handlers, and a folder for their output.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        Place { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Installs, by a rename, a handler that appends `mark` and its payload to the file with its name.
    fn install(&self, name: &str, header: &str, mark: &str) {
        let out = self.path(&format!("out-{name}"));
        let text = format!(
            "#!/bin/sh\n# cottar: {header}\nread -r payload\necho \"{mark} $payload\" >>{}\n",
            arg(&out)
        );
        self.install_text(name, &text);
    }

    fn install_text(&self, name: &str, text: &str) {
        let new = self.path("d/.new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.path("d").join(name)).unwrap();
    }

    fn written(&self, name: &str) -> Vec<String> {
        lines_of(&self.path(&format!("out-{name}")))
    }

    #[track_caller]
    fn await_line(&self, name: &str, line: &str) {
        eventually(15.0, &format!("{line} of {name}"), || {
            let written = self.written(name);
            match written.iter().any(|l| l == line) {
                true => Ok(()),
                false => Err(format!("{written:?}")),
            }
        });
    }

    fn start(&self, more: &[&str]) -> Agent {
        let dir = format!("-handler-dir={}", arg(&self.path("d")));
        let agent = Spec::new(Kind::Cottar, "n1")
            .args(["-profile=local", &dir])
            .args(more)
            .start();
        agent.wait_for("Received event: member-join");
        agent
    }
}

fn send(agent: &Agent, name: &str, payload: &str) {
    agent
        .ask(Kind::Cottar, &["event", "-coalesce=false", name, payload])
        .success();
}

/// The names of an agent's handlers, and their filters.
fn listed(agent: &Agent) -> Vec<(String, String)> {
    let client = Client::connect(&agent.rpc.to_string(), "");
    let handlers = client.unwrap().handlers().unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let listed = handlers.iter().map(|h| (text(&h.name), text(&h.filter)));
    listed.collect()
}

#[test]
fn files_run_behind_other_handlers_in_the_order_of_their_names() {
    let place = Place::new();
    let order = place.path("order");
    for name in ["20-b", "10-a", "9"] {
        let text = format!(
            "#!/bin/sh\n# cottar: on=user:x\necho {name} >>{}\n",
            arg(&order)
        );
        place.install_text(name, &text);
    }
    place.install_text(
        "load",
        "#!/bin/sh\n# cottar: on=query:load\necho \"$0 $#\"\n",
    );
    let agent = place.start(&[&format!(
        "-event-handler=user:x=echo flag >>{}",
        arg(&order)
    )]);
    send(&agent, "x", "");
    eventually(15.0, "all four", || {
        let text = content(&order);
        if text == "flag\n10-a\n20-b\n9\n" {
            Ok(())
        } else {
            Err(text)
        }
    });
    let names: Vec<_> = listed(&agent).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["echo", "10-a", "20-b", "9", "load"]);
    // The file is executed directly, without arguments.
    let answer = agent
        .ask(
            Kind::Cottar,
            &["query", "-expect=1", "-fields=payload", "load"],
        )
        .success();
    let expected = format!("{} 0\n", arg(&place.path("d/load")));
    assert_eq!(answer.stdout, expected);
}

#[test]
fn files_that_are_no_handlers_are_skipped_with_a_warning() {
    let place = Place::new();
    for name in ["good", "x.dpkg-old", "y~", "z.bak"] {
        place.install(name, "on=*", name);
    }
    place.install_text("stray", "#!/bin/sh\necho stray\n");
    let long = format!("#!/bin/sh\n# cottar: on=user:{}\n", "x".repeat(5 << 10));
    place.install_text("long", &long);
    symlink("/dev/null", place.path("d/off")).unwrap();
    let made = Command::new("mkfifo").arg(place.path("d/fifo")).status();
    assert!(made.unwrap().success());
    fs::set_permissions(place.path("d/fifo"), fs::Permissions::from_mode(0o755)).unwrap();
    place.install("open", "on=*", "open");
    fs::set_permissions(place.path("d/open"), fs::Permissions::from_mode(0o777)).unwrap();
    let agent = place.start(&["-log-level=debug"]);
    send(&agent, "x", "1");
    place.await_line("good", "good 1");
    let text = agent.text();
    let at = |name: &str| arg(&place.path("d").join(name)).to_owned();
    for line in [
        format!("[INFO] agent: Handler {} runs for *", at("good")),
        format!(
            "[WARN] agent: {} is not a handler: no 'cottar: on=EVENTS'",
            at("stray")
        ),
        format!(
            "[ERR] agent: Handler {} refused: the comment lines",
            at("long")
        ),
        format!(
            "[ERR] agent: Handler {0} refused: other users can write to {0}",
            at("open")
        ),
        format!(
            "[DEBUG] agent: {} is not a handler: it is disabled",
            at("off")
        ),
        format!(
            "[DEBUG] agent: {} is not a handler: it is not a regular file",
            at("fifo")
        ),
        format!(
            "[DEBUG] agent: {} is not a handler: it has the name",
            at("y~")
        ),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert_eq!(listed(&agent), [("good".to_owned(), "*".to_owned())]);
    // `agent -check` reports the same and exits with 1.
    let dir = format!("-handler-dir={}", arg(&place.path("d")));
    let mut command = Command::new(COTTAR);
    let checked = run(
        command.args(["agent", "-check", "-bind=127.0.0.1:0", &dir]),
        PATIENCE,
    )
    .unwrap();
    assert_eq!(checked.code, 1);
    let verdict = "==> The agent would start, but without some handlers\n";
    assert!(checked.stdout.ends_with(verdict), "{checked:?}");
    assert_eq!(checked.stdout.matches("refused: ").count(), 2);
}

/// Sends numbered events until `stop` is set.
fn events(agent: &Agent, next: &AtomicU32, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        send(agent, "e", &number.to_string());
    }
}

#[test]
fn files_are_added_changed_and_removed_while_events_arrive() {
    let place = Place::new();
    place.install("00-all", "on=user:e", "all");
    let agent = place.start(&[]);
    let (next, stop) = (AtomicU32::new(1), AtomicBool::new(false));
    let grows = |name: &str, mark: &str| {
        eventually(30.0, &format!("{mark} of {name}"), || {
            let lines = place.written(name);
            let is_there = lines.iter().any(|line| line.starts_with(mark));
            is_there.then_some(()).ok_or(format!("{lines:?}"))
        });
    };
    // By its name or by its filter.
    let becomes_listed = |text: &str, is_listed: bool| {
        eventually(30.0, &format!("listed, {text}: {is_listed}"), || {
            let list = listed(&agent);
            let mut found = list.iter().flat_map(|(name, filter)| [name, filter]);
            let is_so = found.any(|found| found == text) == is_listed;
            is_so.then_some(()).ok_or(format!("{list:?}"))
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(|| events(&agent, &next, &stop));
        let stop = Stop(&stop);
        place.install("10-new", "on=user:e", "first");
        grows("10-new", "first");
        // A handler with new content but the same settings is run immediately.
        place.install("10-new", "on=user:e", "second");
        grows("10-new", "second");
        // A file that is not executable is not run; it is run again once it is executable.
        let path = place.path("d/10-new");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o757)).unwrap();
        becomes_listed("10-new", false);
        fs::rename(place.path("out-10-new"), place.path("until-then")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        grows("10-new", "second");
        // Changed settings apply when the file has not changed for a second.
        place.install("10-new", "on=user:none", "never");
        becomes_listed("user:none", true);
        fs::remove_file(&path).unwrap();
        becomes_listed("10-new", false);
        drop(stop);
    });
    // The other handlers have not missed an event meanwhile.
    let last = next.load(Ordering::Relaxed) - 1;
    place.await_line("00-all", &format!("all {last}"));
    let expected: Vec<_> = (1..=last).map(|number| format!("all {number}")).collect();
    assert_eq!(place.written("00-all"), expected);
    // The removed handler has all events between its first and its last.
    let lines: Vec<_> = lines_of(&place.path("until-then"));
    let number = |line: &String| line.split(' ').nth(1).unwrap().parse::<u32>().unwrap();
    let numbers: Vec<_> = lines.iter().map(number).collect();
    let whole: Vec<_> = (numbers[0]..).take(numbers.len()).collect();
    assert_eq!(numbers, whole);
    assert!(lines.iter().all(|line| !line.starts_with("never")));
}

/// Stops the sender when dropped, even if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_reload_takes_other_directories_and_files_at_once() {
    let place = Place::new();
    let config = place.path("c.json");
    let name_dir = |dir: &Path| {
        let text = format!("{{\"handler_dirs\": [\"{}\"]}}", arg(dir));
        fs::write(&config, text).unwrap();
    };
    let other = place.path("other");
    fs::create_dir(&other).unwrap();
    name_dir(&other);
    let agent = place.start(&[&format!("-config-file={}", arg(&config))]);
    place.install("a", "on=user:x", "one");
    fs::rename(place.path("d/a"), other.join("a")).unwrap();
    agent.reload("runs for user:x");
    send(&agent, "x", "1");
    place.await_line("a", "one 1");
    fs::write(&config, "{\"handler_dirs\": \"x\"}").unwrap();
    agent.reload("source data must be an array or slice, got string");
    send(&agent, "x", "2");
    place.await_line("a", "one 2");
}

#[test]
fn clients_see_handlers_that_were_just_added() {
    let place = Place::new();
    let agent = place.start(&[]);
    assert_eq!(listed(&agent), []);
    place.install("new", "on=sync,user:x", "ran");
    let expected = [("new".to_owned(), "sync,user:x".to_owned())];
    eventually(15.0, "the list with it", || match listed(&agent) {
        now if now == expected => Ok(()),
        other => Err(format!("{other:?}")),
    });
    place.install("later", "on=sync", "ran");
    eventually(15.0, "a run of the later one", || {
        match agent.call("handler sync", &["later"]) {
            (true, _) => Ok(()),
            (false, said) => Err(said),
        }
    });
    place.await_line("later", "ran n1\t127.0.0.1");
    fs::remove_file(place.path("d/later")).unwrap();
    eventually(15.0, "no more of it", || {
        let (_, said) = agent.call("handler pause", &["later"]);
        match said.contains("no handler has the name 'later'") {
            true => Ok(()),
            false => Err(said),
        }
    });
    // The agent has received no event since its own join.
    assert_eq!(agent.text().matches("Received event").count(), 1);
}
