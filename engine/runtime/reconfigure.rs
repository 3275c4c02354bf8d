//! Changing a running engine: connections are added, changed and removed, and instruments added, without touching the
//! others.
//!
//! What there is only grows within a run. A source that is removed stops, and its entries stay until the next start; so
//! no index ever changes, and what stands in the journal before a change means the same after it. Everything behind the
//! feeds knows a new source before its first input can come: each part answers when it does, and only then it is
//! connected.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Settings;
use super::growth::Growing;
use super::inputs::{feed_of, wanted};
use super::jobs::InEffectNow;
use super::market::entries;
use super::repairs::Repairs;
use crate::config::Config;
use crate::console::{Shown, View, never_seen};
use crate::control::sections::add_connections;
use crate::control::{Catalogue, ControlError, InstrumentSpec};
use crate::fanout::{self, FanoutGrowth};
use crate::feeds::adapters::SettingsError;
use crate::feeds::{FeedsControl, FeedsError, SourceSpec};
use crate::journal::{self, JournalError, JournalGrowth};
use crate::metrics::{self, SOURCES_MAX};
use crate::quality::FollowerGrowth;
use crate::ring::DoorSources;
use crate::stages::{BuildError, Layout, Market};

/// How long one part of the engine may take to answer: longer than any snapshot or disk that works.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a new configuration changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Sources that are connecting now.
    pub added: Vec<String>,
    /// Sources that connect anew, with other settings.
    pub changed: Vec<String>,
    /// Sources that have stopped.
    pub removed: Vec<String>,
    /// Symbols of new instruments.
    pub instruments: Vec<String>,
    /// Keys, sections or tables that differ and were left as they are: they need a restart.
    pub needs_restart: Vec<String>,
}

impl Changes {
    /// A line for each; none when nothing differs.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let parts = [
            ("instruments.", &self.instruments, "added"),
            ("sources.", &self.removed, "removed"),
            ("sources.", &self.changed, "changed"),
            ("sources.", &self.added, "added"),
            ("", &self.needs_restart, "needs a restart"),
        ];
        let of = |(prefix, names, what): (&str, &Vec<String>, &str)| {
            names.iter().map(|name| format!("{prefix}{name}: {what}")).collect::<Vec<_>>()
        };
        parts.into_iter().flat_map(of).collect()
    }
}

/// Why a new configuration is not in effect. Sources that were there run on as they were, unless the sentence names them.
#[derive(Debug, thiserror::Error)]
pub enum ReconfigureError {
    /// The inputs are not those of connections.
    #[error("a recording is served: its sources and instruments are its own")]
    Fixed,
    /// More than the engine has room for.
    #[error(
        "{0} sources since the start, removed ones among them; expected at most {SOURCES_MAX}: the others need a restart"
    )]
    TooMany(usize),
    /// A source cannot be as it is configured.
    #[error(transparent)]
    Feeds(#[from] FeedsError),
    /// The control database.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The stages cannot be built for what is new.
    #[error(transparent)]
    Stages(#[from] BuildError),
    /// The journal cannot name what is new.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A part of the engine did not take up what is new.
    #[error("{0}")]
    Part(String),
}

/// Changes a running engine. Clones are cheap and change the same one.
#[derive(Clone)]
pub struct Control {
    running: Arc<Mutex<Running>>,
    /// The configuration without the connections of the control database, as it was last read.
    base: Arc<Mutex<Config>>,
    state_dir: PathBuf,
}

impl Control {
    /// Over what runs, by the configuration without the connections of the control database.
    pub(super) fn new(running: Running, base: Config) -> Control {
        let state_dir = running.state_dir.clone();
        Control { running: Arc::new(Mutex::new(running)), base: Arc::new(Mutex::new(base)), state_dir }
    }

    /// Sources and instruments that are in effect.
    #[must_use]
    pub fn in_effect(&self) -> InEffectNow {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        InEffectNow { sources: running.effect.sources.clone(), instruments: running.effect.instruments.clone() }
    }

    /// Puts into effect what can be of newly read settings, and names what cannot. Takes as long as it takes: some
    /// milliseconds where the journal's disk is quick.
    ///
    /// # Errors
    /// [`ReconfigureError`].
    pub fn reconfigure(&self, settings: &Settings) -> Result<Changes, ReconfigureError> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).reconfigure(settings)
    }

    /// The configuration without the connections of the control database, as it was last read.
    #[must_use]
    pub fn base(&self) -> Config {
        self.base.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts into effect what the control database says of connections now.
    ///
    /// # Errors
    /// One sentence.
    pub fn connections_changed(&self) -> Result<Changes, String> {
        self.take_up(None)
    }

    /// Puts into effect what can be of a newly read configuration, to which the connections of the control database are
    /// added, and names what cannot.
    ///
    /// # Errors
    /// One sentence; nothing of a configuration that makes no sense is in effect.
    pub fn base_changed(&self, base: Config) -> Result<Changes, String> {
        self.take_up(Some(base))
    }

    fn take_up(&self, new_base: Option<Config>) -> Result<Changes, String> {
        // One after the other: who comes second sees what the first one wrote, too.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let base = new_base.unwrap_or_else(|| self.base());
        let mut config = base.clone();
        let unfit = add_connections(&mut config, &self.state_dir).map_err(|e| e.to_string())?;
        unfit.iter().for_each(|unfit| tracing::warn!(connection = unfit.name, "is left out: {}", unfit.problem));
        let settings = Settings::new(config).map_err(|e| e.to_string())?;
        let changes = running.reconfigure(&settings).map_err(|e| e.to_string())?;
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = base;
        Ok(changes)
    }
}

