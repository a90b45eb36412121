//! Runs handlers as other users: the agent starts its own binary, which changes user and groups and then
//! executes the handler. So the agent never changes its own user, and no code runs between fork and exec.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use crate::handler::HandlerSettings;
use crate::os::accounts::{self, entries, find, number};
use crate::os::error::os_error;
use crate::os::sys;
use crate::wire::name::Escaped;

/// `argv[0]` of the child that runs a handler as another user.
pub const ARGV0: &str = "cottar: run as";

/// Variable that passes the settings to the child: texts, each prefixed with its length and a colon.
const VARIABLE: &str = "COTTAR_RUN_AS";
/// Exit status of shells for a command that cannot be executed.
const NOT_EXECUTED: u8 = 126;

/// Returns whether a variable describes the user, so that the agent's value would be wrong for another one.
pub(super) fn is_users(name: &OsStr) -> bool {
    ["HOME", "USER", "LOGNAME", "SHELL"]
        .iter()
        .any(|other| name == *other)
}

/// Returns the command that runs `program` with the arguments `words`, including `argv[0]`, as the settings
/// require.
pub(super) fn command(
    settings: &HandlerSettings,
    program: &OsStr,
    words: &[OsString],
    mut environment: Vec<(OsString, OsString)>,
) -> io::Result<Command> {
    let said = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
    let directory = settings.directory.clone().unwrap_or_default();
    let head = [said(&settings.user), said(&settings.group), directory];
    let words = words.iter().map(|word| word.as_bytes());
    let mut order = Vec::new();
    for text in head
        .iter()
        .map(Vec::as_slice)
        .chain([program.as_bytes()])
        .chain(words)
    {
        order.extend_from_slice(format!("{}:", text.len()).as_bytes());
        order.extend_from_slice(text);
    }
    environment.push((VARIABLE.into(), OsString::from_vec(order)));
    sys::own_program_in(ARGV0, environment)
}

/// Main function for [`ARGV0`]: changes the user and executes the handler.
pub fn child_main() -> ExitCode {
    let why = run();
    eprintln!("cottar: {why}");
    ExitCode::from(NOT_EXECUTED)
}

/// Executes the handler; returns only on failure, with the reason.
fn run() -> String {
    let order = env::var_os(VARIABLE).unwrap_or_default().into_vec();
    let Some(texts) = texts(&order) else {
        return format!("{VARIABLE} cannot be read");
    };
    let [user, group, directory, program, first, rest @ ..] = &texts[..] else {
        return format!("{VARIABLE} is too short");
    };
    let said = |text: &[u8]| (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned());
    let identity = match Identity::find_named(said(user).as_deref(), said(group).as_deref()) {
        Ok(identity) => identity,
        Err((_, why)) => return why,
    };
    let changed = sys::take_identity(identity.uid, identity.gid, &identity.groups);
    if let Err(why) = changed {
        return format!("cannot change the user: {}", os_error(&why));
    }
    let mut command = Command::new(OsStr::from_bytes(program));
    let rest = rest.iter().map(|word| OsStr::from_bytes(word));
    command
        .arg0(OsStr::from_bytes(first))
        .args(rest)
        .env_remove(VARIABLE);
    for (name, value) in &identity.variables {
        if env::var_os(name).is_none() {
            command.env(name, OsStr::from_bytes(value));
        }
    }
    if !directory.is_empty() {
        if let Err(why) = env::set_current_dir(OsStr::from_bytes(directory)) {
            let (directory, why) = (Escaped(directory), os_error(&why));
            return format!("cannot use the directory {directory}: {why}");
        }
    }
    let why = command.exec();
    format!("cannot start {}: {}", Escaped(program), os_error(&why))
}

fn texts(mut order: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut texts = Vec::new();
    while !order.is_empty() {
        let colon = order.iter().position(|&byte| byte == b':')?;
        let (length, rest) = order.split_at(colon);
        let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
        let (text, rest) = rest.get(1..)?.split_at_checked(length)?;
        texts.push(text.to_vec());
        order = rest;
    }
    Some(texts)
}

/// User, groups and environment of a handler.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    uid: Option<u32>,
    gid: u32,
    groups: Vec<u32>,
    variables: Vec<(&'static str, Vec<u8>)>,
}

impl Identity {
    /// Looks up the user and group of the settings. The error has the key that is wrong, and the reason.
    pub(super) fn find(settings: &HandlerSettings) -> Result<Self, (&'static str, String)> {
        Identity::find_named(settings.user.as_deref(), settings.group.as_deref())
    }

    fn find_named(user: Option<&str>, group: Option<&str>) -> Result<Self, (&'static str, String)> {
        let read = |path: &str, key| {
            accounts::read(path)
                .map_err(|why| (key, format!("cannot read {path}: {}", os_error(&why))))
        };
        let users = match user {
            Some(_) => read("/etc/passwd", "user")?,
            None => Vec::new(),
        };
        Identity::among(&users, &read("/etc/group", "group")?, user, group)
    }

