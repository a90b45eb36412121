//! Running the program.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use crate::live::process::collect;
use crate::live::{COTTAR, PATIENCE};

/// The result of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    pub status: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Finished {
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

/// The program with these arguments, and without environment variables that affect it.
pub fn cottar(arguments: &[&str]) -> Command {
    let mut command = Command::new(COTTAR);
    command
        .args(arguments)
        .env_remove("SERF_RPC_ADDR")
        .env_remove("SERF_RPC_AUTH")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> Finished {
    finish(cottar(arguments).spawn().unwrap())
}

/// Waits for the end, with a deadline.
#[track_caller]
pub fn finish(mut child: Child) -> Finished {
    let (status, stdout, stderr) = collect(&mut child, PATIENCE);
    child.wait().unwrap();
    assert_ne!(status.signal(), Some(libc::SIGKILL), "it does not end");
    Finished {
        status: status.code(),
        stdout,
        stderr: String::from_utf8(stderr).unwrap(),
    }
}