/// The parts of a running engine that have to know, and what is in effect.
pub(super) struct Running {
    pub(super) state_dir: PathBuf,
    pub(super) layout: Layout,
    pub(super) effect: InEffect,
    /// As it stands at the head of the journal's segments.
    pub(super) journaled: journal::Catalogue,
    pub(super) journal: JournalGrowth,
    pub(super) doors: DoorSources,
    pub(super) fanout: FanoutGrowth,
    pub(super) quality: FollowerGrowth,
    pub(super) pipeline: Growing,
    pub(super) shown: Shown,
    /// `None` where nothing mends holes.
    pub(super) repairs: Option<Repairs>,
    /// `None` when a recording is served.
    pub(super) feeds: Option<FeedsControl>,
}

/// What is in effect.
pub(super) struct InEffect {
    /// Of a key that needs a restart, the old value.
    pub(super) config: Config,
    /// Those that run.
    pub(super) sources: Vec<SourceSpec>,
    pub(super) instruments: BTreeMap<String, InstrumentSpec>,
    /// Everything since the start, what was removed too.
    pub(super) market: Market,
}

/// What is to be done.
#[derive(Default)]
struct Plan<'a> {
    added: Vec<&'a SourceSpec>,
    changed: Vec<&'a SourceSpec>,
    removed: Vec<String>,
    instruments: BTreeMap<&'a String, &'a InstrumentSpec>,
    needs_restart: Vec<String>,
}

impl InEffect {
    /// Compares what is in effect with what is wanted.
    fn plan<'a>(&self, new: &'a Settings) -> Plan<'a> {
        let mut plan = Plan::default();
        let differences = self.config.differences(&new.config);
        for spec in &new.sources {
            let key = |key: &str| format!("sources.{}{key}", spec.name);
            let Some(known) = self.sources.iter().find(|known| known.name == spec.name) else {
                // It may have been there earlier in this run: who may see its records cannot change.
                let entry = self.market.sources().iter().find(|source| source.name == spec.name);
                let same =
                    entry.is_none_or(|e| (e.scope, &e.owner, e.priority) == (spec.scope, &spec.owner, spec.priority));
                if same {
                    plan.added.push(spec)
                } else {
                    plan.needs_restart.push(key(""))
                }
                continue;
            };
            let fixed = [
                (".scope", known.scope != spec.scope),
                (".owner", known.owner != spec.owner),
                (".priority", known.priority != spec.priority),
            ];
            plan.needs_restart.extend(fixed.iter().filter(|(_, differs)| *differs).map(|(name, _)| key(name)));
            let is_free = |name: &str| !fixed.iter().any(|(fixed, _)| key(fixed) == name);
            if differences.iter().any(|name| name.starts_with(&key(".")) && is_free(name)) {
                plan.changed.push(spec);
            }
        }
        let gone = self.sources.iter().filter(|known| new.sources.iter().all(|spec| spec.name != known.name));
        plan.removed = gone.map(|known| known.name.clone()).collect();
        for (symbol, spec) in &new.instruments {
            match self.instruments.get(symbol) {
                None => drop(plan.instruments.insert(symbol, spec)),
                Some(known) if known != spec => plan.needs_restart.push(format!("instruments.{symbol}")),
                Some(_) => {}
            }
        }
        let gone = self.instruments.keys().filter(|symbol| !new.instruments.contains_key(*symbol));
        plan.needs_restart.extend(gone.map(|symbol| format!("instruments.{symbol}")));
        let others = differences.into_iter().filter(|name| !is_of(name, "sources") && !is_of(name, "instruments"));
        plan.needs_restart.extend(others);
        plan
    }
}

