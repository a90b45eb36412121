//! Agents as children with their output in files, and network namespaces that end with the test.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const COTTAR: &str = env!("CARGO_BIN_EXE_cottar");

/// How long a condition may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The reference's binary, if it is here.
pub fn reference() -> Option<PathBuf> {
    std::env::var_os("COTTAR_SERF").map_or_else(|| program("serf"), |path| Some(path.into()))
}

/// A program on the path.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}

/// Whether a test must be left out, and says so; with `COTTAR_INTEROP=require` that is a failure.
pub fn is_missing(test: &str, what: &str, present: bool) -> bool {
    if present {
        return false;
    }
    let required = std::env::var("COTTAR_INTEROP").is_ok_and(|value| value == "require");
    assert!(!required, "{test}: COTTAR_INTEROP=require, but no {what}");
    // Past the test harness's capture, so that it is seen.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: no {what}");
    true
}

pub fn is_root() -> bool {
    // SAFETY: takes nothing and returns an integer.
    unsafe { libc::geteuid() == 0 }
}

/// Waits until `probe` gives a value.
#[track_caller]
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) => assert!(Instant::now() < deadline, "{what}: last seen: {last}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An agent. Its process group ends with it.
pub struct Agent {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Agent {
    /// Starts `command` with its output in `folder`.
    pub fn start(mut command: Command, folder: &Path, name: &str) -> Agent {
        let stdout = folder.join(format!("{name}.out"));
        let stderr = folder.join(format!("{name}.err"));
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap());
        let child = command.spawn().unwrap();
        Agent {
            child,
            stdout,
            stderr,
        }
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stdout).unwrap()).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// Waits for a text on stdout.
    #[track_caller]
    pub fn await_text(&self, text: &str) {
        eventually(text, || {
            let seen = self.stdout();
            if seen.contains(text) {
                Ok(())
            } else {
                Err(seen)
            }
        });
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: takes and returns integers; the child is not reaped before the end of this value.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Waits for the end; the exit code.
    pub fn await_end(&mut self) -> Option<i32> {
        eventually("the end", || {
            let ended = self.child.try_wait().unwrap();
            ended.ok_or_else(|| "it runs".to_owned())
        })
        .code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}:\n{}", self.stdout.display(), self.stdout());
        }
        // SAFETY: takes and returns integers.
        unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

/// A network namespace.
pub struct Namespace {
    name: String,
}

impl Namespace {
    fn new() -> Namespace {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cottar-{}-{number}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Namespace { name };
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// Two namespaces with a cable between them: v0 with 10.99.0.1 and fd99::1, v0 with .2 and ::2.
    pub fn pair() -> [Namespace; 2] {
        let pair = [Namespace::new(), Namespace::new()];
        let [a, b] = [&pair[0].name, &pair[1].name];
        ip(&[
            "link", "add", "v0", "netns", a, "type", "veth", "peer", "name", "v0", "netns", b,
        ]);
        for (number, namespace) in (1..).zip(&pair) {
            let v4 = format!("10.99.0.{number}/24");
            let v6 = format!("fd99::{number}/64");
            namespace.ip(&["link", "set", "v0", "up"]);
            namespace.ip(&["addr", "add", &v4, "dev", "v0"]);
            namespace.ip(&["-6", "addr", "add", &v6, "dev", "v0", "nodad"]);
            namespace.ip(&["route", "add", "224.0.0.0/4", "dev", "v0"]);
        }
        for namespace in &pair {
            eventually("an address on the link", || {
                let run = Command::new("ip")
                    .args(["-n", &namespace.name, "-6", "addr", "show", "dev", "v0"])
                    .output()
                    .unwrap();
                let text = String::from_utf8_lossy(&run.stdout).into_owned();
                match text.contains("fe80::") && !text.contains("tentative") {
                    true => Ok(()),
                    false => Err(text),
                }
            });
        }
        pair
    }

    /// Runs `ip` inside.
    pub fn ip(&self, args: &[&str]) {
        ip(&[&["-n", self.name.as_str()], args].concat());
    }

    /// A command that runs inside.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(program.as_ref());
        command
    }

    /// Runs a piece of the test inside, in a thread of its own.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(Path::new("/run/netns").join(&self.name)).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                // SAFETY: changes the namespace of this thread alone, which ends with the piece.
                let entered = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
                work()
            });
            inside.join().unwrap()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

fn ip(args: &[&str]) {
    let run = Command::new("ip").args(args).output().unwrap();
    let why = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "ip {args:?}: {why}");
}

/// Whether namespaces can be made here.
pub fn lacks_namespaces(test: &str) -> bool {
    let here = is_root() && program("ip").is_some();
    is_missing(test, "root with iproute2", here)
}
