//! Queries: asking, receiving, answering, and repetition against lost datagrams. The originator repeats a
//! query to members from which it has no ack or answer; a member that receives a query again repeats its ack
//! and answer.

pub(super) mod ask;
pub(super) mod expression;
pub(super) mod filters;
pub(super) mod handlers;
pub(super) mod internal;
pub(super) mod kept;
pub(super) mod key_answer;
mod key_command;
pub(super) mod key_report;
mod order;
pub(super) mod rate_limit;
pub(super) mod receive;
mod relay;
pub(super) mod repeat;
pub(super) mod schedule;
pub(super) mod vote;
