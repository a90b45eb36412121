//! Queries between their arrival and the handlers, and queries that survive the loss of datagrams: the
//! asker repeats a query to members that it has not heard from, and who gets a query a second time
//! repeats its ack and answer.

pub(super) mod expression;
pub(super) mod handlers;
pub(super) mod kept;
mod order;
pub(super) mod repeat;
pub(super) mod schedule;
pub(super) mod vote;
