//! Children that end with their owner, and commands with a deadline.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A child in a process group of its own; the whole group is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` so that it ends with this thread, however that ends.
    pub fn spawn(command: &mut Command) -> std::io::Result<Process> {
        command.process_group(0);
        // SAFETY: both calls only set a flag of the new process; they neither allocate nor lock, so
        // they may run between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                // Ignored where the tests themselves are a job in some shell's background.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        Ok(Process {
            child: command.spawn()?,
            status: None,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child's ends of pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The exit status, if it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("waiting for a child");
        }
        self.status
    }

    /// The resident memory of a process, in KiB.
    pub fn resident_kb(id: u32) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a live process");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }

    /// Sends a signal to the process itself.
    pub fn signal(&mut self, signal: i32) {
        if self.status().is_none() {
            // SAFETY: a plain system call; the child is not reaped yet, so the id is still its own.
            unsafe { libc::kill(self.child.id() as i32, signal) };
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let reaped = self.status().is_some();
        // SAFETY: a plain system call. The group may hold handlers that outlived the agent.
        unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) };
        if !reaped {
            let _ = self.child.wait();
        }
    }
}

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// The same, if the command succeeded; panics with everything it said if not.
    #[track_caller]
    pub fn success(self) -> Finished {
        assert!(self.code == 0, "command failed: {self:?}");
        self
    }
}

/// Runs a command to its end, or kills it after the given time.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished, String> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = Process::spawn(command).map_err(|error| format!("{command:?}: {error}"))?;
    let mut stdout = process.child().stdout.take().expect("piped");
    let mut stderr = process.child().stderr.take().expect("piped");
    let (out, err) = std::thread::scope(|scope| {
        let out = scope.spawn(move || drain(&mut stdout));
        let err = scope.spawn(move || drain(&mut stderr));
        let deadline = Instant::now() + limit;
        let mut nap = Duration::from_millis(1);
        while process.status().is_none() {
            if Instant::now() >= deadline {
                process.signal(libc::SIGKILL);
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(20));
        }
        (out.join().expect("reader"), err.join().expect("reader"))
    });
    let status = process.status().expect("ended");
    match status.code() {
        Some(code) => Ok(Finished {
            code,
            stdout: out,
            stderr: err,
        }),
        None => Err(format!(
            "{command:?} ended by {status} (limit {limit:?}): {out}{err}"
        )),
    }
}

fn drain(pipe: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
