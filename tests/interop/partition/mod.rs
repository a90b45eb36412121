//! Clusters of cottar and the reference whose links are cut, in network namespaces that the test makes
//! and that end with it.
//!
//! `COTTAR_INTEROP=require` turns a missing reference or missing rights into a failure;
//! `COTTAR_PARTITION_PROFILE=lan` runs the whole with the usual, slower profile.

mod cluster;
mod links;
mod queries;
mod stories;
mod world;
