//! What several benchmarks share; each uses its part.
#![allow(dead_code)]

pub(crate) mod generated;
pub(crate) mod nowhere;
pub(crate) mod pipeline;
pub(crate) mod recorded;
pub(crate) mod results;
