//! The shell around the core: sockets, processes, files.
pub mod child;
pub mod log;
pub mod sys;