    /// Looks up user and group in `users` and `groups`, the contents of passwd(5) and group(5).
    fn among(
        users: &[u8],
        groups: &[u8],
        user: Option<&str>,
        group: Option<&str>,
    ) -> Result<Self, (&'static str, String)> {
        let chosen = match group {
            None => None,
            Some(name) => {
                let found = accounts::group_in(groups, name);
                Some(found.ok_or_else(|| ("group", format!("there is no group '{name}'")))?)
            }
        };
        let Some(name) = user else {
            let gid = chosen.unwrap_or_default();
            return Ok(Identity::new(None, gid, Vec::new()));
        };
        let found = find(users, name).unwrap_or_default();
        let field = |at: usize| found.get(at).copied().unwrap_or_default();
        let uid = number(field(2)).or_else(|| number(name.as_bytes()));
        let uid = uid.ok_or_else(|| ("user", format!("there is no user '{name}'")))?;
        let missing = || format!("user {uid} is not in /etc/passwd: 'group' is required");
        let gid = chosen.or_else(|| number(field(3)));
        let gid = gid.ok_or_else(|| ("user", missing()))?;
        let or = |text: &[u8], default: &str| match text {
            [] => default.into(),
            text => text.to_vec(),
        };
        let own_name = or(field(0), name);
        let mut identity = Identity::new(
            Some(uid),
            gid,
            vec![
                ("HOME", or(field(5), "/")),
                ("LOGNAME", own_name.clone()),
                ("SHELL", or(field(6), "/bin/sh")),
                ("USER", own_name.clone()),
            ],
        );
        for fields in entries(groups) {
            let members = fields.get(3).copied().unwrap_or_default();
            let mut members = members.split(|&byte| byte == b',');
            let gid = fields.get(2).and_then(|gid| number(gid));
            let gid = gid.filter(|gid| !identity.groups.contains(gid));
            if !found.is_empty() && members.any(|member| member == own_name) {
                identity.groups.extend(gid);
            }
        }
        Ok(identity)
    }

    fn new(uid: Option<u32>, gid: u32, variables: Vec<(&'static str, Vec<u8>)>) -> Self {
        Identity {
            uid,
            gid,
            groups: vec![gid],
            variables,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const USERS: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n# no line\nweb:x:33:34::/srv:\n7:x:70:71::/:/bin/false\n";
    const GROUPS: &[u8] =
        b"root:x:0:\nweb:x:34:\nlog:x:4:web,syslog\nadm:x:5:syslog,web\nodd:x:6:webb\n";

    fn shown(user: Option<&str>, group: Option<&str>) -> String {
        match Identity::among(USERS, GROUPS, user, group) {
            Ok(Identity {
                uid,
                gid,
                groups,
                variables,
            }) => {
                let values = variables
                    .iter()
                    .map(|(_, value)| String::from_utf8_lossy(value));
                format!(
                    "{uid:?} {gid} {groups:?} {}",
                    values.collect::<Vec<_>>().join(" ")
                )
            }
            Err((key, why)) => format!("{key}: {why}"),
        }
    }

    #[test]
    fn names_come_before_numbers() {
        for (user, group, expected) in [
            (
                Some("web"),
                None,
                "Some(33) 34 [34, 4, 5] /srv web /bin/sh web",
            ),
            (
                Some("33"),
                None,
                "Some(33) 34 [34, 4, 5] /srv web /bin/sh web",
            ),
            (
                Some("web"),
                Some("odd"),
                "Some(33) 6 [6, 4, 5] /srv web /bin/sh web",
            ),
            (
                Some("web"),
                Some("4"),
                "Some(33) 4 [4, 5] /srv web /bin/sh web",
            ),
            (Some("7"), None, "Some(70) 71 [71] / 7 /bin/false 7"),
            (Some("99"), Some("99"), "Some(99) 99 [99] / 99 /bin/sh 99"),
            (None, Some("log"), "None 4 [4] "),
            (
                Some("99"),
                None,
                "user: user 99 is not in /etc/passwd: 'group' is required",
            ),
            (Some("nobody"), None, "user: there is no user 'nobody'"),
            (
                Some("4294967295"),
                Some("0"),
                "user: there is no user '4294967295'",
            ),
            (Some("web"), Some("nope"), "group: there is no group 'nope'"),
            (None, Some("-1"), "group: there is no group '-1'"),
        ] {
            assert_eq!(shown(user, group), expected, "{user:?} {group:?}");
        }
    }

    #[test]
    fn texts_may_hold_anything() {
        let words = ["a b".into(), "\n5:".into(), OsString::new()];
        let settings = HandlerSettings::from_text(b"").unwrap();
        let command = command(&settings, "/x".as_ref(), &words, Vec::new()).unwrap();
        let (_, order) = command.get_envs().next().unwrap();
        let texts = texts(order.unwrap().as_bytes()).unwrap();
        assert_eq!(texts, [&b""[..], b"", b"", b"/x", b"a b", b"\n5:", b""]);
        for bad in [&b"5"[..], b"5:abc", b":", b"-1:", b"99999999999999999999:"] {
            assert_eq!(super::texts(bad), None);
        }
    }
}
