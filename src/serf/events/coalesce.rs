//! Gathering of events before handlers see them (gossip spec 5.15). Local only.
//!
//! A batch ends when nothing new came for the quiescent period, or when its first event is one
//! coalesce period old.

use crate::ordered::OrderedMap;
use crate::serf::{
    Event, LamportTime, Member, MemberEvent, MemberEventKind, Output, Serf, UserEvent,
};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Events that a batch holds; beyond it the batch ends early.
const BATCH_EVENTS_MAX: usize = 4096;
/// Bytes of names and payloads that a batch of user events holds; beyond it the batch ends early.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// When a batch ends.
#[derive(Debug)]
struct Window {
    period: Duration,
    quiescent: Duration,
    /// End by the period and end by quiescence; `None`: no batch is open.
    ends: Option<(Instant, Instant)>,
}

impl Window {
    fn new(period: Duration, quiescent: Duration) -> Self {
        Window {
            period,
            quiescent,
            ends: None,
        }
    }

    fn is_off(&self) -> bool {
        self.period.is_zero()
    }

    fn note_event(&mut self, now: Instant) {
        let (latest, _) = self.ends.unwrap_or((now + self.period, now));
        self.ends = Some((latest, now + self.quiescent));
    }

    fn deadline(&self) -> Option<Instant> {
        self.ends.map(|(latest, quiet)| latest.min(quiet))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }
}

/// What happened to one member since the last batch.
#[derive(Debug)]
struct Change {
    /// The last join, leave, failure or reap, if there was one.
    turn: Option<MemberEventKind>,
    /// Its tags, address or versions are others than at the first event of the batch.
    updated: bool,
    /// As it was at the last event.
    member: Member,
}

/// The changes of each member since the last batch.
#[derive(Debug)]
pub(in crate::serf) struct MemberCoalescer {
    window: Window,
    batch: OrderedMap<NodeName, Change>,
    /// What was delivered last about each member; forgotten with the member.
    delivered: OrderedMap<NodeName, MemberEventKind>,
}

impl Change {
    /// What is delivered of it, if anything. `last`: what was delivered last about the member.
    fn outcome(&self, last: Option<MemberEventKind>) -> Option<MemberEventKind> {
        match self.turn {
            None => Some(MemberEventKind::Update),
            turn if turn != last => turn,
            Some(MemberEventKind::Join) if self.updated => Some(MemberEventKind::Update),
            Some(_) => None,
        }
    }
}

/// Whether two records of a member differ in nothing that an update would tell.
fn is_same(a: &Member, b: &Member) -> bool {
    (a.addr, a.versions) == (b.addr, b.versions) && a.tags == b.tags
}

impl MemberCoalescer {
    pub(in crate::serf) fn new(period: Duration, quiescent: Duration) -> Self {
        MemberCoalescer {
            window: Window::new(period, quiescent),
            batch: OrderedMap::new(),
            delivered: OrderedMap::new(),
        }
    }

    fn put(&mut self, kind: MemberEventKind, member: Member, now: Instant) {
        let is_update = kind == MemberEventKind::Update;
        self.window.note_event(now);
        let Some(change) = self.batch.get_mut(&member.name) else {
            let change = Change {
                turn: (!is_update).then_some(kind),
                updated: is_update,
                member: member.clone(),
            };
            self.batch.insert(member.name, change);
            return;
        };
        // Who comes back as somebody else was updated, too, although nobody calls it so.
        change.updated |= is_update || !is_same(&change.member, &member);
        if !is_update {
            change.turn = Some(kind);
        }
        change.member = member;
    }

    /// Ends the batch: an event for each kind in its fixed order, members by name.
    fn flush(&mut self) -> Vec<MemberEvent> {
        self.window.ends = None;
        let mut by_kind: OrderedMap<MemberEventKind, Vec<Member>> = OrderedMap::new();
        for (name, change) in std::mem::take(&mut self.batch) {
            let Some(kind) = change.outcome(self.delivered.get(&name).copied()) else {
                continue;
            };
            if kind == MemberEventKind::Reap {
                self.delivered.remove(&name);
            } else {
                self.delivered.insert(name, kind);
            }
            by_kind
                .get_or_insert_with(kind, Vec::new)
                .push(change.member);
        }
        by_kind
            .into_iter()
            .map(|(kind, members)| MemberEvent { kind, members })
            .collect()
    }
}

