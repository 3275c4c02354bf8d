//! The whole configuration, every section parsed and checked against the others.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::pipeline::ThreadPlan;
use crate::config::{Config, ConfigError};
use crate::console::ConsoleConfig;
use crate::control::jobs::JobsConfig;
use crate::control::{InstrumentSpec, instruments};
use crate::fanout::FanoutConfig;
use crate::feeds::{self, IngestConfig, SourceSpec};
use crate::journal::JournalConfig;
use crate::market::{Holidays, Scope};
use crate::metrics::SOURCES_MAX;
use crate::repair::RepairConfig;
use crate::ring::Idle;
use crate::simulator;
use crate::stages::{self, Layout};
use crate::storage::StorageConfig;
use crate::storage::retention::RetentionConfig;

/// Sections that have no parser of their own here: the stages parse theirs when they are built.
const SECTIONS: &[&str] = &[
    "console",
    "fanout",
    "storage",
    "retention",
    "jobs",
    "journal",
    "pipeline",
    "ingest",
    "dedupe",
    "validate",
    "aggregate",
    "bars",
    "indicators",
    "gaps",
    "repair",
    "calendar",
    "instruments",
    "sources",
    "simulators",
];

/// A thread is pinned through a set of so many cores.
const CORES_MAX: usize = 1024;

/// The section `[pipeline]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelineConfig {
    groups: Vec<Vec<String>>,
    idle: Idle,
    cores: Vec<usize>,
    inbound_slots: usize,
    outbound_slots: usize,
}

/// Everything that `run` needs to know.
pub struct Settings {
    /// The raw tables, from which the stages take their sections.
    pub config: Config,
    /// The same without the connections of the control database.
    pub base: Config,
    /// The groups of stages.
    pub layout: Layout,
    /// How the pipeline's threads run.
    pub threads: ThreadPlan,
    /// Slots of the inbound ring.
    pub inbound_slots: usize,
    /// Slots of the outbound ring.
    pub outbound_slots: usize,
    /// Ingestion threads.
    pub ingest: IngestConfig,
    /// Broker connections.
    pub sources: Vec<SourceSpec>,
    /// What is traded.
    pub instruments: BTreeMap<String, InstrumentSpec>,
    /// Canonical names of the indicators.
    pub indicators: Vec<String>,
    /// Days on which classes do not trade.
    pub holidays: Holidays,
    /// How holes are mended.
    pub repair: RepairConfig,
    /// The durable log.
    pub journal: JournalConfig,
    /// The database.
    pub storage: StorageConfig,
    /// How long rows are kept.
    pub retention: RetentionConfig,
    /// How jobs are done.
    pub jobs: JobsConfig,
    /// QUIC.
    pub fanout: FanoutConfig,
    /// HTTP.
    pub console: ConsoleConfig,
    /// Simulated brokers to run beside the engine.
    pub simulators: BTreeMap<String, simulator::Config>,
}

impl Settings {
    /// Parses every section and checks them against each other.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key, its origin and what was expected.
    pub fn new(config: Config) -> Result<Settings, ConfigError> {
        config.only_sections(SECTIONS)?;
        let pipeline: PipelineConfig = config.section("pipeline")?;
        let layout =
            Layout::new(pipeline.groups.clone()).map_err(|e| config.bad_key("pipeline.groups", e.to_string()))?;
        let mut ingest = feeds::config::ingest(&config)?;
        let journal = JournalConfig::parse(&config)?;
        ingest.snapshot_every_ms = journal.snapshot_every_s * 1000;
        // The multi-producer ring wants at least 64 slots, both want a power of two.
        for (key, slots) in [("inbound_slots", pipeline.inbound_slots), ("outbound_slots", pipeline.outbound_slots)] {
            if !slots.is_power_of_two() || !(64..=1 << 24).contains(&slots) {
                let problem = format!("{slots}, expected a power of two from 64 to 16777216");
                return Err(config.bad_key(&format!("pipeline.{key}"), problem));
            }
        }
        for (key, cores) in [("pipeline.cores", &pipeline.cores), ("ingest.cores", &ingest.cores)] {
            if let Some(core) = cores.iter().find(|core| **core >= CORES_MAX) {
                return Err(config.bad_key(key, format!("{core} is no core, expected a number below {CORES_MAX}")));
            }
        }
        let settings = Settings {
            layout,
            threads: ThreadPlan { idle: pipeline.idle, cores: pipeline.cores },
            inbound_slots: pipeline.inbound_slots,
            outbound_slots: pipeline.outbound_slots,
            ingest,
            sources: feeds::config::sources(&config)?,
            instruments: instruments(&config)?,
            indicators: stages::indicators::names(&config)?,
            holidays: config.section("calendar")?,
            repair: RepairConfig::parse(&config)?,
            journal,
            storage: StorageConfig::parse(&config)?,
            retention: RetentionConfig::parse(&config)?,
            jobs: JobsConfig::parse(&config)?,
            fanout: FanoutConfig::from_config(&config)?,
            console: ConsoleConfig::parse(&config)?,
            simulators: simulator::parse(&config)?,
            base: config.clone(),
            config,
        };
        settings.check_sources()?;
        Ok(settings)
    }

    /// The same with the configuration that connections of the control database were added to.
    #[must_use]
    pub fn over(self, base: Config) -> Settings {
        Settings { base, ..self }
    }

    fn check_sources(&self) -> Result<(), ConfigError> {
        if self.sources.len() > SOURCES_MAX {
            let problem = format!("{} sources, expected at most {SOURCES_MAX}", self.sources.len());
            return Err(self.config.bad_key("sources", problem));
        }
        for source in &self.sources {
            let key = format!("sources.{}", source.name);
            let unknown = source.symbols.iter().find(|symbol| !self.instruments.contains_key(&symbol.canonical));
            if let Some(symbol) = unknown {
                let problem = format!(
                    "{} is no instrument, expected a section [instruments.{}]",
                    symbol.canonical, symbol.canonical
                );
                return Err(self.config.bad_key(&format!("{key}.symbols"), problem));
            }
            if source.scope == Scope::Private && source.owner.is_empty() {
                let problem = "not set, expected the user whom the private source belongs to";
                return Err(self.config.bad_key(&format!("{key}.owner"), problem));
            }
            if source.name == "best" {
                return Err(self.config.bad_key(&key, "`best` is the name of the common price, expected another name"));
            }
        }
        Ok(())
    }
}
