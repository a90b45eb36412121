//! Checks that member events of handlers match the member lists (delivery spec D7).

use std::collections::BTreeMap;

use cottar::serf::{Event, Member, MemberEventKind, MemberStatus};
use cottar::wire::NodeName;

use super::{Life, Verdict, final_lists, life, lives_at_the_end};
use crate::history::{Record, What};

/// Whether a member is present after its last event.
fn is_present(kind: MemberEventKind) -> bool {
    matches!(kind, MemberEventKind::Join | MemberEventKind::Update)
}

/// The last event about a member that a node's handlers got.
struct Delivered<'a> {
    kind: MemberEventKind,
    member: &'a Member,
}

/// Checks that no join follows a join of the same member, and that only a join follows its departure; and
/// that at the end the last join, leave, failure or reap matches the status, and the newest tags were
/// delivered.
pub fn member_events_match_the_lists(history: &[Record]) -> Verdict {
    let mut delivered: BTreeMap<(Life, &NodeName), Delivered<'_>> = BTreeMap::new();
    for record in history {
        let What::Delivered {
            event: Event::Member(event),
            ..
        } = &record.what
        else {
            continue;
        };
        for member in &event.members {
            let key = (life(record), &member.name);
            let before = delivered.get(&key).map(|delivered| delivered.kind);
            let fits = match event.kind {
                MemberEventKind::Join => before != Some(MemberEventKind::Join),
                MemberEventKind::Update => before.is_some_and(is_present),
                _ => true,
            };
            if !fits {
                return Err(format!(
                    "{:?}: node {} got {} of {} after {before:?}",
                    record.at,
                    record.node,
                    event.kind.as_str(),
                    member.name
                ));
            }
            let kind = event.kind;
            delivered.insert(key, Delivered { kind, member });
        }
    }
    let living = lives_at_the_end(history);
    let at_the_end = |node| living.iter().find(|life| life.0 == node).copied();
    for (node, members) in final_lists(history) {
        let Some(who) = at_the_end(node) else {
            continue;
        };
        for member in members {
            let last = delivered.get(&(who, &member.name));
            let expected = match member.status {
                MemberStatus::Alive | MemberStatus::Leaving => MemberEventKind::Join,
                MemberStatus::Left => MemberEventKind::Leave,
                MemberStatus::Failed => MemberEventKind::Failed,
                MemberStatus::None => continue,
            };
            let alive = is_present(expected);
            // A node may have learned of a departed member by its first exchange, which causes no
            // event.
            let fits = match last {
                Some(delivered) => {
                    let same = delivered.kind == expected || (alive && is_present(delivered.kind));
                    same && (!alive || delivered.member.meta == member.meta)
                }
                None => !alive,
            };
            if !fits {
                return Err(format!(
                    "in the end node {node} holds {member:?}, but last got {:?}",
                    last.map(|delivered| (delivered.kind, delivered.member))
                ));
            }
        }
    }
    Ok(())
}
