//! A group: the stages that run fused on one thread.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tickwire_schemas::record::{Drop as DropRecord, Record, Repair, SourceState, Tick, Timer, Trade};

use super::emit::Made;
use super::{Derived, Emit, Identity, Laps, Market, NAMES, Pair, Stages};
use crate::config::{Config, ConfigError};
use crate::market::{Input, InputRef};
use crate::ring::Mark;

/// Why stages cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No such stage.
    #[error("`{0}` is not a stage, expected one of {list}", list = NAMES.join(", "))]
    Unknown(String),
    /// The layout breaks a rule.
    #[error("{0}")]
    Layout(String),
    /// A stage's section is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Why saved state cannot be taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("saved state is damaged or of another version")]
pub struct StateError;

/// Which stages run in which group: `pipeline.groups`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(Vec<Vec<String>>);

impl Layout {
    /// Checks the rules: every stage known and named once, in the listed order, those that publish in the last group.
    ///
    /// # Errors
    /// [`BuildError`] naming the stage that breaks a rule.
    pub fn new(groups: Vec<Vec<String>>) -> Result<Layout, BuildError> {
        let mut last = None;
        for name in groups.iter().flatten() {
            let at = NAMES.iter().position(|known| known == name).ok_or_else(|| BuildError::Unknown(name.clone()))?;
            if last.is_some_and(|last| at <= last) {
                let order = NAMES.join(", ");
                return Err(BuildError::Layout(format!(
                    "`{name}` is out of order or named twice, the order is {order}"
                )));
            }
            last = Some(at);
        }
        let names = |stage: &str| groups.iter().flatten().any(|name| name == stage);
        if names("indicators") && !names("bars") {
            return Err(BuildError::Layout(
                "`indicators` follows the bars that `bars` makes, expected `bars` too".into(),
            ));
        }
        if groups.is_empty() || groups.iter().any(Vec::is_empty) {
            return Err(BuildError::Layout("a group is empty, expected at least one group with one stage".into()));
        }
        Ok(Layout(groups))
    }

    /// Number of groups.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.0.len()
    }

    /// Builds the stages of every group.
    ///
    /// # Errors
    /// [`BuildError`] when a section is wrong or a stage that publishes is not in the last group.
    pub fn build(&self, config: &Config, market: &Market) -> Result<Vec<Group>, BuildError> {
        let last = self.0.len() - 1;
        let mut groups = Vec::new();
        for (at, names) in self.0.iter().enumerate() {
            let stages = Stages::build(names, config, market)?;
            if let Some((name, _)) = stages.names().find(|(_, derives)| *derives && at != last) {
                let problem = format!("`{name}` publishes records, so it belongs to the last group");
                return Err(BuildError::Layout(problem));
            }
            groups.push(Group { stages, market: market.clone(), made: Made::new() });
        }
        Ok(groups)
    }
}

/// The stages that run fused on one thread.
pub struct Group {
    stages: Stages,
    /// What its stages were built for: each input's source and instrument are looked up once for all of them.
    market: Market,
    /// Kept between inputs for its room.
    made: Made,
}

impl Group {
    /// A group without stages: it publishes inputs as they came. What a recording is made with.
    #[must_use]
    pub fn of_no_stages(market: &Market) -> Group {
        Group { stages: Stages::default(), market: market.clone(), made: Made::new() }
    }

