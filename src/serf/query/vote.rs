//! The vote on who may keep a name that two nodes claim (gossip spec 5.11).

use std::net::SocketAddr;

use super::relay::same_addr;
use crate::serf::MemberStatus;
use crate::swim::Encounter;
use crate::wire::serf::ConflictMember;

/// Ballots of a vote on the own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) struct Vote {
    /// The other claimant.
    other: SocketAddr,
    /// A join of this node has brought the two together.
    own_join: bool,
    /// A join of the other one has.
    their_join: bool,
    responses: usize,
    matching: usize,
    /// Responses that name a holder elsewhere which has failed or left.
    departed: usize,
}

/// How a vote ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum Outcome {
    /// The majority has this node under the name, or the other holder is gone.
    Won,
    /// It has another one.
    Lost,
    /// Nobody has voted; this node keeps the name.
    KeptUnopposed,
    /// Nobody has voted; this node gives way.
    GivenWay,
}

impl Vote {
    pub(in crate::serf) fn new(other: SocketAddr, encounter: Encounter) -> Self {
        let mut vote = Vote {
            other,
            own_join: false,
            their_join: false,
            responses: 0,
            matching: 0,
            departed: 0,
        };
        vote.note(encounter);
        vote
    }

    /// The two have met again, maybe in another way.
    pub(in crate::serf) fn note(&mut self, encounter: Encounter) {
        self.own_join |= encounter == Encounter::OwnJoin;
        self.their_join |= encounter == Encounter::TheirJoin;
    }

    /// Counts a ballot: the member that another node has under the name.
    pub(in crate::serf) fn count(&mut self, payload: &[u8], own: SocketAddr) {
        let Ok(member) = ConflictMember::decode(payload) else {
            log::debug!(target: "serf", "Ignoring a conflict response that does not decode");
            return;
        };
        self.responses += 1;
        let departed = [MemberStatus::Failed as u8, MemberStatus::Left as u8];
        match member {
            Some(member) if same_addr(member.addr, own) => self.matching += 1,
            Some(member) => self.departed += usize::from(departed.contains(&member.status)),
            None => {}
        }
    }

    /// Figures for the log: ballots for this node, and all.
    pub(in crate::serf) fn figures(&self) -> (usize, usize) {
        (self.matching, self.responses)
    }

    /// Who keeps the name. Without voters the node whose join has brought the two together gives way,
    /// so that a newcomer never takes the name from its holder; where that is not clear, the one with
    /// the higher address does. Each claimant comes to the opposite result, by itself.
    pub(in crate::serf) fn outcome(&self, own: SocketAddr) -> Outcome {
        let others = self.responses - self.departed;
        if others > 0 {
            return match self.matching > others / 2 {
                true => Outcome::Won,
                false => Outcome::Lost,
            };
        }
        if self.responses > 0 {
            return Outcome::Won;
        }
        let order = |addr: SocketAddr| (addr.ip().to_canonical(), addr.port());
        let gives_way = match (self.own_join, self.their_join) {
            (true, false) => true,
            (false, true) => false,
            _ => order(own) > order(self.other),
        };
        match gives_way {
            true => Outcome::GivenWay,
            false => Outcome::KeptUnopposed,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::serf::Tags;
    use crate::wire::{NodeName, VersionVector};

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn own() -> SocketAddr {
        addr("10.0.0.1:7946")
    }

    fn ballot(addr: &str, status: MemberStatus) -> Vec<u8> {
        ConflictMember::encode(Some(&ConflictMember {
            name: NodeName::new(b"n1").unwrap(),
            addr: addr.parse().unwrap(),
            tags: Tags::new(),
            status: status as u8,
            versions: VersionVector::serf(5),
        }))
    }

    fn vote() -> Vote {
        Vote::new(addr("10.0.0.2:7946"), Encounter::Elsewhere)
    }

    #[test]
    fn a_majority_of_valid_ballots_keeps_the_name() {
        for (matching, responses, departed, won) in [
            (0, 1, 0, false),
            (1, 1, 0, true),
            (1, 2, 0, false),
            (2, 2, 0, true),
            (2, 3, 0, true),
            (2, 4, 0, false),
            (3, 4, 0, true),
            // A holder that is gone keeps nobody from taking the name.
            (0, 2, 2, true),
            (0, 3, 2, false),
            (1, 4, 3, true),
        ] {
            let vote = Vote {
                responses,
                matching,
                departed,
                ..vote()
            };
            let expected = if won { Outcome::Won } else { Outcome::Lost };
            let case = format!("{matching} of {responses}, {departed} departed");
            assert_eq!(vote.outcome(own()), expected, "{case}");
        }
    }

    #[test]
    fn only_valid_ballots_count() {
        let mut vote = vote();
        vote.count(&ballot("10.0.0.1:7946", MemberStatus::Alive), own());
        vote.count(
            &ballot("[::ffff:10.0.0.1]:7946", MemberStatus::Failed),
            own(),
        );
        vote.count(&ballot("10.0.0.1:7947", MemberStatus::Alive), own());
        vote.count(&ballot("10.0.0.2:7946", MemberStatus::Leaving), own());
        vote.count(&ballot("10.0.0.2:7946", MemberStatus::Failed), own());
        vote.count(&ballot("10.0.0.2:7946", MemberStatus::Left), own());
        vote.count(&ConflictMember::encode(None), own());
        for bad in [&b""[..], b"\x05\xc0", b"\x06", b"\x06\x81"] {
            vote.count(bad, own());
        }
        assert_eq!((vote.figures(), vote.departed), ((2, 7), 2));
    }

    #[test]
    fn without_voters_exactly_one_gives_way() {
        use Encounter::{Elsewhere, OwnJoin, TheirJoin};
        let (low, high) = (addr("[::ffff:10.0.0.1]:7946"), addr("10.0.0.2:7946"));
        let gives_way = |own, other, met: &[Encounter]| {
            let mut vote = Vote::new(other, met[0]);
            met.iter().for_each(|met| vote.note(*met));
            vote.outcome(own) == Outcome::GivenWay
        };
        // How the one with the low address has met the other, how the other has, who gives way.
        for (lower, higher, low_gives_way) in [
            (&[OwnJoin][..], &[TheirJoin][..], true),
            (&[TheirJoin], &[OwnJoin], false),
            (&[Elsewhere], &[Elsewhere], false),
            (&[OwnJoin, TheirJoin], &[TheirJoin, OwnJoin], false),
            (&[Elsewhere, OwnJoin], &[TheirJoin], true),
        ] {
            assert_eq!(gives_way(low, high, lower), low_gives_way, "{lower:?}");
            assert_eq!(gives_way(high, low, higher), !low_gives_way, "{higher:?}");
        }
        assert!(gives_way(
            addr("10.0.0.1:9"),
            addr("10.0.0.1:8"),
            &[Elsewhere]
        ));
    }
}
