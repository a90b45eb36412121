//! Builds the command for a handler from its settings.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::run_as;
use crate::agent::observe::notify;
use crate::handler::invocation::is_stale;
use crate::handler::{Action, HandlerSettings, InvalidSetting, Invocation};
use crate::os::error::os_error;
use crate::os::sys;
use crate::wire::name::Escaped;

/// Variable with the agent's RPC address, for cottar's clients in a handler.
pub const RPC_ADDR: &str = "COTTAR_RPC_ADDR";
/// Shell that runs scripts.
const SHELL: &str = "/bin/sh";

/// Builds the commands that run handlers.
#[derive(Debug)]
pub(super) struct Programs {
    /// Variables of the agent that handlers must not see.
    stale_variables: Vec<OsString>,
    /// Additional variables for all handlers.
    variables: Vec<(&'static str, OsString)>,
}

impl Programs {
    /// Scans the agent's environment once for variables that handlers must not inherit: those of an event, and
    /// the service manager's socket.
    pub(super) fn new() -> Self {
        let names = env::vars_os().map(|(name, _)| name);
        let is_stale = |name: &OsString| is_stale(name.as_bytes()) || name == notify::VARIABLE;
        Programs {
            stale_variables: names.filter(is_stale).collect(),
            variables: Vec::new(),
        }
    }

    /// Sets variables for all handlers. Variables of an event take precedence.
    pub(super) fn set_variables(&mut self, variables: Vec<(&'static str, OsString)>) {
        // The agent's own environment may have the address of another agent.
        self.stale_variables.push(RPC_ADDR.into());
        self.variables = variables;
    }

    /// Returns the command for a run.
    ///
    /// # Errors
    /// If the program is not found, or the directory cannot be used.
    pub(super) fn command(&self, invocation: &Invocation) -> Result<Command, String> {
        let settings = &invocation.settings;
        let (program, words) = words(&settings.action)?;
        let directory = settings.directory.as_deref().map(OsStr::from_bytes);
        if settings.user.is_some() || settings.group.is_some() {
            let mut environment: Vec<(OsString, OsString)> = env::vars_os()
                .filter(|(name, _)| !self.stale_variables.contains(name))
                .filter(|(name, _)| settings.user.is_none() || !run_as::is_users(name))
                .collect();
            for (name, value) in self.own_variables(invocation) {
                environment.retain(|(other, _)| other != name);
                environment.push((name.to_owned(), value.to_owned()));
            }
            return run_as::command(settings, &program, &words, environment)
                .map_err(|why| cannot_start(&program, &os_error(&why)));
        }
        let mut command = Command::new(&program);
        let (first, rest) = words.split_first().unwrap_or((&program, &[]));
        command.arg0(first).args(rest);
        if let Some(directory) = directory {
            // Checked here, because the error of a failed spawn would not mention the directory.
            fs::read_dir(directory).map_err(|why| {
                format!(
                    "cannot use the directory {}: {}",
                    shown(directory),
                    os_error(&why)
                )
            })?;
            command.current_dir(directory);
        }
        for name in &self.stale_variables {
            command.env_remove(name);
        }
        command.envs(self.own_variables(invocation));
        Ok(command)
    }

    /// Returns the variables to set in addition to the agent's environment; later ones take precedence.
    fn own_variables<'a>(
        &'a self,
        invocation: &'a Invocation,
    ) -> impl Iterator<Item = (&'a OsStr, &'a OsStr)> {
        let common = self.variables.iter();
        let common = common.map(|(name, value)| (OsStr::new(*name), value.as_os_str()));
        let of_event = invocation.env.iter();
        let of_event = of_event.map(|(k, v)| (OsStr::from_bytes(k), OsStr::from_bytes(v)));
        common.chain(of_event)
    }
}

/// Returns the error text for a program that could not be started.
pub(super) fn cannot_start(program: &OsStr, why: &str) -> String {
    format!("cannot start {}: {why}", shown(program))
}

fn shown(text: &OsStr) -> Escaped<'_> {
    Escaped(text.as_bytes())
}

/// Returns the file to execute, and its arguments including `argv[0]`.
fn words(action: &Action) -> Result<(OsString, Vec<OsString>), String> {
    match action {
        Action::Run(script) => {
            let script = OsStr::from_bytes(script);
            let words = [SHELL.as_ref(), "-c".as_ref(), script];
            Ok((SHELL.into(), words.map(OsStr::to_owned).to_vec()))
        }
        Action::Exec(words) => {
            let words = words.iter().cloned().map(OsString::from_vec);
            let words: Vec<OsString> = words.collect();
            let first = words.first().cloned().unwrap_or_default();
            let found = find(&first).ok_or_else(|| cannot_start(&first, "not found in PATH"))?;
            Ok((found, words))
        }
    }
}

/// Returns a path unchanged, and searches for a bare name in the absolute directories of PATH. The handler's
/// working directory does not matter.
fn find(program: &OsStr) -> Option<OsString> {
    if program.as_bytes().contains(&b'/') {
        return Some(program.to_owned());
    }
    let path = env::var_os("PATH")?;
    let directories = env::split_paths(&path).filter(|directory| directory.is_absolute());
    let mut files = directories.map(|directory| directory.join(program));
    files
        .find(|file| is_program(file))
        .map(PathBuf::into_os_string)
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Checks that this process can run a handler with these settings.
///
/// # Errors
/// If the program of `exec` is not found, `user` or `group` is unknown, or they are set and this process is
/// not root.
pub fn check(settings: &HandlerSettings) -> Result<(), InvalidSetting> {
    let fault = |key: &str, reason: String| InvalidSetting {
        key: key.to_owned(),
        reason,
    };
    if let Action::Exec(words) = &settings.action {
        let first = words.first().map(Vec::as_slice).unwrap_or_default();
        let first = OsStr::from_bytes(first);
        match find(first) {
            None => {
                return Err(fault(
                    "exec",
                    format!("{} is not found in PATH", shown(first)),
                ));
            }
            Some(file) if !is_program(Path::new(&file)) => {
                return Err(fault(
                    "exec",
                    format!("{} is not an executable file", shown(&file)),
                ));
            }
            Some(_) => {}
        }
    }
    let key = match (&settings.user, &settings.group) {
        (Some(_), _) => "user",
        (None, Some(_)) => "group",
        (None, None) => return Ok(()),
    };
    if !sys::is_root() {
        return Err(fault(
            key,
            "only an agent that runs as root can use another user or group".to_owned(),
        ));
    }
    run_as::Identity::find(settings)
        .map(drop)
        .map_err(|(key, why)| fault(key, why))
}
