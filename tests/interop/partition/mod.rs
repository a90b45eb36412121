//! Clusters of cottar and the reference with cut links, in network namespaces that the test creates and that
//! end with it.
//!
//! `COTTAR_INTEROP=require` makes a missing reference or missing permissions a failure;
//! `COTTAR_PARTITION_PROFILE=lan` runs everything with the default, slower profile.

mod cluster;
mod links;
mod queries;
mod stories;
mod world;
