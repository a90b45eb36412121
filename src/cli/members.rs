//! `members`: lists the members of the cluster (agent spec 3.2).

use std::io::{self, Write};

use super::client::{self, Client};
use super::columns::columns;
use super::command::flags::Flags;
use super::common::{connect, failed, format, tag_filters, unknown_format};
use super::failure::{Failure, Outcome};
use super::fields::Fields;
use crate::handler;
use crate::json::Json;
use crate::ordered::{OrderedSet, sort_by};
use crate::rpc::Request;
use crate::rpc::reply::Member;
use crate::wire::name::Escaped;

/// Fields of a member for `-fields`.
pub(super) const FIELDS: &[&str] = &[
    "name", "addr", "ip", "port", "status", "tags", "tag:", "protocol",
];

pub(super) fn members(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let mut tags = flags.byte_values("tag").to_vec();
    if let Some(role) = flags.byte_value("role").filter(|role| !role.is_empty()) {
        let _ = writeln!(
            io::stderr(),
            "Deprecation warning: 'Role' has been replaced with 'Tags'"
        );
        tags.push([b"role=", role].concat());
    }
    let fields = Fields::parse(flags, FIELDS)?;
    let requests = filtered(flags, &tags, flags.value("status").unwrap_or_default())?;
    let members =
        fetch(&mut connect(flags)?, &requests).map_err(failed("Error retrieving members"))?;
    let lacking = flags.flag("strict") && members.is_empty();
    if let Some(fields) = fields {
        show_fields(&members, &fields, out)?;
    } else {
        match format(flags) {
            "json" => writeln!(out, "{}", listed(&members).indented())?,
            "text" if lacking => {}
            "text" => {
                let detailed = flags.flag("detailed");
                let rows: Vec<_> = members.iter().map(|m| row(m, detailed)).collect();
                writeln!(out, "{}", columns(&rows))?;
            }
            other => return Err(unknown_format(other)),
        }
    }
    match lacking {
        true => Err(Failure::Incomplete("No matching members".to_owned())),
        false => Ok(()),
    }
}

/// Returns the requests for the filters; a member must match all of them.
pub(super) fn filtered(
    flags: &Flags,
    tags: &[Vec<u8>],
    status: &str,
) -> Result<Vec<Request>, Failure> {
    let request = |tags| Request::MembersFiltered {
        tags,
        status: status.into(),
        name: flags.byte_value("name").unwrap_or_default().into(),
    };
    Ok(tag_filters(tags)?.into_iter().map(request).collect())
}

/// Returns the members that are in all replies, with the data of the last one, sorted by name.
pub(super) fn fetch(
    client: &mut Client,
    requests: &[Request],
) -> Result<Vec<Member>, client::Error> {
    let mut matching: Option<Vec<Member>> = None;
    for request in requests {
        let mut members = client.members(request)?;
        if let Some(before) = matching {
            let names: OrderedSet<_> = before.into_iter().map(|member| member.name).collect();
            members.retain(|member| names.contains(&member.name));
        }
        matching = Some(members);
    }
    let mut members = matching.unwrap_or_default();
    sort_by(&mut members, |a, b| a.name.cmp(&b.name));
    Ok(members)
}

/// Prints a record of the chosen fields for each member.
pub(super) fn show_fields(
    members: &[Member],
    fields: &Fields,
    out: &mut dyn Write,
) -> io::Result<()> {
    for member in members {
        fields.write(&|name| field(member, name), out)?;
    }
    Ok(())
}

pub(super) fn field(member: &Member, name: &str) -> Vec<u8> {
    match name {
        "name" => member.name.clone(),
        "addr" => address(member).into(),
        "ip" => member.ip().map_or("?".into(), |ip| ip.to_string().into()),
        "port" => member.port.to_string().into(),
        "status" => member.status.clone(),
        "protocol" => member.delegate_current.to_string().into(),
        "tags" => {
            let tags = member.tags.iter();
            let tags: Vec<_> = tags
                .map(|(key, value)| [&**key, b"=", value].concat())
                .collect();
            tags.join(&b","[..])
        }
        name => {
            let tag = name.strip_prefix("tag:").unwrap_or_default();
            member.tags.get(tag.as_bytes()).cloned().unwrap_or_default()
        }
    }
}

fn address(member: &Member) -> String {
    match member.socket_addr() {
        Some(address) => address.to_string(),
        None => "?".to_owned(),
    }
}

/// Returns a member's cells, escaped so that nothing in them can split a cell or a line.
fn row(member: &Member, detailed: bool) -> Vec<String> {
    let cell = |text: &[u8]| Escaped(text).to_string().trim().to_owned();
    let tags: Vec<_> = member
        .tags
        .iter()
        .map(|(key, value)| format!("{}={}", Escaped(key), Escaped(value)))
        .collect();
    let mut row = vec![
        cell(&member.name),
        address(member),
        cell(&member.status),
        tags.join(",").trim().to_owned(),
    ];
    if detailed {
        row.push(format!("Protocol Version: {}", member.delegate_current));
        row.push(format!(
            "Available Protocol Range: [{}, {}]",
            member.delegate_min, member.delegate_max
        ));
    }
    row
}

/// Returns the list in the reference's JSON format.
pub(super) fn listed(members: &[Member]) -> Json {
    let list = match members {
        [] => Json::Null,
        members => Json::List(members.iter().map(object).collect()),
    };
    Json::object(vec![("members", list)])
}

/// Returns a member as a JSON object.
pub(super) fn object(member: &Member) -> Json {
    handler::json::member(
        &member.name,
        member.socket_addr(),
        member.port,
        Json::map(&member.tags, |value| Json::text(value)),
        &member.status,
        [
            member.delegate_max,
            member.delegate_min,
            member.delegate_current,
        ],
    )
}
