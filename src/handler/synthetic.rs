//! Synthetic events for `handler test` and `handler run`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::ordered::sort_by;
use crate::serf::config::PROTOCOL_MAX;
use crate::serf::{
    Event, LamportTime, Member, MemberEvent, MemberEventKind, MemberStatus, Query, Tags, UserEvent,
};
use crate::time::{Duration, Instant};
use crate::wire::name::Escaped;
use crate::wire::{NodeName, VersionVector};

/// Default gossip port; handlers do not see it.
const PORT: u16 = 7946;

/// Time until the deadline of a synthetic query: the default timeout in a cluster of one node.
pub const QUERY_TIME: Duration = Duration::from_millis(3200);

/// Builds an event from command-line words: a type, then members, or a name and an optional payload.
///
/// # Errors
/// If a word is missing, superfluous or invalid.
pub fn synthetic_event(words: &[Vec<u8>], ltime: u64) -> Result<Event, String> {
    let (kind, rest) = words
        .split_first()
        .ok_or("An event type must be specified.")?;
    if let Some(kind) = MemberEventKind::named(kind) {
        return member_event(kind, rest);
    }
    let is_query = match &**kind {
        b"query" => true,
        b"user" => false,
        other => {
            return Err(format!(
                "'{}' is not an event type. Use one of: member-join, member-leave, member-failed, \
                 member-update, member-reap, sync, user, query",
                Escaped(other)
            ));
        }
    };
    let (name, payload) = match rest {
        [] => return Err("An event name must be specified for this type.".to_owned()),
        [name] => (name, Vec::new()),
        [name, payload] => (name, payload.clone()),
        _ => return Err("Too many arguments after the name and the payload.".to_owned()),
    };
    let (ltime, name) = (LamportTime(ltime), name.clone());
    Ok(match is_query {
        true => Event::Query(Query {
            ltime,
            // Ids are random; this one has the greatest possible length.
            id: u32::MAX,
            name,
            payload,
            source_node: None,
            deadline: Instant::FAR_FUTURE,
        }),
        // Handlers cannot see whether an event may be coalesced.
        false => Event::User(UserEvent {
            ltime,
            name,
            payload,
            coalesce: true,
        }),
    })
}

fn member_event(kind: MemberEventKind, members: &[Vec<u8>]) -> Result<Event, String> {
    if members.is_empty() {
        return Err("At least one member must be specified for this event.".to_owned());
    }
    let members = members.iter().map(|text| member(kind, text));
    let mut members = members.collect::<Result<Vec<_>, _>>()?;
    sort_by(&mut members, |a, b| a.name.cmp(&b.name));
    Ok(Event::Member(MemberEvent { kind, members }))
}

/// Parses `NAME[,ADDRESS][,TAG=VALUE]...`; a backslash escapes a comma in a name or value.
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
    let mut tags = Vec::new();
    for field in fields {
        match field.iter().position(|&byte| byte == b'=') {
            Some(at) if at > 0 => {
                let (key, value) = field.split_at(at);
                tags.push((key, value.get(1..).unwrap_or_default()));
            }
            _ => {
                return Err(invalid(
                    "its name must be followed by an IP address and TAG=VALUE",
                ));
            }
        }
    }
    let status = match kind {
        MemberEventKind::Join | MemberEventKind::Update | MemberEventKind::Sync => {
            MemberStatus::Alive
        }
        MemberEventKind::Leave => MemberStatus::Left,
        MemberEventKind::Failed | MemberEventKind::Reap => MemberStatus::Failed,
    };
    Ok(Member::new(
        name,
        SocketAddr::new(ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), PORT),
        &Tags::from_pairs(&tags),
        status,
        VersionVector::serf(PROTOCOL_MAX),
    ))
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
                let tags = member.tags();
                let tags = tags.iter();
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
