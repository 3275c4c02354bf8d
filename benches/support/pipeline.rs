//! Stages in one group, as a replay runs them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tickwire::config::Config;
use tickwire::market::{IndicatorName, Input};
use tickwire::ring::Mark;
use tickwire::runtime::Settings;
use tickwire::stages::{Emit, Group, Identity, Layout, Market};

/// All twelve families of indicators on M1 and H1 bars of the common price.
const INDICATORS: &str = include_str!("../../config/indicators.toml");

/// The default configuration with every indicator; bars are published when they close, as in a replay.
pub(crate) fn settings() -> Settings {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay("[bars]\nprovisional_ms = 0\n", "benchmark").unwrap();
    config.overlay(INDICATORS, "config/indicators.toml").unwrap();
    Settings::new(config).unwrap()
}

/// Stages that run fused, and what gives their records an identity.
pub(crate) struct Stages {
    pub(crate) group: Group,
    pub(crate) identity: Identity,
}

impl Stages {
    /// These stages, without state; of none a group that publishes inputs as they came.
    pub(crate) fn new(settings: &Settings, market: &Market, names: &[&str]) -> Stages {
        let market = market.clone().with_holidays(settings.holidays.clone());
        let market = market.with_indicators(IndicatorName::numbered(&settings.indicators));
        let group = if names.is_empty() {
            Group::of_no_stages(&market)
        } else {
            let layout = Layout::new(vec![names.iter().map(ToString::to_string).collect()]).unwrap();
            layout.build(&settings.config, &market).unwrap().remove(0)
        };
        Stages { group, identity: Identity::new(1, &market) }
    }

    /// Runs one input through them; what they publish is stamped with the time 0.
    #[inline]
    pub(crate) fn run(&mut self, input: &Input, sink: &mut impl Emit) {
        self.group.run(input, Mark::NEW, &mut self.identity, sink, 0);
    }

    /// How long they take for these inputs. In the engine inputs are in the ring, written just before: so they are copied from
    /// where they are kept, which is larger than any cache, to a few slots, and the time of that is not counted.
    pub(crate) fn time(&mut self, inputs: &[Input], sink: &mut impl Emit) -> Duration {
        const SLOTS: usize = 256;
        let mut slots = [Input::default(); SLOTS];
        let mut spent = Duration::ZERO;
        for inputs in inputs.chunks(SLOTS) {
            let slots = &mut slots[..inputs.len()];
            slots.copy_from_slice(inputs);
            let began = Instant::now();
            for input in black_box(slots) {
                self.run(black_box(input), sink);
            }
            spent += began.elapsed();
        }
        spent
    }
}
