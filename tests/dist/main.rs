//! Everything that packages need: readiness notification, completions, service files, installation.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../live/mod.rs"]
mod live;

mod anywhere;
mod bash;
mod completions;
mod expected_completions;
mod fish;
mod install;
mod keep;
mod licences;
mod notify;
mod packages;
mod procd;
mod readme;
mod release;
mod session;
mod tutorial;
mod zsh;
