//! Queries between their arrival and the handlers.

mod order;
