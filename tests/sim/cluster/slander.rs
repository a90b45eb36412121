//! False membership messages and intents of a hostile member.

use cottar::rng::Rng;
use cottar::serf::{Command, JoinTarget, Serf};
use cottar::swim::Node;
use cottar::wire::serf::{JoinIntent, LeaveIntent, SerfMessage};
use cottar::wire::{Alive, Dead, Message, NodeName, Suspect, VersionVector};

use super::forger::{Forger, Slander, any_incarnation, ghost, higher, intent_time};
use super::twist::nowhere;
use super::{NodeId, Sim, Twist};

/// Probability that a forger starts an exchange of states instead of sending a message.
const EXCHANGES: f64 = 0.04;

impl Forger {
    /// Claims to put into one packet.
    fn claims(&mut self, serf: &Serf, rng: &mut Rng) -> Vec<Message> {
        let count = 1 + rng.below(3);
        (0..count).map(|_| self.claim(serf, rng)).collect()
    }

    fn claim(&mut self, serf: &Serf, rng: &mut Rng) -> Message {
        let nodes: Vec<_> = serf.swim().nodes().collect();
        let is_victim = |node: &&&Node| Some(&node.name) == self.victim.as_ref();
        let victim = nodes.iter().find(is_victim);
        let node = victim.copied().unwrap_or(nodes[rng.below(nodes.len())]);
        let name = node.name.clone();
        let incarnation = higher(node.incarnation, rng);
        let from = match rng.below(3) {
            0 => None,
            1 => Some(nodes[rng.below(nodes.len())].name.clone()),
            _ => Some(serf.local_name().clone()),
        };
        // A dead message without a sender, or with the member itself as the sender, is a leave.
        let from_other = from.clone().filter(|from| *from != name);
        let alive = Alive {
            incarnation: incarnation.max(1),
            node: name.clone(),
            addr: node.addr,
            meta: Some(node.meta.clone()),
            versions: node.versions,
        };
        match (rng.below(8), self.slander) {
            (0, _) => Message::Suspect(Suspect {
                incarnation,
                node: name,
                from,
            }),
            (1, _) => Message::Dead(Dead {
                incarnation,
                node: name,
                from: from_other.or_else(|| Some(ghost(rng))),
            }),
            (2, Slander::Addresses) => Message::Alive(Alive {
                addr: nowhere(rng),
                ..alive
            }),
            (2, _) => Message::Dead(Dead {
                incarnation,
                from: rng.chance(0.5).then(|| name.clone()),
                node: name,
            }),
            (3, _) => Message::Alive(Alive {
                meta: self.meta(),
                ..alive
            }),
            (4, _) => Message::Alive(alive),
            (5, _) => self.claim_about_ghost(serf, rng),
            _ => {
                let name = if rng.chance(0.2) { ghost(rng) } else { name };
                Message::User(intent(serf, name, rng).encode())
            }
        }
    }

    fn claim_about_ghost(&mut self, serf: &Serf, rng: &mut Rng) -> Message {
        let (node, incarnation) = (ghost(rng), any_incarnation(rng));
        let from = Some(serf.local_name().clone()).filter(|_| rng.chance(0.5));
        match rng.below(4) {
            0 => Message::Suspect(Suspect {
                incarnation,
                node,
                from,
            }),
            1 => Message::Dead(Dead {
                incarnation,
                node,
                from,
            }),
            kind => Message::Alive(Alive {
                incarnation,
                node,
                addr: match kind {
                    2 => nowhere(rng),
                    _ => serf.swim().local().addr,
                },
                meta: self.meta(),
                versions: VersionVector::serf(5),
            }),
        }
    }
}

fn intent(serf: &Serf, node: NodeName, rng: &mut Rng) -> SerfMessage {
    let ltime = intent_time(serf.stats().member_time, rng);
    match rng.chance(0.6) {
        true => SerfMessage::Leave(LeaveIntent {
            ltime,
            node,
            prune: rng.chance(0.2),
        }),
        false => SerfMessage::Join(JoinIntent { ltime, node }),
    }
}

impl Sim {
    /// What a forger claims about members from now on: about this one to all, or about any one to another.
    pub fn let_slander(&mut self, id: NodeId, slander: Slander, victim: Option<NodeName>) {
        if let Some(twisted) = self.twisted.get_mut(&id) {
            twisted.forger.slander = slander;
            twisted.forger.victim = victim;
        }
    }

    /// Lets a forger send a claim about members or start an exchange. Returns false if it does neither now.
    pub(super) fn forge(&mut self, id: NodeId) -> bool {
        let twisted = self.twisted.get_mut(&id);
        let Some(twisted) = twisted.filter(|twisted| twisted.twist == Twist::Forger) else {
            return false;
        };
        let Some(serf) = &self.nodes[id].serf else {
            return false;
        };
        let own = serf.swim().local().addr;
        let members = serf.members().map(|member| member.addr);
        let others: Vec<_> = members.filter(|addr| *addr != own).collect();
        if others.is_empty() {
            return false;
        }
        let to = others[self.rng.below(others.len())];
        if self.rng.chance(EXCHANGES) {
            let target = JoinTarget {
                name: None,
                addr: to,
            };
            let command = Command::Join {
                targets: vec![target],
                ignore_old_events: false,
                announce: false,
            };
            self.command(id, command);
            return true;
        }
        let slanders = twisted.forger.slander != Slander::None && self.rng.chance(0.5);
        if slanders {
            let claims = twisted.forger.claims(serf, &mut self.rng);
            match twisted.forger.victim {
                Some(_) => others.iter().for_each(|&to| self.tell(id, to, &claims)),
                None => self.tell(id, to, &claims),
            }
        }
        slanders
    }
}