impl Running {
    fn reconfigure(&mut self, new: &Settings) -> Result<Changes, ReconfigureError> {
        if self.feeds.is_none() {
            return Err(ReconfigureError::Fixed);
        }
        let plan = self.effect.plan(new);
        for spec in plan.added.iter().chain(&plan.changed) {
            let source_name = spec.name.clone();
            let missing = |e: SettingsError| FeedsError::Secret { source_name, key: e.key, problem: e.problem };
            // Before anything is done.
            spec.venue.check().map_err(missing)?;
        }
        self.make_room(&plan)?;
        self.store_ticks(&plan)?;
        for (symbol, spec) in &plan.instruments {
            self.effect.config.take_from(&new.config, &format!("instruments.{symbol}"));
            self.effect.instruments.insert((*symbol).clone(), (*spec).clone());
        }
        let done = self.connect(&plan, new);
        // Whatever came of it: what is watched is what runs.
        let told = self.quality.grow(&self.effect.market, wanted(&self.effect.sources, &self.effect.market));
        self.show();
        done?;
        if !told {
            return Err(ReconfigureError::Part("the quality of sources is not followed any more".into()));
        }
        let names = |specs: &[&SourceSpec]| specs.iter().map(|spec| spec.name.clone()).collect();
        Ok(Changes {
            added: names(&plan.added),
            changed: names(&plan.changed),
            removed: plan.removed,
            instruments: plan.instruments.into_keys().cloned().collect(),
            needs_restart: plan.needs_restart,
        })
    }

    /// Lets the journal say from here on whose ticks are stored: who stores reads it there.
    fn store_ticks(&mut self, plan: &Plan<'_>) -> Result<(), ReconfigureError> {
        let mut sources = self.effect.market.sources().to_vec();
        for spec in plan.added.iter().chain(&plan.changed) {
            sources.iter_mut().filter(|s| s.name == spec.name).for_each(|s| s.stores_ticks = spec.stores_ticks);
        }
        if sources == self.effect.market.sources() {
            return Ok(());
        }
        let journaled = journal::Catalogue { sources: sources.clone(), ..self.journaled.clone() };
        self.journal.grow(journaled.clone(), PATIENCE)?;
        self.effect.market = self.effect.market.of(sources, self.effect.market.instruments().to_vec());
        self.journaled = journaled;
        Ok(())
    }