/// The newest user events of each name since the last batch.
#[derive(Debug)]
pub(in crate::serf) struct UserCoalescer {
    window: Window,
    batch: OrderedMap<Vec<u8>, (LamportTime, Vec<UserEvent>)>,
    events: usize,
    bytes: usize,
}

impl UserCoalescer {
    pub(in crate::serf) fn new(period: Duration, quiescent: Duration) -> Self {
        UserCoalescer {
            window: Window::new(period, quiescent),
            batch: OrderedMap::new(),
            events: 0,
            bytes: 0,
        }
    }

    /// Takes an event in. Returns the events that a newer one of the same name replaces: the given
    /// one itself, or all that the batch holds of the name.
    fn put(&mut self, event: UserEvent, now: Instant) -> Vec<UserEvent> {
        self.window.note_event(now);
        let newest = self
            .batch
            .get_or_insert_with(event.name.clone(), || (event.ltime, Vec::new()));
        if event.ltime < newest.0 {
            return vec![event];
        }
        let mut replaced = Vec::new();
        if event.ltime > newest.0 {
            newest.0 = event.ltime;
            replaced = std::mem::take(&mut newest.1);
            self.events -= replaced.len();
            self.bytes -= replaced.iter().map(size_of_event).sum::<usize>();
        }
        self.events += 1;
        self.bytes += size_of_event(&event);
        newest.1.push(event);
        replaced
    }

    fn is_full(&self) -> bool {
        self.events >= BATCH_EVENTS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    /// Ends the batch: its events by time, those of one time by name.
    fn flush(&mut self) -> Vec<UserEvent> {
        self.window.ends = None;
        self.events = 0;
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        let mut events: Vec<_> = batch.into_values().flat_map(|(_, events)| events).collect();
        events.sort_by_key(|event| event.ltime);
        events
    }
}

fn size_of_event(event: &UserEvent) -> usize {
    event.name.len() + event.payload.len()
}

impl Serf {
    /// A member event on its way to handlers.
    pub(in crate::serf) fn deliver_member_event(
        &mut self,
        kind: MemberEventKind,
        member: Member,
        now: Instant,
    ) {
        if self.member_coalescer.window.is_off() {
            let members = vec![member];
            self.push_member_event(MemberEvent { kind, members });
            return;
        }
        self.member_coalescer.put(kind, member, now);
        if self.member_coalescer.batch.len() >= BATCH_EVENTS_MAX {
            self.flush_member_events();
        }
    }

    /// A user event on its way to handlers.
    pub(super) fn deliver_user_event(&mut self, event: UserEvent, now: Instant) {
        self.note_taken(&event);
        self.deliver_taken(event, now);
    }

    /// The same for one that the journal has already.
    pub(super) fn deliver_taken(&mut self, event: UserEvent, now: Instant) {
        if !event.coalesce || self.user_coalescer.window.is_off() {
            self.deliver_in_order(event, now);
            return;
        }
        let patience = self.gap_patience();
        self.event_order.skip(event.ltime, patience, now);
        self.hand_over_ready_events(now);
        for replaced in self.user_coalescer.put(event, now) {
            self.record_event(&replaced);
        }
        if self.user_coalescer.is_full() {
            self.flush_user_events();
        }
    }

    /// Delivers all that is held back.
    pub(in crate::serf) fn flush_events(&mut self) {
        self.flush_ordered_events();
        self.flush_ordered_queries();
        self.flush_user_events();
        self.flush_member_events();
    }

    pub(in crate::serf) fn flush_due_events(&mut self, now: Instant) {
        if self.user_coalescer.window.is_due(now) {
            self.flush_user_events();
        }
        if self.member_coalescer.window.is_due(now) {
            self.flush_member_events();
        }
    }

    pub(in crate::serf) fn coalescers_deadline(&self) -> Option<Instant> {
        let member = self.member_coalescer.window.deadline();
        let user = self.user_coalescer.window.deadline();
        [member, user].into_iter().flatten().min()
    }

    fn flush_member_events(&mut self) {
        for event in self.member_coalescer.flush() {
            self.push_member_event(event);
        }
    }

    pub(in crate::serf) fn flush_user_events(&mut self) {
        for event in self.user_coalescer.flush() {
            self.hand_over_event(event);
        }
    }

