//! The vote on which of two claimants keeps a name (gossip spec 5.11).

use std::net::SocketAddr;

use super::relay::same_addr;
use crate::serf::MemberStatus;
use crate::swim::Encounter;
use crate::wire::serf::ConflictMember;

/// State of a vote on this node's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) struct Vote {
    /// Address of the other claimant.
    other: SocketAddr,
    /// The two met through a join by this node.
    own_join: bool,
    /// The two met through a join by the other claimant.
    their_join: bool,
    responses: usize,
    matching: usize,
    /// Responses that name no holder, or another one that has failed or left.
    abstaining: usize,
}

/// Outcome of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serf) enum Outcome {
    /// The majority has this node as the holder, or no living one.
    Won,
    /// The majority has another holder.
    Lost,
    /// There were no votes, and this node keeps the name.
    KeptUnopposed,
    /// There were no votes, and this node gives up the name.
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
            abstaining: 0,
        };
        vote.note(encounter);
        vote
    }

    /// Notes how the two met; they may meet more than once and in different ways.
    pub(in crate::serf) fn note(&mut self, encounter: Encounter) {
        self.own_join |= encounter == Encounter::OwnJoin;
        self.their_join |= encounter == Encounter::TheirJoin;
    }

    /// Counts a response, which contains the responder's record of the member with the disputed name. A
    /// responder without one says nothing about who holds the name: somebody may just have pruned it. (The
    /// reference counts that as a vote for the other claimant.)
    pub(in crate::serf) fn count(&mut self, payload: &[u8], own: SocketAddr) {
        let Ok(member) = ConflictMember::decode(payload) else {
            log::debug!(target: "serf", "Ignoring a conflict response that does not decode");
            return;
        };
        self.responses += 1;
        let departed = [MemberStatus::Failed as u8, MemberStatus::Left as u8];
        match member {
            Some(member) if same_addr(member.addr, own) => self.matching += 1,
            Some(member) => self.abstaining += usize::from(departed.contains(&member.status)),
            None => self.abstaining += 1,
        }
    }

    /// Returns the number of responses for this node and of all responses, for the log.
    pub(in crate::serf) fn figures(&self) -> (usize, usize) {
        (self.matching, self.responses)
    }

    /// Determines which node keeps the name. Without votes, the node whose join brought the two together
    /// gives way, so that a newcomer never takes the name from its holder; if that is not clear, the node
    /// with the higher address does. Each claimant reaches the opposite result on its own.
    pub(in crate::serf) fn outcome(&self, own: SocketAddr) -> Outcome {
        let others = self.responses - self.abstaining;
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
        for (matching, responses, abstaining, won) in [
            (0, 1, 0, false),
            (1, 1, 0, true),
            (1, 2, 0, false),
            (2, 2, 0, true),
            (2, 3, 0, true),
            (2, 4, 0, false),
            (3, 4, 0, true),
            // A holder that is gone does not prevent others from taking the name.
            (0, 2, 2, true),
            (0, 3, 2, false),
            (1, 4, 3, true),
        ] {
            let vote = Vote {
                responses,
                matching,
                abstaining,
                ..vote()
            };
            let expected = if won { Outcome::Won } else { Outcome::Lost };
            let case = format!("{matching} of {responses}, {abstaining} abstaining");
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
        assert_eq!((vote.figures(), vote.abstaining), ((2, 7), 3));
    }

    /// Seed 7988: somebody had made most members forget the holder before they were asked.
    #[test]
    fn who_knows_no_holder_does_not_vote() {
        let mut vote = vote();
        for _ in 0..6 {
            vote.count(&ConflictMember::encode(None), own());
        }
        assert_eq!(vote.outcome(own()), Outcome::Won);
        vote.count(&ballot("10.0.0.2:7946", MemberStatus::Alive), own());
        assert_eq!(vote.outcome(own()), Outcome::Lost);
        for _ in 0..2 {
            vote.count(&ballot("10.0.0.1:7946", MemberStatus::Alive), own());
        }
        assert_eq!(vote.outcome(own()), Outcome::Won);
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
        // How the claimant with the lower address met the other, how the other met it, and whether the lower
        // one gives way.
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