    /// Names of its stages, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.stages.names().map(|(name, _)| name)
    }

    /// Lets every stage judge an input: all that a group before the last one does. Of an input that is measured each
    /// judging stage's time goes to `laps`.
    #[inline]
    pub fn judge(&mut self, input: &Input, mark: &mut Mark, laps: Option<&mut Laps>) {
        let input = InputRef::from(input);
        self.stages.judge(input, self.market.pair_of(input), mark, laps);
    }

    /// Judges an input, publishes it with its mark, then publishes what derives from it. `mark` is what earlier groups left;
    /// given back is what became of it.
    #[inline]
    pub fn run(
        &mut self,
        input: &Input,
        mark: Mark,
        identity: &mut Identity,
        sink: &mut impl Emit,
        publish_ns: i64,
    ) -> Mark {
        self.run_measured(input, mark, identity, sink, publish_ns, None)
    }

    /// [`Group::run`]; of an input that is measured each stage's time goes to `laps`.
    #[inline]
    pub fn run_measured(
        &mut self,
        input: &Input,
        mark: Mark,
        identity: &mut Identity,
        sink: &mut impl Emit,
        publish_ns: i64,
        laps: Option<&mut Laps>,
    ) -> Mark {
        // Nearly all are ticks, and between them timers, that nobody measures: where that is known beforehand, every stage's
        // own look falls away.
        match input {
            Input::Tick(tick)
                if let Some(pair) = self.market.pair(&tick.head)
                    && laps.is_none() =>
            {
                self.run_stages(InputRef::Tick(tick), Some(pair), (mark, identity, sink, publish_ns), None)
            }
            Input::Timer(timer) if laps.is_none() => self.run_timer(timer, mark, identity, sink, publish_ns),
            _ => self.run_any(input, mark, identity, sink, publish_ns, laps),
        }
    }

    #[inline(never)]
    fn run_timer(
        &mut self,
        timer: &Timer,
        mark: Mark,
        identity: &mut Identity,
        sink: &mut impl Emit,
        publish_ns: i64,
    ) -> Mark {
        self.run_stages(InputRef::Timer(timer), None, (mark, identity, sink, publish_ns), None)
    }

    #[inline(never)]
    fn run_any(
        &mut self,
        input: &Input,
        mark: Mark,
        identity: &mut Identity,
        sink: &mut impl Emit,
        publish_ns: i64,
        laps: Option<&mut Laps>,
    ) -> Mark {
        let input = InputRef::from(input);
        let pair = self.market.pair_of(input);
        self.run_stages(input, pair, (mark, identity, sink, publish_ns), laps)
    }

    #[inline(always)]
    fn run_stages(
        &mut self,
        input: InputRef<'_>,
        pair: Option<Pair>,
        (mut mark, identity, sink, publish_ns): (Mark, &mut Identity, &mut impl Emit, i64),
        mut laps: Option<&mut Laps>,
    ) -> Mark {
        self.stages.judge(input, pair, &mut mark, laps.as_deref_mut());
        publish_input(input, pair, mark, identity, sink, publish_ns);
        self.made.clear();
        let mut out = Derived { identity, sink, made: &mut self.made, publish_ns };
        if let Some(laps) = &mut laps {
            // Publishing the input itself is no stage's time.
            laps.restart();
        }
        self.stages.derive(input, pair, mark, &mut out, laps);
        mark
    }

    /// Publishes what is still forming, at the end of a recording.
    pub fn finish(&mut self, identity: &mut Identity, sink: &mut impl Emit, publish_ns: i64) {
        self.made.clear();
        let mut out = Derived { identity, sink, made: &mut self.made, publish_ns };
        self.stages.finish(&mut out);
    }

    /// Goes on as `larger`, which was built without state for a market that has grown, with the state of this group. Gives
    /// back what is left of this one, to be dropped where there is time for it.
    ///
    /// What a source or instrument without inputs adds changes no record of the others: so it does not matter between
    /// which two inputs this is done, and a replay may have the grown market from its beginning.
    ///
    /// # Errors
    /// When the new stages cannot take up the state; this group is as it was.
    pub fn grow(&mut self, mut larger: Group) -> Result<Group, StateError> {
        let mut states = Vec::new();
        self.stages.save(true, &mut states);
        larger.load(&states)?;
        // From here on nothing fails.
        larger.stages.take_over(&mut self.stages);
        Ok(std::mem::replace(self, larger))
    }

    /// Appends the state of every stage, each under its name.
    pub fn save(&self, out: &mut Vec<(String, Vec<u8>)>) {
        self.stages.save(false, out);
    }

    /// Takes up the states of the stages that this group has; the others belong to other groups.
    ///
    /// # Errors
    /// When a state is damaged.
    pub fn load(&mut self, states: &[(String, Vec<u8>)]) -> Result<(), StateError> {
        self.stages.load(states)
    }
}

/// Publishes the input itself, as the record that a replay will read it from.
#[inline(always)]
fn publish_input(
    input: InputRef<'_>,
    pair: Option<Pair>,
    mark: Mark,
    identity: &mut Identity,
    sink: &mut impl Emit,
    publish_ns: i64,
) {
    match input {
        InputRef::Tick(tick) => {
            let mut tick = *tick;
            tick.flags |= mark.flags;
            tick.reasons = u32::from(mark.reasons);
            tick.verdict = mark.verdict.code();
            tick.confidence = mark.confidence();
            identity.stamp_input(Tick::KIND, &mut tick.head, pair, publish_ns);
            sink.tick(&tick);
        }
        InputRef::Trade(trade) => {
            let mut trade = *trade;
            trade.flags |= mark.flags;
            trade.reasons = u32::from(mark.reasons);
            trade.verdict = mark.verdict.code();
            identity.stamp_input(Trade::KIND, &mut trade.head, pair, publish_ns);
            sink.trade(&trade);
        }
        InputRef::Timer(timer) => {
            let mut timer = *timer;
            identity.stamp_of_none(Timer::KIND, &mut timer.head, publish_ns);
            sink.timer(&timer);
        }
        InputRef::SourceState(state) => {
            let mut state = *state;
            identity.stamp(SourceState::KIND, &mut state.head, publish_ns);
            sink.source_state(&state);
        }
        InputRef::Drop(drop) => {
            let mut drop = *drop;
            identity.stamp(DropRecord::KIND, &mut drop.head, publish_ns);
            sink.drop(&drop);
        }
        InputRef::Repair(repair) => {
            let mut repair = *repair;
            identity.stamp(Repair::KIND, &mut repair.head, publish_ns);
            sink.repair(&repair);
        }
    }
}

/// Appends a value in the form of saved state.
pub(super) fn save_value<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    // Writing to memory fails for no type used here: all have known lengths.
    let written = postcard::to_io(value, &mut *out);
    debug_assert!(written.is_ok());
}

/// Reads a value that [`save_value`] wrote.
pub(super) fn load_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StateError> {
    postcard::from_bytes(bytes).map_err(|_| StateError)
}
