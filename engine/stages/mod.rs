//! What happens to an input: the stage trait, the list of stages, and the group that runs them.
//!
//! A stage is one file and one word in the list below. *Judging* stages (`dedupe`, `validate`) leave a [`Mark`] on the
//! input; *deriving* stages (`aggregate`, `bars`, `indicators`, `gaps`) publish records made from it. The input itself,
//! with its mark, is published between the two: so a journal holds every input, and replaying them gives every derived
//! record again.

mod emit;
mod group;
mod identity;
mod laps;
mod table;

pub use emit::{Best, Derived, Emit, Recorder};
pub use group::{BuildError, Group, Layout, StateError};
pub(crate) use identity::Mixer;
pub use identity::{Chains, Identity};
pub use laps::Laps;
pub use table::{Market, Pair, PerPair};

use crate::market::InputRef;
use crate::ring::Mark;

/// Version of what the stages and the chains save. To be raised with every change of any of it: saved state does not
/// explain itself, and a start takes up none of another version (it goes back to the journal instead).
pub const STATE_VERSION: u16 = 4;

/// One step of the pipeline. It does no I/O, never asks the time, and after warm-up does not allocate.
pub trait Stage: Sized + Send {
    /// The name in `pipeline.groups`, in the configuration, and in saved state.
    const NAME: &'static str;

    /// Whether it publishes records; such stages belong to the last group.
    const DERIVES: bool;

    /// Whether [`Stage::take_over`] does what saving and loading would do, in less time.
    const MOVES: bool = false;

    /// Its section of the configuration, which refuses unknown keys.
    type Config: serde::de::DeserializeOwned;

    /// Builds it for the sources and instruments of this run.
    ///
    /// # Errors
    /// A sentence naming the value that does not make sense.
    fn build(config: Self::Config, market: &Market) -> Result<Self, String>;

    /// Leaves its judgement on the input, of which `pair` are the dense indices of source and instrument where this run
    /// knows both. Deriving stages do not judge.
    fn judge(&mut self, _input: InputRef<'_>, _pair: Option<Pair>, _mark: &mut Mark) {}

    /// Publishes what follows from the input, which has been judged and published. Judging stages do not derive.
    fn derive(&mut self, _input: InputRef<'_>, _pair: Option<Pair>, _mark: Mark, _out: &mut Derived<'_, impl Emit>) {}

    /// Publishes what is still forming, marked as such: at the end of a recording.
    fn finish(&mut self, _out: &mut Derived<'_, impl Emit>) {}

    /// Takes the state of the same stage, built for a market that has grown since and without state of its own: with
    /// [`Stage::MOVES`] when the running engine grows.
    fn take_over(&mut self, _smaller: &mut Self) {}

    /// Appends its state, keyed by persistent ids, so that a run with other sources can read it.
    ///
    /// All of it: a group that is built anew with this state and more sources goes on to the same bytes.
    fn save(&self, out: &mut Vec<u8>);

    /// Takes up state that [`Stage::save`] wrote.
    ///
    /// # Errors
    /// When the bytes are not such a state.
    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError>;
}

/// The list: one word makes a module, a field of [`Stages`], a name and a configuration section.
macro_rules! stages {
    ($($module:ident $stage:ident),*) => {
        $(pub mod $module;)*

        /// The stages of a group, each where the group has it. Fields, and no list to go through: so the way of an input is
        /// one straight line in the order of the names, and what little a stage does can be inlined there.
        #[derive(Default)]
        struct Stages { $($module: Option<$module::$stage>,)* }

        /// Names of all stages, in the order in which they run by default.
        pub const NAMES: &[&str] = &[$(<$module::$stage as Stage>::NAME),*];

        impl Stages {
            fn build(names: &[String], config: &crate::config::Config, market: &Market) -> Result<Stages, BuildError> {
                let mut stages = Stages::default();
                for name in names {
                    match name.as_str() {
                        $(<$module::$stage as Stage>::NAME => {
                            let stage = <$module::$stage as Stage>::build(config.section(name)?, market);
                            stages.$module = Some(stage.map_err(|e| config.bad_key(name, e))?);
                        })*
                        _ => return Err(BuildError::Unknown(name.clone())),
                    }
                }
                Ok(stages)
            }

            /// Names of those that are there, each with whether it publishes records.
            fn names(&self) -> impl Iterator<Item = (&'static str, bool)> {
                [$(self.$module.as_ref().map(|_| (<$module::$stage as Stage>::NAME, <$module::$stage as Stage>::DERIVES))),*]
                    .into_iter()
                    .flatten()
            }

            #[inline(always)]
            fn judge(&mut self, input: InputRef<'_>, pair: Option<Pair>, mark: &mut Mark, mut laps: Option<&mut Laps>) {
                let mut number = 0;
                $(if let Some(stage) = &mut self.$module {
                    if !<$module::$stage as Stage>::DERIVES {
                        stage.judge(input, pair, mark);
                        if let Some(laps) = &mut laps {
                            laps.lap(number);
                        }
                    }
                    number += 1;
                })*
                let _ = number;
            }

            #[inline(always)]
            fn derive(
                &mut self,
                input: InputRef<'_>,
                pair: Option<Pair>,
                mark: Mark,
                out: &mut Derived<'_, impl Emit>,
                mut laps: Option<&mut Laps>,
            ) {
                let mut number = 0;
                $(if let Some(stage) = &mut self.$module {
                    if <$module::$stage as Stage>::DERIVES {
                        stage.derive(input, pair, mark, out);
                        if let Some(laps) = &mut laps {
                            laps.lap(number);
                        }
                    }
                    number += 1;
                })*
                let _ = number;
            }

            fn finish(&mut self, out: &mut Derived<'_, impl Emit>) {
                $(if let Some(stage) = &mut self.$module {
                    stage.finish(out);
                })*
            }

            /// Takes over from the same stages those that move; the others were loaded.
            fn take_over(&mut self, smaller: &mut Stages) {
                $(if let (Some(stage), Some(smaller)) = (&mut self.$module, &mut smaller.$module) {
                    stage.take_over(smaller);
                })*
            }

            /// Appends the state of each stage under its name; only of those that do not move where that is asked.
            fn save(&self, staying: bool, out: &mut Vec<(String, Vec<u8>)>) {
                $(if let Some(stage) = &self.$module && !(staying && <$module::$stage as Stage>::MOVES) {
                    let mut bytes = Vec::new();
                    stage.save(&mut bytes);
                    out.push((<$module::$stage as Stage>::NAME.into(), bytes));
                })*
            }

            fn load(&mut self, states: &[(String, Vec<u8>)]) -> Result<(), StateError> {
                $(if let Some(stage) = &mut self.$module
                    && let Some((_, bytes)) = states.iter().find(|(name, _)| name == <$module::$stage as Stage>::NAME)
                {
                    stage.load(bytes)?;
                })*
                Ok(())
            }
        }
    };
}

stages![dedupe Dedupe, validate Validate, aggregate Aggregate, bars Bars, indicators Indicators, gaps Gaps];

#[cfg(test)]
mod tests;
