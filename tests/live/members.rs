//! Member lists: parses them and waits until they have the expected content.

use super::agent::Agent;
use super::process::Finished;
use super::wait::eventually;
use std::collections::BTreeMap;

/// A line of `members`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Node name.
    pub name: String,
    /// `ip:port`.
    pub addr: String,
    /// `alive`, `leaving`, `left`, `failed`.
    pub status: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Serf protocol versions: minimum, maximum, in use.
    pub protocol: [u64; 3],
}

impl Member {
    /// The entry that all members should have for a running node.
    pub fn of(node: &Agent) -> Member {
        Member::with_status(node, "alive")
    }

    /// The entry that a node with this status should have.
    pub fn with_status(node: &Agent, status: &str) -> Member {
        Member {
            name: node.spec.name.clone(),
            addr: node.gossip.to_string(),
            status: status.into(),
            tags: node.spec.tags.clone(),
            protocol: [2, 5, 5],
        }
    }

    /// Reads the JSON output of `members`, sorted by name.
    pub fn list(finished: &Finished) -> Result<Vec<Member>, String> {
        if finished.code != 0 {
            return Err(format!("members failed: {finished:?}"));
        }
        let json: serde_json::Value = serde_json::from_str(&finished.stdout)
            .map_err(|error| format!("members printed no JSON: {error}: {finished:?}"))?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let mut members: Vec<Member> = json["members"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|member| Member {
                name: text(&member["name"]),
                addr: text(&member["addr"]),
                status: text(&member["status"]),
                tags: member["tags"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name.clone(), text(value)))
                    .collect(),
                protocol: ["min", "max", "version"]
                    .map(|key| member["protocol"][key].as_u64().unwrap_or_default()),
            })
            .collect();
        members.sort();
        Ok(members)
    }
}

/// Waits until each of these agents has exactly all of them as members.
#[track_caller]
pub fn await_each_other(nodes: &[Agent], seconds: f64) {
    let members: Vec<Member> = nodes.iter().map(Member::of).collect();
    await_members(&nodes.iter().collect::<Vec<_>>(), &members, seconds);
}

/// Waits until each of `viewers` has exactly the `expected` members.
#[track_caller]
pub fn await_members(viewers: &[&Agent], expected: &[Member], seconds: f64) {
    let mut expected = expected.to_vec();
    expected.sort();
    for viewer in viewers {
        let what = format!(
            "the member list of {} ({:?})",
            viewer.spec.name, viewer.spec.kind
        );
        eventually(seconds, &what, || {
            let members = viewer.members()?;
            if members == expected {
                Ok(())
            } else {
                Err(format!("{members:#?}\nexpected {expected:#?}"))
            }
        });
    }
}

/// Waits until each of `viewers` lists the node `name` with `status`.
#[track_caller]
pub fn await_status(viewers: &[&Agent], name: &str, status: &str, seconds: f64) {
    for viewer in viewers {
        let what = format!(
            "{name} as {status} in the list of {} ({:?})",
            viewer.spec.name, viewer.spec.kind
        );
        eventually(seconds, &what, || {
            let members = viewer.members()?;
            match members.iter().find(|member| member.name == name) {
                Some(member) if member.status == status => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}