    /// Lets every part know what is new, and returns when all do.
    fn make_room(&mut self, plan: &Plan<'_>) -> Result<(), ReconfigureError> {
        if plan.added.is_empty() && plan.instruments.is_empty() {
            return Ok(());
        }
        let mut catalogue = Catalogue::open(&self.state_dir)?;
        let instruments = plan.instruments.iter().map(|(symbol, spec)| (*symbol, *spec));
        let (sources, instruments) = entries(plan.added.iter().copied(), instruments, &mut catalogue)?;
        let market = self.effect.market.grown(sources, instruments);
        let (before, after) = (&self.effect.market, &market);
        if before.sources().len() == after.sources().len() && before.instruments().len() == after.instruments().len() {
            return Ok(());
        }
        if market.sources().len() > SOURCES_MAX {
            return Err(ReconfigureError::TooMany(market.sources().len()));
        }
        // The sections of the stages are those in effect: what differs in them needs a restart.
        let groups = self.layout.build(&self.effect.config, &market)?;
        let (sources, instruments) = (market.sources().to_vec(), market.instruments().to_vec());
        let journaled =
            journal::Catalogue { sources: sources.clone(), instruments: instruments.clone(), ..self.journaled.clone() };
        self.journal.grow(journaled.clone(), PATIENCE)?;
        let names = fanout::Catalogue::new(instruments, sources).with_indicators(market.indicators().to_vec());
        if !self.fanout.grow(names) {
            return Err(ReconfigureError::Part("the fan-out has stopped".into()));
        }
        if !self.quality.grow(&market, wanted(&self.effect.sources, &market)) {
            return Err(ReconfigureError::Part("the quality of sources is not followed any more".into()));
        }
        metrics::name_sources(market.sources().iter().map(|source| source.name.clone()).collect());
        self.doors.grow(market.sources().iter().map(|source| source.id.0).collect(), market.source_table());
        let last_seen = never_seen(&market);
        let grown = self.pipeline.grow(groups, &market, &last_seen, PATIENCE);
        grown.map_err(|e| ReconfigureError::Part(e.to_string()))?;
        let removed = self.shown.now().removed.clone();
        self.shown.show(View { market: market.clone(), last_seen, removed });
        (self.effect.market, self.journaled) = (market, journaled);
        Ok(())
    }

    /// Stops, changes and starts connections, one after the other. What was done is in effect also when one fails.
    fn connect(&mut self, plan: &Plan<'_>, new: &Settings) -> Result<(), ReconfigureError> {
        let Some(feeds) = &self.feeds else { return Ok(()) };
        let feed = |spec: &SourceSpec, market: &Market| {
            feed_of(spec, market).map_err(|e| ReconfigureError::Part(e.to_string()))
        };
        for name in &plan.removed {
            if let Some(source) = self.effect.market.sources().iter().find(|source| source.name == *name) {
                feeds.remove(source.id)?.wait()?;
            }
            self.effect.sources.retain(|known| known.name != *name);
            self.effect.config.take_from(&new.config, &format!("sources.{name}"));
        }
        for spec in &plan.changed {
            let name = &spec.name;
            self.repairs.iter().for_each(|repairs| repairs.source(spec, &self.effect.market));
            feeds.replace(feed(spec, &self.effect.market)?)?.wait()?;
            if let Some(known) = self.effect.sources.iter_mut().find(|known| known.name == *name) {
                let (scope, owner, priority) = (known.scope, known.owner.clone(), known.priority);
                *known = SourceSpec { scope, owner, priority, ..(*spec).clone() };
            }
            let before = self.effect.config.clone();
            self.effect.config.take_from(&new.config, &format!("sources.{name}"));
            for key in ["scope", "owner", "priority"] {
                self.effect.config.take_from(&before, &format!("sources.{name}.{key}"));
            }
        }
        for spec in &plan.added {
            let name = &spec.name;
            self.repairs.iter().for_each(|repairs| repairs.source(spec, &self.effect.market));
            feeds.add(feed(spec, &self.effect.market)?)?.wait()?;
            self.effect.sources.push((*spec).clone());
            self.effect.config.take_from(&new.config, &format!("sources.{name}"));
        }
        Ok(())
    }

    /// Shows which sources are not wanted any more.
    fn show(&self) {
        let view = self.shown.now();
        let is_gone = |name: &str| self.effect.sources.iter().all(|known| known.name != name);
        let sources = self.effect.market.sources().iter().enumerate();
        let removed = sources.filter(|(_, source)| is_gone(&source.name)).map(|(at, _)| at).collect();
        self.shown.show(View { market: view.market.clone(), last_seen: Arc::clone(&view.last_seen), removed });
    }
}

/// Whether a key is that of the section or below it.
fn is_of(name: &str, section: &str) -> bool {
    name.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests;
