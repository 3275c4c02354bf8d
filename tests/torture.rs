//! What a feed does to a user's data on its worst days, without a network: the decisions of a session, the stages and the
//! planner of repairs, driven by a clock of numbers.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "torture/bars.rs"]
mod bars;
#[path = "torture/disconnects.rs"]
mod disconnects;
#[path = "torture/feed.rs"]
mod feed;
#[path = "torture/silence.rs"]
mod silence;
#[path = "torture/stages.rs"]
mod stages;
