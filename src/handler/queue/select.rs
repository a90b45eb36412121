//! Selects the members of an event that a handler wants.

use super::Waiting;
use crate::handler::{HandlerSettings, Pattern, Registered};
use crate::ordered::OrderedMap;
use crate::serf::{Event, Member, MemberEvent, MemberEventKind, Tags};
use crate::wire::NodeName;

/// The part of an event that a handler gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selected {
    /// The whole event.
    All,
    /// The event with some of its members.
    Some(Event),
    /// None of it.
    Nothing,
}

/// Returns whether all of these tags match.
pub(super) fn tags_match(patterns: &OrderedMap<Vec<u8>, Pattern>, tags: &Tags) -> bool {
    let value = |tag: &[u8]| tags.get(tag).unwrap_or_default();
    patterns
        .iter()
        .all(|(tag, pattern)| pattern.matches(value(tag)))
}

/// Returns whether a handler wants a member; `before` are its tags before an update.
pub(super) fn picks(settings: &HandlerSettings, member: &Member, before: Option<&Tags>) -> bool {
    let fits = |pattern: &Option<Pattern>, text: &[u8]| {
        pattern.as_ref().is_none_or(|pattern| pattern.matches(text))
    };
    let tags = |tags: &Tags| tags_match(&settings.tags, tags);
    fits(&settings.node, member.name.as_bytes())
        && fits(&settings.status, member.status.as_str().as_bytes())
        && (tags(&member.tags()) || before.is_some_and(tags))
}

impl HandlerSettings {
    /// Returns whether the settings select members.
    fn is_selective(&self) -> bool {
        !self.tags.is_empty() || self.node.is_some() || self.status.is_some()
    }
}

/// Returns the part of an event that a handler gets.
pub(super) fn select(registered: &Registered, waiting: &Waiting) -> Selected {
    let (settings, progress) = (&registered.settings, waiting.progress());
    let Event::Member(event) = &waiting.event else {
        return Selected::All;
    };
    let is_whole = !settings.is_selective() && progress.known.is_none();
    if is_whole || progress.is_recovered {
        return Selected::All;
    }
    let mut members = picked(settings, &event.members, &progress.before);
    members.retain(|member| !progress.is_known(&member.name, registered.lane.synced));
    match members.len() {
        0 => Selected::Nothing,
        count if count == event.members.len() => Selected::All,
        _ => Selected::Some(Event::Member(MemberEvent {
            kind: event.kind,
            members,
        })),
    }
}

/// Returns the members that a handler wants.
pub(super) fn picked(
    settings: &HandlerSettings,
    members: &[Member],
    before: &[(NodeName, Tags)],
) -> Vec<Member> {
    let tags_of = |member: &Member| before.iter().find(|(name, _)| *name == member.name);
    let picks = |member: &&Member| picks(settings, member, tags_of(member).map(|(_, tags)| tags));
    members.iter().filter(picks).cloned().collect()
}

/// Members' tags in the last delivered events; kept only while a handler selects by tags.
#[derive(Debug, Default)]
pub(super) struct KnownTags(OrderedMap<NodeName, Tags>);

impl KnownTags {
    pub(super) fn forget(&mut self) {
        self.0 = OrderedMap::new();
    }

    /// Stores the tags of a member; returns those that were known before.
    pub(super) fn learn(&mut self, member: &Member) -> Option<Tags> {
        self.0.insert(member.name.clone(), member.tags())
    }

    /// Updates the known tags from an event, and stores in it the tags before an update.
    pub(super) fn follow(&mut self, waiting: &mut Waiting) {
        let Event::Member(event) = &waiting.event else {
            return;
        };
        let mut before = Vec::new();
        for member in &event.members {
            if event.kind == MemberEventKind::Reap {
                self.0.remove(&member.name);
                continue;
            }
            let old = self.learn(member);
            if let Some(old) = old.filter(|_| event.kind == MemberEventKind::Update) {
                before.push((member.name.clone(), old));
            }
        }
        if !before.is_empty() {
            waiting.progress_mut().before = before;
        }
    }
}
