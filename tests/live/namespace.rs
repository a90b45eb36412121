//! Private network and mount namespaces. They exist as long as a thread or a child of the test and have
//! no names, so nothing remains when the test ends, and no packet leaves them.

use super::process::{Process, run};
use super::skip::{lacks_namespaces, lacks_program};
use super::wait::eventually;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a test lacks if it may not create namespaces.
const NOT_PERMITTED: &str = "no permission to create namespaces";

/// Whether a scenario must be skipped because it cannot create network namespaces.
#[track_caller]
pub fn lacks_networks(scenario: &str) -> bool {
    lacks_namespaces(scenario, &["--mount", "--net"]) || lacks_program(scenario, "ip")
}

/// Runs `story` in a new network namespace with only loopback; its child processes inherit it.
pub fn in_own_network<T: Send>(story: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let alone = scope.spawn(|| {
            // SAFETY: a plain system call; it moves only this thread into the new namespace.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(NOT_PERMITTED.to_owned());
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

/// Runs a system command to its end and returns its output.
pub fn output(line: &[&str]) -> Result<String, String> {
    let mut command = Command::new(line[0]);
    let ended = run(command.args(&line[1..]), Duration::from_secs(20))?;
    match ended.code {
        0 => Ok(ended.stdout),
        _ => Err(format!("{}: {}", line.join(" "), ended.stderr.trim())),
    }
}

/// The same for a command without output.
pub fn call(line: &[&str]) -> Result<(), String> {
    output(line).map(|_| ())
}

/// Runs a shell command, which must succeed.
#[track_caller]
pub fn system(line: &str) {
    call(&["sh", "-c", line]).unwrap_or_else(|why| panic!("{why}"));
}

/// Set for a test that runs in namespaces of its own.
const INSIDE: &str = "COTTAR_TEST_INSIDE";

/// Runs `story` in network and mount namespaces of its own, with only a loopback interface: the test
/// program runs the test `test` (the path of the caller) again in new namespaces, so that all its threads
/// and agents share them.
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

/// Replaces the content of a system file by a bind mount, as long as the namespace exists.
pub fn replace_file(folder: &Path, target: &str, text: &str) {
    let file = folder.join(target.replace('/', "_"));
    std::fs::write(&file, text).expect("a file");
    system(&format!("mount --bind '{}' {target}", file.display()));
}

/// A network namespace, kept alive by a process that waits for end of file on its stdin.
pub struct Network(Process);

impl Network {
    /// Creates a network namespace without interfaces other than loopback.
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
                return Ok(Err(NOT_PERMITTED.to_owned()));
            }
            match std::fs::read_link(&path) {
                Ok(theirs) if theirs != ours => Ok(Ok(())),
                other => Err(format!("{other:?}")),
            }
        })?;
        Ok(Network(holder))
    }

    /// Its name in commands of `ip`.
    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// The command prefix that runs a program in it.
    pub fn wrapper(&self) -> Vec<String> {
        ["nsenter", "-t", &self.id(), "-n"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Runs a system command in it and returns its output.
    pub fn output(&self, line: &[&str]) -> Result<String, String> {
        let wrapper = self.wrapper();
        let words = wrapper.iter().map(String::as_str);
        output(&words.chain(line.iter().copied()).collect::<Vec<_>>())
    }

    /// The same for a command without output.
    pub fn call(&self, line: &[&str]) -> Result<(), String> {
        self.output(line).map(|_| ())
    }

    /// Runs part of the test in it, in a thread of its own. Agents started by `work` end with that thread.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/proc/{}/ns/net", self.id())).expect("a namespace");
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                // SAFETY: changes the namespace of this thread only, which ends with `work`.
                let entered = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
                work()
            });
            inside.join().expect("a piece that ends well")
        })
    }
}
