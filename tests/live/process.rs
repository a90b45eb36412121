//! Child processes that are killed with their owner, and commands with a deadline.

use super::wait::Wait;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// A child in a process group of its own; the whole group is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    id: u32,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `command`; the kernel kills it when this thread ends.
    pub fn spawn(command: &mut Command) -> std::io::Result<Process> {
        command.process_group(0);
        // SAFETY: the calls only set attributes of the new process; they neither allocate nor lock, so
        // they may run between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                // A shell ignores both signals for jobs in the background, and children would inherit that.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                libc::signal(libc::SIGQUIT, libc::SIG_DFL);
                Ok(())
            });
        }
        let child = command.spawn()?;
        Ok(Process {
            id: child.id(),
            child: Mutex::new(child),
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The child itself, for its ends of pipes.
    pub fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().expect("never poisoned")
    }

    /// The exit status, if it has ended.
    pub fn status(&self) -> Option<ExitStatus> {
        peek(self.id)
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
    pub fn signal(&self, signal: i32) {
        // SAFETY: a plain system call; the child is not reaped yet, so the id is still its own.
        unsafe { libc::kill(self.id as i32, signal) };
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: a plain system call. The group may contain handlers that outlived the agent. Its id is not
        // reused, since the leader is only reaped in the next line.
        unsafe { libc::kill(-(self.id as i32), libc::SIGKILL) };
        let _ = self.child().wait();
    }
}

/// The exit status of a child that has ended. Does not reap it, so that its process id is not reused.
fn peek(id: u32) -> Option<ExitStatus> {
    // SAFETY: all zeros are a value of this type.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: a plain system call, and the two that read what it has filled in.
    let (result, pid, status) = unsafe {
        let result = libc::waitid(libc::P_PID, id, &mut info, options);
        (result, info.si_pid(), info.si_status())
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    let raw = match info.si_code {
        libc::CLD_EXITED => status << 8,
        _ => status,
    };
    (pid != 0).then(|| ExitStatus::from_raw(raw))
}

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Returns `self` if the command succeeded; panics with its output if not.
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
    let process = Process::spawn(command).map_err(|error| format!("{command:?}: {error}"))?;
    let (status, stdout, stderr) = collect(&mut process.child(), limit);
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into());
    match status.code() {
        Some(code) => Ok(Finished {
            code,
            stdout,
            stderr,
        }),
        None => Err(format!(
            "{command:?} ended by {status} (limit {limit:?}): {stdout}{stderr}"
        )),
    }
}

/// Waits for the end of a child with pipes, and kills it after `limit`. Returns its exit status, stdout and
/// stderr. Does not reap it.
pub fn collect(child: &mut Child, limit: Duration) -> (ExitStatus, Vec<u8>, Vec<u8>) {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let out = scope.spawn(move || drain(&mut stdout));
        let err = scope.spawn(move || drain(&mut stderr));
        let wait = Wait::new(limit);
        let status = loop {
            if let Some(status) = peek(child.id()) {
                break status;
            }
            if !wait.goes_on() {
                let _ = child.kill();
            }
        };
        (
            status,
            out.join().expect("a reader"),
            err.join().expect("a reader"),
        )
    })
}

fn drain(pipe: &mut Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}
