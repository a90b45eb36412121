//! What packages need: readiness notification, completions, service files, installation.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[allow(dead_code)]
#[path = "../live/mod.rs"]
mod live;

mod notify;
