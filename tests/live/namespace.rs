//! Networks and mounts of the test's own. They live as long as a thread or a child of the test and have
//! no names, so nothing is left behind, however the test ends, and no packet leaves them.

use super::process::{Process, run};
use super::skip::{lacks_namespaces, lacks_program};
use super::wait::eventually;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What no right to make namespaces is called.
const NO_RIGHT: &str = "no right to make namespaces";

/// Whether a scenario must be left out because it cannot have networks of its own.
#[track_caller]
pub fn lacks_networks(scenario: &str) -> bool {
    lacks_namespaces(scenario, &["--mount", "--net"]) || lacks_program(scenario, "ip")
}

/// Runs `story` in a new network with nothing but loopback, which all that it starts inherits.
pub fn in_own_network<T: Send>(story: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let alone = scope.spawn(|| {
            // SAFETY: a plain system call; it takes this thread alone into the new network.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(NO_RIGHT.to_owned());
            }
            call(&["ip", "link", "set", "lo", "up"])?;
            Ok(story())
        });
        match alone.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Runs a command of the system to its end; what it prints.
pub fn output(line: &[&str]) -> Result<String, String> {
    let mut command = Command::new(line[0]);
    let ended = run(command.args(&line[1..]), Duration::from_secs(20))?;
    match ended.code {
        0 => Ok(ended.stdout),
        _ => Err(format!("{}: {}", line.join(" "), ended.stderr.trim())),
    }
}

/// The same for a command that says nothing.
pub fn call(line: &[&str]) -> Result<(), String> {
    output(line).map(|_| ())
}

/// The same for a line of the shell, which must succeed.
#[track_caller]
pub fn system(line: &str) {
    call(&["sh", "-c", line]).unwrap_or_else(|why| panic!("{why}"));
}

/// Set for a test that runs in namespaces of its own.
const INSIDE: &str = "COTTAR_TEST_INSIDE";

/// Runs `story` with nothing but a loopback interface around it and mounts of its own: the test's program
/// runs the test once more in new namespaces, so that all its threads and agents share them. `test` is the
/// path of the test that calls this.
pub fn own_network(test: &str, story: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return story();
    }
    if lacks_networks(test) {
        return;
    }
    let program = std::env::current_exe().expect("the test's program");
    let script = "ip link set lo up && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "--net", "sh", "-c", script, "sh"])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    print!("{stdout}");
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{test} in a network of its own: {stderr}"
    );
}

/// Puts a text in place of a file of the system, for as long as the namespace lives.
pub fn replace_file(folder: &Path, target: &str, text: &str) {
    let file = folder.join(target.replace('/', "_"));
    std::fs::write(&file, text).expect("a file");
    system(&format!("mount --bind '{}' {target}", file.display()));
}

/// A network, held by a process that waits for the end of its input.
pub struct Network(Process);

impl Network {
    /// A new network without anything in it.
    pub fn new() -> Result<Network, String> {
        let mut command = Command::new("unshare");
        command
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let holder = Process::spawn(&mut command).map_err(|why| format!("unshare: {why}"))?;
        let path = format!("/proc/{}/ns/net", holder.id());
        let ours = std::fs::read_link("/proc/self/ns/net").map_err(|why| why.to_string())?;
        eventually(10.0, "a network namespace", || {
            if holder.status().is_some() {
                return Ok(Err(NO_RIGHT.to_owned()));
            }
            match std::fs::read_link(&path) {
                Ok(theirs) if theirs != ours => Ok(Ok(())),
                other => Err(format!("{other:?}")),
            }
        })?;
        Ok(Network(holder))
    }

    /// What `ip` calls it.
    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// What runs a program in it.
    pub fn wrapper(&self) -> Vec<String> {
        ["nsenter", "-t", &self.id(), "-n"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Runs a command of the system in it; what it prints.
    pub fn output(&self, line: &[&str]) -> Result<String, String> {
        let wrapper = self.wrapper();
        let words = wrapper.iter().map(String::as_str);
        output(&words.chain(line.iter().copied()).collect::<Vec<_>>())
    }

    /// The same for a command that says nothing.
    pub fn call(&self, line: &[&str]) -> Result<(), String> {
        self.output(line).map(|_| ())
    }

    /// Runs a piece of the test in it, in a thread of its own: agents would end with that.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/proc/{}/ns/net", self.id())).expect("a namespace");
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                // SAFETY: changes the namespace of this thread alone, which ends with the piece.
                let entered = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
                work()
            });
            inside.join().expect("a piece that ends well")
        })
    }
}
