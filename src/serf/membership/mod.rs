//! Changes of the membership.

pub(super) mod forced_leave;
