//! The name of an indicator with its parameters.

use serde::{Deserialize, Serialize};

/// Persistent number of an indicator with its parameters, given once and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IndicatorId(pub u32);

/// An indicator with its parameters under its canonical name, such as `EMA(20)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndicatorName {
    /// Persistent number.
    pub id: IndicatorId,
    /// Canonical name, which says all that its values depend on beside the bars.
    pub name: String,
}

impl IndicatorName {
    /// Names with numbers of their own, from 1: where no catalogue gives ids.
    #[must_use]
    pub fn numbered(names: &[String]) -> Vec<IndicatorName> {
        names.iter().zip(1..).map(|(name, id)| IndicatorName { id: IndicatorId(id), name: name.clone() }).collect()
    }
}
