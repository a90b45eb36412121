//! Users and groups of passwd(5) and group(5). The files are parsed here because the C library's functions
//! may load modules, which a static binary cannot do.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};

use crate::os::error::os_error;

/// Limit for the bytes read from the files of users and groups.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Returns the id of the group with this name, or the number itself.
///
/// # Errors
/// If /etc/group cannot be read, or there is no such group.
pub fn group_id(name: &str) -> Result<u32, String> {
    let groups = read("/etc/group").map_err(|why| format!("/etc/group: {}", os_error(&why)))?;
    group_in(&groups, name).ok_or_else(|| "there is no such group".to_owned())
}

/// Returns the id of the group with this name in `groups`, the content of group(5), or the number itself.
pub fn group_in(groups: &[u8], name: &str) -> Option<u32> {
    let found = find(groups, name).and_then(|fields| number(fields.get(2)?));
    found.or_else(|| number(name.as_bytes()))
}

/// Returns whether /etc/group lists a user as a member of a group; primary groups do not count. `false` if
/// the files cannot be read.
pub fn is_member(uid: u32, gid: u32) -> bool {
    match (read("/etc/passwd"), read("/etc/group")) {
        (Ok(users), Ok(groups)) => is_member_in(&users, &groups, uid, gid),
        _ => false,
    }
}

fn is_member_in(users: &[u8], groups: &[u8], uid: u32, gid: u32) -> bool {
    let is = |field: Option<&&[u8]>, wanted| field.and_then(|text| number(text)) == Some(wanted);
    let mut users = entries(users).filter(|fields| is(fields.get(2), uid));
    let mut groups = entries(groups).filter(|fields| is(fields.get(2), gid));
    users.any(|user| {
        groups.any(|group| {
            let members = group.get(3).copied().unwrap_or_default();
            let mut members = members.split(|&byte| byte == b',');
            members.any(|member| !member.is_empty() && Some(&member) == user.first())
        })
    })
}

/// Splits the text into lines, and each line into its fields.
pub fn entries(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let lines = text.split(|&byte| byte == b'\n');
    lines.map(|line| line.split(|&byte| byte == b':').collect())
}

/// Returns the fields of the line with this name, or else with this id.
pub fn find<'a>(text: &'a [u8], name: &str) -> Option<Vec<&'a [u8]>> {
    let with = |at: usize| {
        entries(text).find(|fields| fields.len() > 2 && fields.get(at) == Some(&name.as_bytes()))
    };
    with(0).or_else(|| with(2))
}

/// Parses an id. The highest number is rejected: it means "no change" in system calls.
pub fn number(text: &[u8]) -> Option<u32> {
    let number = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number != u32::MAX).then_some(number)
}

/// Reads a file of users or groups, at most `FILE_BYTES_MAX` bytes.
///
/// # Errors
/// If it cannot be opened or read.
pub fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_name() {
        let users = b"root:x:0:0::/:\nweb:x:33:33::/:\n\nodd:x:34\nweb2:x:35:35::/:\n";
        let groups = b"ops:x:50:odd,web\nempty:x:51:\nshort:x:52\n:x:53:,\n";
        for (uid, gid, expected) in [
            (33, 50, true),
            (34, 50, true),
            (35, 50, false),
            (0, 50, false),
            (99, 50, false),
            (33, 51, false),
            (33, 52, false),
            (33, 53, false),
            (33, 99, false),
        ] {
            assert_eq!(
                is_member_in(users, groups, uid, gid),
                expected,
                "{uid} {gid}"
            );
        }
    }

    #[test]
    fn groups_have_names_or_numbers() {
        assert_eq!(group_id("root"), Ok(0));
        assert_eq!(group_id("12345"), Ok(12345));
        for name in ["", "no-such-group", "-1", "4294967295", "1x"] {
            assert!(group_id(name).is_err(), "{name}");
        }
    }
}
