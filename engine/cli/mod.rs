//! See the map in `lib.rs`.

pub mod audit;
pub mod sql;
