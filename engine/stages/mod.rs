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

pub use emit::{Derived, Emit, Recorder};
pub use group::{BuildError, Group, Layout, StateError};
pub use identity::{Chains, Identity};
pub use laps::Laps;
pub use table::{Market, PerPair};

use crate::market::Input;
use crate::ring::Mark;

/// Version of what the stages and the chains save. To be raised with every change of any of it: saved state does not
/// explain itself, and a start takes up none of another version (it goes back to the journal instead).
pub const STATE_VERSION: u16 = 2;

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

    /// Leaves its judgement on the input. Deriving stages do not judge.
    fn judge(&mut self, _input: &Input, _mark: &mut Mark) {}

    /// Publishes what follows from the input, which has been judged and published. Judging stages do not derive.
    fn derive(&mut self, _input: &Input, _mark: &Mark, _out: &mut Derived<'_>) {}

    /// Publishes what is still forming, marked as such: at the end of a recording.
    fn finish(&mut self, _out: &mut Derived<'_>) {}

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

/// The list: one word makes a module, an entry in [`AnyStage`], a name and a configuration section.
macro_rules! stages {
    ($($module:ident $stage:ident),*) => {
        $(pub mod $module;)*

        /// Any stage; a match on it is cheaper than a virtual call and can be inlined.
        enum AnyStage { $($stage($module::$stage),)* }

        /// Names of all stages, in the order in which they run by default.
        pub const NAMES: &[&str] = &[$(<$module::$stage as Stage>::NAME),*];

        impl AnyStage {
            fn build(name: &str, config: &crate::config::Config, market: &Market) -> Result<AnyStage, BuildError> {
                $(if name == <$module::$stage as Stage>::NAME {
                    let section = config.section(name)?;
                    let stage = <$module::$stage as Stage>::build(section, market).map_err(|e| config.bad_key(name, e))?;
                    return Ok(AnyStage::$stage(stage));
                })*
                Err(BuildError::Unknown(name.into()))
            }

            fn name(&self) -> &'static str {
                match self { $(AnyStage::$stage(_) => <$module::$stage as Stage>::NAME,)* }
            }

            fn derives(&self) -> bool {
                match self { $(AnyStage::$stage(_) => <$module::$stage as Stage>::DERIVES,)* }
            }

            fn moves(&self) -> bool {
                match self { $(AnyStage::$stage(_) => <$module::$stage as Stage>::MOVES,)* }
            }

            fn take_over(&mut self, smaller: &mut AnyStage) {
                match (self, smaller) {
                    $((AnyStage::$stage(stage), AnyStage::$stage(smaller)) => stage.take_over(smaller),)*
                    _ => {}
                }
            }

            #[inline]
            fn judge(&mut self, input: &Input, mark: &mut Mark) {
                match self { $(AnyStage::$stage(stage) => stage.judge(input, mark),)* }
            }

            #[inline]
            fn derive(&mut self, input: &Input, mark: &Mark, out: &mut Derived<'_>) {
                match self { $(AnyStage::$stage(stage) => stage.derive(input, mark, out),)* }
            }

            fn finish(&mut self, out: &mut Derived<'_>) {
                match self { $(AnyStage::$stage(stage) => stage.finish(out),)* }
            }

            fn save(&self, out: &mut Vec<u8>) {
                match self { $(AnyStage::$stage(stage) => stage.save(out),)* }
            }

            fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
                match self { $(AnyStage::$stage(stage) => stage.load(bytes),)* }
            }
        }
    };
}

stages![dedupe Dedupe, validate Validate, aggregate Aggregate, bars Bars, indicators Indicators, gaps Gaps];

#[cfg(test)]
mod tests;
