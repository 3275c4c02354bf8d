//! How a minute is judged.

use tickwire_schemas::NO_PRICE;

use crate::storage::quality::SourceMinute;

/// The score of a minute, 0 to 100: the sum of
///
/// | points | for |
/// |---|---|
/// | 40 | `uptime_percent` / 100 |
/// | 20 | `completeness_percent` / 100 |
/// | 15 | 100 ms / (100 ms + the median latency, its sign left away); one half without stamps |
/// | 15 | the narrowest average spread of the symbol in this minute / its own |
/// | 10 | `ticks` / (`ticks` + `rejects` other than duplicates) |
///
/// where the last three give nothing in a minute without `ticks`. The narrowest is that of the global sources; a private
/// source is compared with these and itself, and changes no other's score.
#[must_use]
pub fn score(minute: &SourceMinute, narrowest_e9: i64) -> f32 {
    let Parts { uptime, completeness, latency, rejects, .. } = Parts::without_spread(minute);
    let spread = match minute.avg_spread_e9 {
        _ if minute.ticks == 0 => 0.0,
        NO_PRICE => 0.0,
        own if own <= narrowest_e9 => 1.0,
        own => narrowest_e9.max(0) as f64 / own as f64,
    };
    (uptime + completeness + latency + 15.0 * spread + rejects) as f32
}

/// What the points of a score are for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Parts {
    /// Of 40: that it was live.
    pub uptime: f64,
    /// Of 20: that nothing was missing.
    pub completeness: f64,
    /// Of 15: that it was quick.
    pub latency: f64,
    /// Of 15: that its spread was narrow.
    pub spread: f64,
    /// Of 10: that its prices were taken.
    pub rejects: f64,
}

impl Parts {
    /// All that the minute itself tells; how narrow a spread is the others say.
    fn without_spread(minute: &SourceMinute) -> Parts {
        let uptime = 0.4 * f64::from(minute.uptime_percent);
        let completeness = 0.2 * f64::from(minute.completeness_percent);
        if minute.ticks == 0 {
            return Parts { uptime, completeness, ..Parts::default() };
        }
        let latency = minute.latency_p50_us.map_or(0.5, |us| 100_000.0 / (100_000.0 + us.unsigned_abs() as f64));
        let repeated: u64 = minute.reject_reasons.iter().filter(|(word, _)| *word == "duplicate").map(|(_, n)| n).sum();
        let taken = minute.ticks as f64 / (minute.ticks + minute.rejects - repeated) as f64;
        Parts { uptime, completeness, latency: 15.0 * latency, spread: 0.0, rejects: 10.0 * taken }
    }

    /// Of a minute that has its score: what the other parts leave of it is the spread's.
    pub(super) fn of(minute: &SourceMinute) -> Parts {
        let parts = Parts::without_spread(minute);
        let others = parts.uptime + parts.completeness + parts.latency + parts.rejects;
        Parts { spread: (f64::from(minute.score) - others).clamp(0.0, 15.0), ..parts }
    }
}
