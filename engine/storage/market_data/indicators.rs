//! Values of indicators.

use clickhouse::Row;
use serde::Deserialize;

use super::{MarketData, PAUSE_NS, Range, Series, of_series, rows, width_ns};
use crate::storage::client::DatabaseError;

/// Start of a bar, seconds UTC, and the values after it in the order that the indicator documents.
pub type Point = (i64, Vec<Option<f64>>);

/// One indicator over the bars of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct IndicatorSeries {
    /// Its name with its parameters, such as `EMA(20)`.
    pub indicator: String,
    /// Oldest first.
    pub points: Vec<Point>,
}

#[derive(Debug, Row, Deserialize)]
struct Found {
    indicator: String,
    bar_ns: i64,
    values: Vec<Option<f64>>,
}

/// The newest of each indicator; of a bar that two runs of the engine saw, what the later one said.
const PAGE: &str = concat!(
    "SELECT toString(indicator) AS indicator, toUnixTimestamp64Nano(bar_ts) AS bar_ns, values FROM (\
     SELECT indicator, bar_ts, values FROM indicators WHERE state = 'ready' AND ",
    of_series!("bar_ts"),
    " ORDER BY indicator, bar_ts DESC, epoch DESC, seq DESC LIMIT 1 BY indicator, bar_ts) \
     ORDER BY indicator, bar_ts DESC LIMIT {limit:UInt32} BY indicator"
);

impl MarketData {
    /// The newest `limit` values of every indicator of a series within a span, by name, oldest first; those from before an
    /// indicator had seen enough bars are left out.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn indicators(
        &self,
        series: &Series,
        range: Range,
        limit: u32,
    ) -> Result<Vec<IndicatorSeries>, DatabaseError> {
        let mut all: Vec<IndicatorSeries> = Vec::new();
        for window in range.windows(&[width_ns(series.timeframe, limit) + PAUSE_NS]) {
            let query = series.ask(self.query(series.audience, PAGE)?, window).param("limit", limit);
            all.clear();
            for Found { indicator, bar_ns, values } in rows(query).await? {
                let point = (bar_ns.div_euclid(1_000_000_000), values);
                match all.last_mut() {
                    Some(of) if of.indicator == indicator => of.points.push(point),
                    _ => all.push(IndicatorSeries { indicator, points: vec![point] }),
                }
            }
            // One that does not exist any more has nothing in the window: it does not make the others wait.
            if all.iter().any(|of| of.points.len() >= limit as usize) {
                break;
            }
        }
        all.iter_mut().for_each(|of| of.points.reverse());
        Ok(all)
    }
}
