//! Encodes and decodes lists of members in records.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::serf::{Member, MemberEvent, MemberEventKind, MemberStatus, Tags};
use crate::wire::{NodeName, VersionVector};

/// Limit for the members of one record: with the longest names and tags, these still fit.
pub const RECORDED_MEMBERS_MAX: usize = 64;

const FIXED_BYTES: usize = 16 + 2 + 1 + 6;

/// Encodes each member as two texts (name, tags), each with a two-byte length, and fields of fixed length.
pub(super) fn encode(members: &[Member]) -> Vec<u8> {
    let mut output = Vec::new();
    for member in members {
        for text in [member.name.as_bytes(), &member.meta] {
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            output.extend_from_slice(&length.to_le_bytes());
            output.extend_from_slice(text.get(..length.into()).unwrap_or(text));
        }
        let ip = match member.addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        output.extend_from_slice(&ip.octets());
        output.extend_from_slice(&member.addr.port().to_le_bytes());
        let v = &member.versions;
        let membership = [v.protocol_min, v.protocol_max, v.protocol_current];
        let serf = [v.delegate_min, v.delegate_max, v.delegate_current];
        output.push(member.status as u8);
        output.extend_from_slice(&membership);
        output.extend_from_slice(&serf);
    }
    output
}

pub(super) fn decode(kind: &[u8], mut bytes: &[u8]) -> Option<MemberEvent> {
    let mut members = Vec::new();
    while !bytes.is_empty() {
        members.push(member(&mut bytes)?);
    }
    let kind = MemberEventKind::ALL
        .into_iter()
        .find(|k| k.as_str().as_bytes() == kind)?;
    Some(MemberEvent { kind, members })
}

fn member(bytes: &mut &[u8]) -> Option<Member> {
    let mut text = || {
        let (length, rest) = bytes.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        *bytes = rest;
        Some(text)
    };
    let (name, meta) = (text()?, text()?);
    let (fixed, rest) = bytes.split_first_chunk::<FIXED_BYTES>()?;
    *bytes = rest;
    let (ip, rest) = fixed.split_first_chunk::<16>()?;
    let [low, high, status, p0, p1, p2, d0, d1, d2] = *rest else {
        return None;
    };
    use MemberStatus::{Alive, Failed, Leaving, Left, None as Unknown};
    let status = [Unknown, Alive, Leaving, Left, Failed]
        .into_iter()
        .find(|s| *s as u8 == status)?;
    let versions = VersionVector {
        protocol_min: p0,
        protocol_max: p1,
        protocol_current: p2,
        delegate_min: d0,
        delegate_max: d1,
        delegate_current: d2,
    };
    let port = u16::from_le_bytes([low, high]);
    Some(Member::new(
        NodeName::new(name).ok()?,
        SocketAddr::new(Ipv6Addr::from(*ip).to_canonical(), port),
        &Tags::decode_meta(meta).0,
        status,
        versions,
    ))
}
