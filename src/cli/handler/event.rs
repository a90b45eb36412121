//! The event that `handler test` makes up.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

use crate::cli::command::flags::Flags;
use crate::cli::common::name_and_payload_of;
use crate::cli::failure::Failure;
use crate::ordered::sort_by;
use crate::os::error::os_error;
use crate::serf::config::PROTOCOL_MAX;
use crate::serf::{
    Event, LamportTime, Member, MemberEvent, MemberEventKind, MemberStatus, Query, Tags, UserEvent,
};
use crate::time::Instant;
use crate::wire::name::Escaped;
use crate::wire::{NodeName, VersionVector};

/// Far more than any agent lets through.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;
/// Gossip's own port; handlers do not see it.
const PORT: u16 = 7946;

/// The event of this kind, with what the line says of it.
pub(super) fn event(flags: &Flags, kind: &OsString, rest: &[OsString]) -> Result<Event, Failure> {
    if let Some(kind) = member_kind(kind.as_bytes()) {
        if flags.byte_value("payload").is_some() {
            return Err(wrong("A member event has no payload.".to_owned()));
        }
        flags.refuse_late_flags().map_err(wrong)?;
        return member_event(kind, rest);
    }
    let is_query = match kind.as_bytes() {
        b"query" => true,
        b"user" => false,
        other => {
            return Err(wrong(format!(
                "'{}' is no event. These are: member-join, member-leave, member-failed, \
                 member-update, member-reap, sync, user, query",
                Escaped(other)
            )));
        }
    };
    let (name, argument) = name_and_payload_of(rest, "The event needs a name.")?;
    let payload = match (argument, flags.byte_value("payload")) {
        (Some(_), Some(_)) => {
            return Err(wrong(
                "There are two payloads: one of the line and one of -payload.".to_owned(),
            ));
        }
        (argument, None) => argument.unwrap_or_default(),
        (None, Some(path)) => read_payload(path)?,
    };
    let ltime = flags.integer("ltime").unwrap_or(1);
    let ltime =
        u64::try_from(ltime).map_err(|_| wrong("-ltime must not be negative".to_owned()))?;
    let ltime = LamportTime(ltime);
    Ok(match is_query {
        true => Event::Query(Query {
            ltime,
            // Ids are random; this one is as long as they get.
            id: u32::MAX,
            name,
            payload,
            source_node: None,
            deadline: Instant::FAR_FUTURE,
        }),
        false => Event::User(UserEvent {
            ltime,
            name,
            payload,
            coalesce: flags.flag("coalesce"),
        }),
    })
}

fn wrong(why: String) -> Failure {
    Failure::Message(why)
}

fn read_payload(path: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    let read = match path {
        b"-" => io::stdin()
            .take(PAYLOAD_BYTES_MAX + 1)
            .read_to_end(&mut payload),
        path => File::open(OsStr::from_bytes(path))
            .and_then(|file| file.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut payload)),
    };
    match read {
        Err(why) => Err(wrong(format!(
            "Cannot read the payload from '{}': {}",
            Escaped(path),
            os_error(&why)
        ))),
        Ok(count) if count as u64 > PAYLOAD_BYTES_MAX => Err(wrong(format!(
            "The payload has more than {PAYLOAD_BYTES_MAX} bytes"
        ))),
        Ok(_) => Ok(payload),
    }
}

fn member_kind(name: &[u8]) -> Option<MemberEventKind> {
    let kinds = MemberEventKind::ALL.into_iter();
    kinds
        .chain([MemberEventKind::Sync])
        .find(|kind| kind.as_str().as_bytes() == name)
}

fn member_event(kind: MemberEventKind, members: &[OsString]) -> Result<Event, Failure> {
    if members.is_empty() {
        return Err(Failure::Usage("A member event needs a member.".to_owned()));
    }
    let members = members.iter().map(|text| member(kind, text.as_bytes()));
    let mut members = members.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    sort_by(&mut members, |a, b| a.name.cmp(&b.name));
    Ok(Event::Member(MemberEvent { kind, members }))
}

/// `NAME[,ADDRESS][,TAG=VALUE]...`; a comma of a name or value has a backslash in front.
fn member(kind: MemberEventKind, text: &[u8]) -> Result<Member, String> {
    let invalid = |why: &str| format!("Invalid member '{}': {why}", Escaped(text));
    let fields = split(text);
    let mut fields = fields.iter().map(Vec::as_slice).peekable();
    let name = NodeName::new(fields.next().unwrap_or_default())
        .map_err(|_| invalid("its name must have 1 to 255 bytes and no control characters"))?;
    let address = |field: &&[u8]| std::str::from_utf8(field).ok()?.parse::<IpAddr>().ok();
    let ip = fields.peek().and_then(address);
    if ip.is_some() {
        fields.next();
    }
    let mut tags = Tags::new();
    for field in fields {
        match field.iter().position(|&byte| byte == b'=') {
            Some(at) if at > 0 => {
                let (key, value) = field.split_at(at);
                tags.set(key, value.get(1..).unwrap_or_default());
            }
            _ => return Err(invalid("after its name come an IP address and TAG=VALUE")),
        }
    }
    Ok(Member {
        name,
        addr: SocketAddr::new(ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), PORT),
        tags,
        status: match kind {
            MemberEventKind::Join | MemberEventKind::Update | MemberEventKind::Sync => {
                MemberStatus::Alive
            }
            MemberEventKind::Leave => MemberStatus::Left,
            MemberEventKind::Failed | MemberEventKind::Reap => MemberStatus::Failed,
        },
        versions: VersionVector::serf(PROTOCOL_MAX),
    })
}

fn split(text: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    let mut field = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => field.push(bytes.next_if_eq(&b',').unwrap_or(byte)),
            b',' => fields.push(std::mem::take(&mut field)),
            _ => field.push(byte),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match member(MemberEventKind::Join, text.as_bytes()) {
            Ok(member) => {
                let tags = member.tags.iter();
                let tags = tags.map(|(k, v)| format!("{}={}", Escaped(k), Escaped(v)));
                let tags: Vec<_> = tags.collect();
                format!("{} {} {}", member.name, member.addr.ip(), tags.join(";"))
            }
            Err(why) => why,
        }
    }

    #[test]
    fn members_have_a_name_an_address_and_tags() {
        for (text, member) in [
            ("a", "a 127.0.0.1 "),
            ("a,10.0.0.1", "a 10.0.0.1 "),
            ("a,::1,role=web", "a ::1 role=web"),
            ("a,z=1,b=x=y,b=", "a 127.0.0.1 b=;z=1"),
            ("a\\,b,k=1\\,2\\n", "a,b 127.0.0.1 k=1,2\\n"),
        ] {
            assert_eq!(shown(text), member);
        }
        for bad in [
            "",
            ",1.2.3.4",
            "a,1.2.3",
            "a,=x",
            "a,",
            "a,x=1,1.2.3.4",
            "a\nb",
        ] {
            assert!(shown(bad).starts_with("Invalid member '"), "{bad:?}");
        }
    }
}