    fn push_member_event(&mut self, event: MemberEvent) {
        self.outputs.push_back(Output::Event(Event::Member(event)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::serf::{MemberStatus, Tags};
    use crate::wire::VersionVector;
    use MemberEventKind::{Failed, Join, Leave, Reap, Update};

    const PERIOD: Duration = Duration::from_secs(3);
    const QUIET: Duration = Duration::from_secs(1);

    fn member(name: &str) -> Member {
        Member {
            name: NodeName::new(name.as_bytes()).unwrap(),
            addr: "127.0.0.1:7946".parse().unwrap(),
            tags: Tags::new(),
            status: MemberStatus::Alive,
            versions: VersionVector::serf(5),
        }
    }

    fn seconds(tenths: u64) -> Instant {
        Instant::from_millis(tenths * 100)
    }

    /// What a batch of these delivers: kind and names.
    fn batch(
        coalescer: &mut MemberCoalescer,
        events: &[(MemberEventKind, &str)],
    ) -> Vec<(MemberEventKind, String)> {
        for (kind, name) in events {
            coalescer.put(*kind, member(name), seconds(0));
        }
        let names = |event: &MemberEvent| {
            let names: Vec<_> = event.members.iter().map(|m| m.name.to_string()).collect();
            names.join(",")
        };
        let flushed = coalescer.flush();
        flushed.iter().map(|e| (e.kind, names(e))).collect()
    }

    #[test]
    fn a_batch_ends_by_silence_or_by_age() {
        let mut window = Window::new(PERIOD, QUIET);
        assert_eq!(window.deadline(), None);
        window.note_event(seconds(0));
        assert_eq!(window.deadline(), Some(seconds(10)));
        assert!(!window.is_due(seconds(9)));
        assert!(window.is_due(seconds(10)));
        for tenths in [9, 18, 27] {
            window.note_event(seconds(tenths));
        }
        assert_eq!(window.deadline(), Some(seconds(30)));
    }

    #[test]
    fn the_latest_kind_counts_in_a_fixed_order() {
        let mut coalescer = MemberCoalescer::new(PERIOD, QUIET);
        let got = batch(
            &mut coalescer,
            &[
                (Reap, "r"),
                (Update, "u"),
                (Failed, "f"),
                (Leave, "l"),
                (Join, "z"),
                (Failed, "a"),
                (Join, "a"),
            ],
        );
        let expected = [
            (Join, "a,z"),
            (Leave, "l"),
            (Failed, "f"),
            (Update, "u"),
            (Reap, "r"),
        ];
        assert_eq!(got, expected.map(|(k, n)| (k, n.to_owned())));
    }

    #[test]
    fn a_repeated_kind_is_left_out_but_updates_are_not() {
        let mut coalescer = MemberCoalescer::new(PERIOD, QUIET);
        assert_eq!(batch(&mut coalescer, &[(Join, "n")]).len(), 1);
        assert_eq!(batch(&mut coalescer, &[(Failed, "n"), (Join, "n")]), []);
        assert_eq!(batch(&mut coalescer, &[(Update, "n")]).len(), 1);
        assert_eq!(batch(&mut coalescer, &[(Update, "n")]).len(), 1);
        // The old update is not delivered again with later batches.
        let got = batch(&mut coalescer, &[(Join, "m")]);
        assert_eq!(got, [(Join, "m".to_owned())]);
    }

    fn tagged(value: &str) -> Member {
        let mut member = member("n");
        member.tags.set(b"v", value.as_bytes());
        member
    }

    /// The kind, and the value of the tag, that a batch of these delivers.
    fn told(
        coalescer: &mut MemberCoalescer,
        events: &[(MemberEventKind, &str)],
    ) -> Vec<(MemberEventKind, String)> {
        for (kind, value) in events {
            coalescer.put(*kind, tagged(value), seconds(0));
        }
        let flushed = coalescer.flush().into_iter();
        let value = |member: &Member| {
            let value = member.tags.get(b"v").unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        let each = flushed.flat_map(|event| {
            let values: Vec<_> = event.members.iter().map(value).collect();
            values.into_iter().map(move |value| (event.kind, value))
        });
        each.collect()
    }

    #[test]
    fn the_last_turn_decides_and_an_update_never_hides_it() {
        let of = |events: &[(MemberEventKind, &str)]| {
            told(&mut MemberCoalescer::new(PERIOD, QUIET), events)
        };
        let one = |kind, value: &str| vec![(kind, value.to_owned())];
        assert_eq!(of(&[(Join, "1"), (Update, "2")]), one(Join, "2"));
        assert_eq!(
            of(&[(Join, "1"), (Update, "2"), (Update, "3")]),
            one(Join, "3")
        );
        assert_eq!(of(&[(Failed, "1"), (Update, "2")]), one(Failed, "2"));
        assert_eq!(of(&[(Update, "1"), (Leave, "1")]), one(Leave, "1"));
        assert_eq!(
            of(&[(Failed, "1"), (Leave, "1"), (Reap, "1")]),
            one(Reap, "1")
        );
        assert_eq!(of(&[(Reap, "1"), (Join, "2")]), one(Join, "2"));
        assert_eq!(of(&[(Update, "1"), (Update, "2")]), one(Update, "2"));
    }

    #[test]
    fn a_second_join_is_an_update_if_there_was_one() {
        let after_join = |events: &[(MemberEventKind, &str)]| {
            let mut coalescer = MemberCoalescer::new(PERIOD, QUIET);
            assert_eq!(told(&mut coalescer, &[(Join, "1")]).len(), 1);
            told(&mut coalescer, events)
        };
        let one = |kind, value: &str| vec![(kind, value.to_owned())];
        assert_eq!(after_join(&[(Failed, "1"), (Join, "1")]), []);
        assert_eq!(
            after_join(&[(Failed, "1"), (Join, "1"), (Update, "2")]),
            one(Update, "2")
        );
        assert_eq!(
            after_join(&[(Update, "2"), (Failed, "2"), (Join, "2")]),
            one(Update, "2")
        );
        // Restarted with another tag, or forgotten and met again.
        assert_eq!(after_join(&[(Leave, "1"), (Join, "2")]), one(Update, "2"));
        assert_eq!(after_join(&[(Leave, "1"), (Reap, "1"), (Join, "1")]), []);
        // The last turn is another one than what was delivered.
        assert_eq!(
            after_join(&[(Failed, "1"), (Join, "2"), (Failed, "2")]),
            one(Failed, "2")
        );
    }

    #[test]
    fn reaped_members_are_forgotten() {
        let mut coalescer = MemberCoalescer::new(PERIOD, QUIET);
        batch(&mut coalescer, &[(Join, "n")]);
        assert_eq!(batch(&mut coalescer, &[(Reap, "n")]).len(), 1);
        assert!(coalescer.delivered.is_empty());
        assert_eq!(batch(&mut coalescer, &[(Join, "n")]).len(), 1);
    }

    fn user(name: &str, ltime: u64, payload: &str) -> UserEvent {
        UserEvent {
            ltime: LamportTime(ltime),
            name: name.into(),
            payload: payload.into(),
            coalesce: true,
        }
    }

    #[test]
    fn the_newest_user_events_of_a_name_survive() {
        let mut coalescer = UserCoalescer::new(PERIOD, QUIET);
        // Name, time, payload, and the payload of what is replaced.
        let events = [
            ("b", 5, "1", None),
            ("a", 7, "2", None),
            ("b", 6, "3", Some("1")),
            ("b", 4, "4", Some("4")),
            ("b", 6, "5", None),
            ("c", 1, "6", None),
        ];
        for (name, ltime, payload, gone) in events {
            let replaced = coalescer.put(user(name, ltime, payload), seconds(0));
            let payloads = replaced.into_iter().map(|event| event.payload);
            let gone = gone.map(|payload: &str| payload.as_bytes().to_vec());
            assert_eq!(payloads.collect::<Vec<_>>(), Vec::from_iter(gone));
        }
        assert_eq!((coalescer.events, coalescer.bytes), (4, 8));
        // By time, whatever the names are.
        let expected = [
            user("c", 1, "6"),
            user("b", 6, "3"),
            user("b", 6, "5"),
            user("a", 7, "2"),
        ];
        assert_eq!(coalescer.flush(), expected);
        assert_eq!((coalescer.events, coalescer.bytes), (0, 0));
        assert_eq!(coalescer.flush(), []);
    }

    #[test]
    fn a_flood_of_user_events_ends_the_batch() {
        let mut coalescer = UserCoalescer::new(PERIOD, QUIET);
        for _ in 0..BATCH_EVENTS_MAX {
            assert!(!coalescer.is_full());
            coalescer.put(user("x", 1, ""), seconds(0));
        }
        assert!(coalescer.is_full());
    }
}
