//! Holds departures back until their members have been gone for the configured time.

use std::net::SocketAddr;

use super::Waiting;
use crate::ordered::OrderedMap;
use crate::serf::{Member, MemberEvent, MemberEventKind, Tags};
use crate::time::Instant;
use crate::wire::NodeName;

/// A member that is absent.
#[derive(Debug)]
struct Absent {
    /// End of its hold time.
    until: Instant,
    addr: SocketAddr,
    tags: Tags,
}

/// A departure that is held back.
#[derive(Debug)]
struct Held {
    until: Instant,
    departure: Waiting,
}

/// Members of an event that get the same treatment.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) kind: MemberEventKind,
    pub(super) members: Vec<Member>,
    /// Tags that members had before they left, if this update stands for their return.
    pub(super) before: Vec<(NodeName, Tags)>,
    /// End of the hold time, if the piece is held back.
    pub(super) until: Option<Instant>,
}

/// Departures held back for one handler.
#[derive(Debug, Default)]
pub(super) struct Hold {
    absent: OrderedMap<NodeName, Absent>,
    held: Vec<Held>,
}

impl Hold {
    /// Processes a member event. `until` returns the end of the hold time for a member that has just gone.
    /// Returns the pieces for the handler, due now or later, and held departures that are cancelled.
    pub(super) fn follow(
        &mut self,
        event: &MemberEvent,
        now: Instant,
        until: impl Fn(&NodeName) -> Instant,
    ) -> (Vec<Piece>, Vec<Waiting>) {
        match event.kind {
            MemberEventKind::Failed | MemberEventKind::Leave => {
                (self.departure(event, now, until), Vec::new())
            }
            MemberEventKind::Reap => self.reap(event, now),
            MemberEventKind::Join | MemberEventKind::Update => self.presence(event, now),
            MemberEventKind::Sync => (Vec::new(), Vec::new()),
        }
    }

    fn departure(
        &mut self,
        event: &MemberEvent,
        now: Instant,
        until: impl Fn(&NodeName) -> Instant,
    ) -> Vec<Piece> {
        let (mut at_once, mut later) = (piece(event.kind), piece(event.kind));
        for member in &event.members {
            let absent = self
                .absent
                .get_or_insert_with(member.name.clone(), || Absent {
                    until: until(&member.name),
                    addr: member.addr,
                    tags: member.tags(),
                });
            if absent.until <= now {
                at_once.members.push(member.clone());
            } else {
                later.until = later.until.max(Some(absent.until));
                later.members.push(member.clone());
            }
        }
        // They are handed over together, so all of them may return until the last hold time ends.
        for member in &later.members {
            let absent = self.absent.get_mut(&member.name);
            if let (Some(absent), Some(until)) = (absent, later.until) {
                absent.until = until;
            }
        }
        vec![at_once, later]
    }

    /// Handles members that are present: a return within the hold time cancels the departure.
    fn presence(&mut self, event: &MemberEvent, now: Instant) -> (Vec<Piece>, Vec<Waiting>) {
        let (mut same, mut changed) = (piece(event.kind), piece(MemberEventKind::Update));
        let mut returned = Vec::new();
        for member in &event.members {
            match self.absent.remove(&member.name).filter(|a| now < a.until) {
                None => same.members.push(member.clone()),
                Some(absent) => {
                    returned.push(&member.name);
                    if absent.addr != member.addr || absent.tags != member.tags() {
                        changed.members.push(member.clone());
                        changed.before.push((member.name.clone(), absent.tags));
                    }
                }
            }
        }
        let (_, emptied) = self.take_out(&returned);
        (vec![same, changed], emptied)
    }

    /// Handles reaped members: their held departures are handed over first.
    fn reap(&mut self, event: &MemberEvent, now: Instant) -> (Vec<Piece>, Vec<Waiting>) {
        let mut gone = Vec::new();
        for member in &event.members {
            if self
                .absent
                .remove(&member.name)
                .is_some_and(|a| now < a.until)
            {
                gone.push(&member.name);
            }
        }
        let (mut pieces, emptied) = self.take_out(&gone);
        let mut reaped = piece(event.kind);
        reaped.members.clone_from(&event.members);
        pieces.push(reaped);
        (pieces, emptied)
    }

    /// Removes members from held departures; returns them, and departures that are now empty.
    fn take_out(&mut self, names: &[&NodeName]) -> (Vec<Piece>, Vec<Waiting>) {
        let (mut pieces, mut emptied) = (Vec::new(), Vec::new());
        if names.is_empty() {
            return (pieces, emptied);
        }
        for mut held in std::mem::take(&mut self.held) {
            let crate::serf::Event::Member(event) = &mut held.departure.event else {
                continue;
            };
            let (out, stay) = std::mem::take(&mut event.members)
                .into_iter()
                .partition(|member: &Member| names.contains(&&member.name));
            event.members = stay;
            let mut taken = piece(event.kind);
            taken.members = out;
            pieces.push(taken);
            match event.members.is_empty() {
                true => emptied.push(held.departure),
                false => self.held.push(held),
            }
        }
        (pieces, emptied)
    }

    /// Holds a departure back.
    pub(super) fn put(&mut self, until: Instant, departure: Waiting) {
        self.held.push(Held { until, departure });
    }

    /// Removes and returns a departure whose hold time has ended, with the time at which it ended.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, Waiting)> {
        let mut due = self
            .held
            .iter()
            .enumerate()
            .filter(|(_, held)| held.until <= now);
        let mut first = due.next()?;
        for later in due {
            if later.1.until < first.1.until {
                first = later;
            }
        }
        let held = self.held.remove(first.0);
        Some((held.until, held.departure))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.until).min()
    }

    /// Returns whether no departure is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.held.iter().map(|held| &held.departure)
    }

    /// Removes the departure with that event id.
    pub(super) fn remove(&mut self, id: &str) -> Vec<Waiting> {
        let held = std::mem::take(&mut self.held).into_iter();
        let (gone, kept) = held.partition(|held: &Held| *held.departure.id == *id);
        self.held = kept;
        gone.into_iter().map(|held: Held| held.departure).collect()
    }

    /// Removes all held departures; their members count as gone from `now` on.
    pub(super) fn clear(&mut self, now: Instant) -> Vec<Waiting> {
        self.absent
            .for_each_mut(|_, absent| absent.until = absent.until.min(now));
        let held = std::mem::take(&mut self.held);
        held.into_iter().map(|held| held.departure).collect()
    }
}

fn piece(kind: MemberEventKind) -> Piece {
    Piece {
        kind,
        members: Vec::new(),
        before: Vec::new(),
        until: None,
    }
}
