//! Checks of the member lists.

use std::collections::BTreeMap;

use cottar::serf::{Member, MemberStatus};
use cottar::swim::NodeState;
use cottar::wire::NodeName;

use super::{Verdict, final_lists, life, living_names};
use crate::cluster::NodeId;
use crate::history::{Record, What};

/// One node's record of another.
#[derive(Clone, Copy)]
struct Known {
    addr: std::net::SocketAddr,
    incarnation: u32,
    state: NodeState,
}

/// Passes each change of a node's record of another to a checker: the observer, the subject, and the record
/// before and after.
fn judge_changes(
    history: &[Record],
    judge: impl Fn(&Record, &NodeName, Known, Known) -> Verdict,
) -> Verdict {
    let mut known = BTreeMap::new();
    for record in history {
        match &record.what {
            What::Known {
                about,
                addr,
                incarnation,
                state,
            } => {
                let now = Known {
                    addr: *addr,
                    incarnation: *incarnation,
                    state: *state,
                };
                if let Some(before) = known.insert((life(record), about), now) {
                    judge(record, about, before, now)?;
                }
            }
            What::Dropped { about } => {
                known.remove(&(life(record), about));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that the incarnation in a record never decreases, unless the name came back at another address
/// (gossip spec 4.8.1 rule 5).
pub fn incarnations_never_decrease(history: &[Record]) -> Verdict {
    judge_changes(history, |record, about, before, now| {
        if before.addr == now.addr && before.incarnation > now.incarnation {
            return Err(format!(
                "{:?}: node {} let {about} fall from incarnation {} to {}",
                record.at, record.node, before.incarnation, now.incarnation
            ));
        }
        Ok(())
    })
}

/// Checks that a record changes from dead or left to alive only with a higher incarnation, which only the
/// node itself can announce, or another address; and that at the end no list has a stopped node as alive.
pub fn stale_claims_revive_nobody(history: &[Record]) -> Verdict {
    judge_changes(history, |record, about, before, now| {
        let gone = |state| matches!(state, NodeState::Dead | NodeState::Left);
        let rose = gone(before.state) && !gone(now.state);
        if rose && before.addr == now.addr && now.incarnation <= before.incarnation {
            return Err(format!(
                "{:?}: node {} took {about} back from {:?} at incarnation {} by news of incarnation {}",
                record.at, record.node, before.state, before.incarnation, now.incarnation
            ));
        }
        Ok(())
    })?;
    let living = living_names(history);
    for (node, members) in final_lists(history) {
        for member in members {
            let up = matches!(member.status, MemberStatus::Alive | MemberStatus::Leaving);
            if up && !living.contains(&member.name) {
                return Err(format!(
                    "in the end node {node} holds {} {}, which does not run",
                    member.name,
                    member.status.as_str()
                ));
            }
        }
    }
    Ok(())
}

/// Checks that at the end no running node is failed, left, leaving or missing in the list of another.
pub fn running_nodes_are_listed_as_alive(history: &[Record]) -> Verdict {
    let living = living_names(history);
    for (node, members) in final_lists(history) {
        for name in &living {
            match members.iter().find(|member| member.name == *name) {
                Some(member) if member.status == MemberStatus::Alive => {}
                Some(member) => {
                    let status = member.status.as_str();
                    return Err(format!(
                        "in the end node {node} holds {name} {status}, which runs"
                    ));
                }
                None => {
                    return Err(format!(
                        "in the end node {node} does not know {name}, which runs"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Checks that at the end all lists that have a member agree about it. A member that does not run may be
/// missing: nodes that started later never learn of it (gossip spec 4.10).
pub fn member_lists_agree(history: &[Record]) -> Verdict {
    let mut first: BTreeMap<&NodeName, (NodeId, &Member)> = BTreeMap::new();
    for (node, members) in final_lists(history) {
        for member in members {
            let (by, held) = *first.entry(&member.name).or_insert((node, member));
            let same_facts =
                (held.addr, &held.meta, held.status) == (member.addr, &member.meta, member.status);
            // The data of a departed member may have changed while it could not be reached.
            let gone = matches!(member.status, MemberStatus::Failed | MemberStatus::Left);
            let same_fate = gone && held.status == member.status;
            if !(same_facts || same_fate) {
                return Err(format!(
                    "in the end node {by} holds {held:?}, but node {node} {member:?}"
                ));
            }
        }
    }
    Ok(())
}
