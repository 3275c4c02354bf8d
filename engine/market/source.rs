//! Who says the prices.

use serde::{Deserialize, Serialize};

/// Persistent number of a source, given once and never reused; 0 is the common price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceId(pub u32);

/// Who may see a source's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The administrator's: seen by all, part of the common price.
    Global,
    /// One user's: seen by that user alone, never part of the common price.
    Private,
}

/// What a source's volume is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeOf {
    /// The sizes of its trades; none where it has no trades.
    #[default]
    Trades,
    /// The sizes at the bid of its ticks, added up, as Dukascopy counts.
    BidSize,
}

/// One data connection to one account or venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Persistent number.
    pub id: SourceId,
    /// Name in the configuration, such as `oanda`.
    pub name: String,
    /// Who may see it.
    pub scope: Scope,
    /// The user it belongs to; empty for a global source.
    pub owner: String,
    /// Rank among equal prices: the smaller wins.
    pub priority: u16,
    /// What the volume of its bars is made of.
    #[serde(default)]
    pub volume: VolumeOf,
    /// Whether its ticks go into the database, accepted and refused ones; what is made of them does all the same.
    #[serde(default = "stored")]
    pub stores_ticks: bool,
}

/// Of a source from before there was a choice.
fn stored() -> bool {
    true
}
