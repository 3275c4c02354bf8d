//! Every counter and gauge, declared once. A way to lose, delay or refuse an event that is not counted here is a bug.
//!
//! They are statics: a hot thread adds to one with a relaxed atomic and needs no handle. Those with a label per source
//! hold one cell for each possible source; dense source indices are given at start by the runtime.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;
use tickwire_schemas::words::{Cause, Check, GapState, RepairStep, Verdict};

/// Most sources one engine holds: the per-source cells are laid out for it (256 sources x 4 verdicts x 8 bytes = 8 KiB).
pub const SOURCES_MAX: usize = 256;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Counter(AtomicU64::new(0))
    }
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    const fn new() -> Self {
        Gauge(AtomicI64::new(0))
    }
    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }
    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// The value now.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// One counter per source and per one of `N` further label values.
#[derive(Debug)]
pub struct PerSource<const N: usize>([[Counter; N]; SOURCES_MAX]);

impl<const N: usize> PerSource<N> {
    const fn new() -> Self {
        PerSource([const { [const { Counter::new() }; N] }; SOURCES_MAX])
    }
    /// The counter of the source with this dense index and of label value `label`; both are reduced into range.
    pub fn at(&self, source_index: usize, label: usize) -> &Counter {
        &self.0[source_index % SOURCES_MAX][label % N]
    }
}

/// One gauge per source.
#[derive(Debug)]
pub struct GaugePerSource([Gauge; SOURCES_MAX]);

impl GaugePerSource {
    const fn new() -> Self {
        GaugePerSource([const { Gauge::new() }; SOURCES_MAX])
    }
    /// The gauge of the source with this dense index, reduced into range.
    pub fn at(&self, source_index: usize) -> &Gauge {
        &self.0[source_index % SOURCES_MAX]
    }
}

static SOURCE_NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Names the dense source indices, at start and when there are more.
pub fn name_sources(names: Vec<String>) {
    let mut known = SOURCE_NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    // A second engine in one process (tests) keeps the first one's names.
    if names.starts_with(&known) {
        *known = names;
    }
}

macro_rules! metrics {
    (counters { $($c:ident $cname:literal $chelp:literal,)* }
     gauges { $($g:ident $gname:literal $ghelp:literal,)* }) => {
        $(#[doc = $chelp] pub static $c: Counter = Counter::new();)*
        $(#[doc = $ghelp] pub static $g: Gauge = Gauge::new();)*

        fn render_plain(out: &mut String) {
            $(let _ = write!(out, "# HELP tickwire_{0} {1}\n# TYPE tickwire_{0} counter\ntickwire_{0} {2}\n", $cname, $chelp, $c.get());)*
            $(let _ = write!(out, "# HELP tickwire_{0} {1}\n# TYPE tickwire_{0} gauge\ntickwire_{0} {2}\n", $gname, $ghelp, $g.get());)*
        }
    };
}

metrics! {
    counters {
        RECORDS "records_total" "Outbound records of every kind.",
        QUOTES "quotes_total" "Quotes published.",
        PIPELINE_WAITS "pipeline_waits_total" "Times the pipeline waited for room in the outbound ring.",
        PARK_BACKSTOPS "park_backstops_total" "Parked consumers that the 1 ms backstop found work for.",
        JOURNAL_BYTES "journal_bytes_total" "Bytes written to journal segments.",
        JOURNAL_SYNCS "journal_syncs_total" "fdatasync calls of the journal.",
        JOURNAL_QUEUE_FULL "journal_queue_full_total" "Times the journal's memory queue was full.",
        JOURNAL_ERRORS "journal_errors_total" "Failed writes or syncs of the journal, each retried.",
        JOURNAL_DAMAGE "journal_damage_total" "Damaged or missing places found while reading the journal.",
        JOURNAL_SNAPSHOTS "journal_snapshots_total" "Snapshots of stage state written.",
        STORAGE_ROWS "storage_rows_total" "Rows acknowledged by the database.",
        STORAGE_BATCHES "storage_batches_total" "Batches acknowledged by the database.",
        STORAGE_RETRIES "storage_retries_total" "Batches sent again.",
        STORAGE_REFUSED "storage_refused_total" "Batches that the database refused; each is offered again.",
        STORAGE_UNREADABLE "storage_unreadable_total" "Journaled records that could not be read as a record.",
        STAGE_LATENCY_LOST "stage_latency_lost_total" "Rows of stage_latency that were not stored: no room, or the database did not take them.",
        SOURCE_QUALITY_LOST "source_quality_lost_total" "Rows of source_quality that were not stored: no room, or the database did not take them.",
        REPAIR_REQUESTS "repair_requests_total" "Requests for past bars and ticks, to mend holes.",
        REPAIR_FAILURES "repair_failures_total" "Of those, requests that failed; each is made again or its holes are lost.",
        REPAIR_TICKS "repair_ticks_total" "Past ticks stored to mend holes.",
        REPAIRS_OVERFLOWED "repairs_overflowed_total" "Holes that were lost because too many waited to be mended.",
        STORE_RESTARTS "store_restarts_total" "Starts of the embedded store after the first.",
        TERMINALS_REFUSED "terminals_refused_total" "Terminals turned away: bad token, version, or too many.",
        TERMINALS_CLOSED "terminals_closed_total" "Terminals closed by the engine: protocol error or too far behind.",
        ALERT_WEBHOOKS_SENT "alert_webhooks_sent_total" "Messages about alerts that a webhook took.",
        ALERT_WEBHOOK_FAILURES "alert_webhook_failures_total" "Attempts to send one that failed; each is made again.",
        ALERT_WEBHOOKS_DROPPED "alert_webhooks_dropped_total" "Messages that were given up, or had to go for want of room.",
        FANOUT_ENCODES "fanout_encodes_total" "Frames encoded for terminals.",
        FANOUT_COPIES "fanout_copies_total" "Records copied out of the outbound ring.",
        FANOUT_DELIVERIES "fanout_deliveries_total" "Records handed to terminals' connections.",
        FANOUT_CONFLATED "fanout_conflated_total" "Records replaced by a newer one before a terminal took them.",
        FANOUT_BYTES "fanout_bytes_total" "Bytes handed to terminals' connections.",
        FANOUT_PACKETS "fanout_packets_total" "Packets that the loop sent to terminals.",
        FANOUT_SENDS "fanout_sends_total" "System calls that it took to send them.",
        FANOUT_PACKETS_REFUSED "fanout_packets_refused_total" "Packets that the kernel refused, as one too long for the path.",
        FANOUT_SENDS_BLOCKED "fanout_sends_blocked_total" "Times that the kernel had no room for packets to terminals.",
    }
    gauges {
        TERMINALS "terminals" "Terminals connected.",
        FANOUT_THREADS "fanout_threads" "Threads that serve terminals.",
        STORAGE_LAG_ROWS "storage_lag_rows" "Journaled rows that the database has not acknowledged.",
        STORAGE_LAG_MS "storage_lag_ms" "Age of the oldest journaled row that the database has not acknowledged.",
        JOURNAL_WAITING "journal_waiting" "1 while the journal's memory queue is full and the pipeline waits for it.",
        REPAIRS_PENDING "repairs_pending" "Closed holes that wait to be mended.",
        BROKER_SOCKETS "broker_sockets" "Sockets held to brokers.",
    }
}

/// The latency of the last few seconds, in nanoseconds, handed over by the thread that measures.
pub struct LatencyCell(Mutex<Option<Histogram<u64>>>);

impl LatencyCell {
    const fn new() -> Self {
        LatencyCell(Mutex::new(None))
    }

    /// A histogram of the right bounds: 1 ns to 10 s, two digits.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "constants that the constructor accepts")]
    pub fn histogram() -> Histogram<u64> {
        #[allow(clippy::expect_used, reason = "constants that the constructor accepts")]
        Histogram::new_with_bounds(1, 10_000_000_000, 2).expect("valid bounds")
    }

    /// Exchanges a full histogram for the last one, emptied. Never waits: false when the console is reading just now.
    pub fn offer(&self, full: &mut Histogram<u64>) -> bool {
        let Ok(mut cell) = self.0.try_lock() else { return false };
        match cell.as_mut() {
            Some(old) => std::mem::swap(old, full),
            None => *cell = Some(std::mem::replace(full, Self::histogram())),
        }
        full.reset();
        true
    }

    /// Count, and the values in nanoseconds at `quantiles`; `None` before the first exchange.
    pub fn read<const N: usize>(&self, quantiles: [f64; N]) -> Option<(u64, [u64; N])> {
        let cell = self.0.lock().ok()?;
        let histogram = cell.as_ref()?;
        Some((histogram.len(), quantiles.map(|q| histogram.value_at_quantile(q))))
    }
}

/// What each stage took over an input, by name.
static STAGES: Mutex<Vec<(&'static str, Histogram<u64>)>> = Mutex::new(Vec::new());

/// Shows what the stages took in the last seconds; gives back what was shown before, emptied.
pub fn show_stages(stages: &mut Vec<(&'static str, Histogram<u64>)>) {
    if let Ok(mut shown) = STAGES.lock() {
        std::mem::swap(&mut *shown, stages);
    }
    stages.iter_mut().for_each(|(_, histogram)| histogram.reset());
}

/// What each stage took over the last seconds: its name, how many inputs were measured, the values in nanoseconds at
/// `quantiles`, and the greatest. Stage `all` is the last group as a whole.
#[must_use]
pub fn read_stages<const N: usize>(quantiles: [f64; N]) -> Vec<(&'static str, u64, [u64; N], u64)> {
    let of = |name, histogram: &Histogram<u64>| {
        (name, histogram.len(), quantiles.map(|q| histogram.value_at_quantile(q)), histogram.max())
    };
    let whole = STAGE_LATENCY.0.lock().ok().and_then(|cell| cell.as_ref().map(|histogram| of("all", histogram)));
    let stages = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let each = stages.iter().filter(|(_, histogram)| !histogram.is_empty());
    each.map(|(name, histogram)| of(name, histogram)).chain(whole).collect()
}

/// The alerts of one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertCounts {
    /// Word of the rule.
    pub rule: &'static str,
    /// Raised now.
    pub raised: u64,
    /// In trouble, and not yet for long enough.
    pub pending: u64,
    /// Raised in this run.
    pub raised_total: u64,
    /// Cleared in this run.
    pub cleared_total: u64,
}

static ALERTS: Mutex<Vec<AlertCounts>> = Mutex::new(Vec::new());

/// Shows how many alerts there are, by rule.
pub fn show_alerts(counts: Vec<AlertCounts>) {
    *ALERTS.lock().unwrap_or_else(PoisonError::into_inner) = counts;
}

fn render_alerts(out: &mut String) {
    let rules = ALERTS.lock().unwrap_or_else(PoisonError::into_inner);
    out.push_str(
        "# HELP tickwire_alerts Alerts that are raised, and troubles that may become one.\n# TYPE tickwire_alerts gauge\n",
    );
    for AlertCounts { rule, raised, pending, .. } in rules.iter() {
        let _ = writeln!(out, "tickwire_alerts{{rule=\"{rule}\",state=\"raised\"}} {raised}");
        let _ = writeln!(out, "tickwire_alerts{{rule=\"{rule}\",state=\"pending\"}} {pending}");
    }
    out.push_str(
        "# HELP tickwire_alerts_total Alerts of this run, raised and cleared.\n# TYPE tickwire_alerts_total counter\n",
    );
    for AlertCounts { rule, raised_total, cleared_total, .. } in rules.iter() {
        let _ = writeln!(out, "tickwire_alerts_total{{rule=\"{rule}\",state=\"raised\"}} {raised_total}");
        let _ = writeln!(out, "tickwire_alerts_total{{rule=\"{rule}\",state=\"cleared\"}} {cleared_total}");
    }
}

/// Time of an input in the pipeline.
pub static STAGE_LATENCY: LatencyCell = LatencyCell::new();
/// From the socket's read to publication.
pub static PUBLISH_LATENCY: LatencyCell = LatencyCell::new();

/// Threads that a fan-out can have.
const FANOUT_THREADS_MAX: usize = 16;

/// Records that the journal, and behind it each thread of the fan-out, took out of the outbound ring: what [`RECORDS`] has
/// more is in it.
pub static OUTBOUND_TAKEN: [Counter; 1 + FANOUT_THREADS_MAX] = [const { Counter::new() }; 1 + FANOUT_THREADS_MAX];

/// Terminals connected to each thread of the fan-out, of which there are [`FANOUT_THREADS`].
pub static THREAD_TERMINALS: [Gauge; FANOUT_THREADS_MAX] = [const { Gauge::new() }; FANOUT_THREADS_MAX];

/// Ticks and trades by verdict.
pub static TICKS: PerSource<4> = PerSource::new();
/// Failed or flagged checks; the label is the check's code.
pub static CHECKS: PerSource<16> = PerSource::new();
/// Frames that could not be decoded.
pub static DECODE_ERRORS: PerSource<1> = PerSource::new();
/// Inputs refused by a full inbound ring.
pub static INPUTS_DROPPED: PerSource<1> = PerSource::new();
/// Ticks and trades too late to change their bar.
pub static LATE_TICKS: PerSource<1> = PerSource::new();
/// Holes by what came of them: see [`gap_cell`]. Counted by the thread that follows the journal.
pub static GAPS: PerSource<{ Cause::ALL.len() * GapState::ALL.len() }> = PerSource::new();
/// What the venues' histories said of holes; the label is the step's code.
pub static REPAIRS: PerSource<{ RepairStep::ALL.len() }> = PerSource::new();
/// Connections made after the first.
pub static RECONNECTS: PerSource<1> = PerSource::new();
/// Receive time of the last tick or trade, nanoseconds UTC; 0 before the first.
pub static LAST_DATA_NS: GaugePerSource = GaugePerSource::new();
/// Receive time less the source's stamp of the last stamped tick, microseconds.
pub static LATENCY_US: GaugePerSource = GaugePerSource::new();
/// [`tickwire_schemas::words::SourceStatus`] code.
pub static STATUS: GaugePerSource = GaugePerSource::new();

/// The label value of [`GAPS`] for a cause and a state.
#[must_use]
pub const fn gap_cell(cause: Cause, state: GapState) -> usize {
    cause as usize * GapState::ALL.len() + state as usize
}

/// The exposition in Prometheus' text format of everything declared here.
#[must_use]
pub fn render() -> String {
    let mut out = String::with_capacity(8192);
    render_plain(&mut out);
    let names = SOURCE_NAMES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let names = names.as_slice();
    let verdicts: Vec<_> = Verdict::ALL.iter().map(|v| v.word()).collect();
    let checks: Vec<_> = Check::ALL.iter().map(|c| c.word()).collect();
    render_labelled(&mut out, names, "ticks_total", "Ticks and trades by verdict.", "verdict", &verdicts, &TICKS);
    render_labelled(&mut out, names, "check_failed_total", "Failed or flagged checks.", "check", &checks, &CHECKS);
    render_labelled(
        &mut out,
        names,
        "decode_errors_total",
        "Frames that could not be decoded.",
        "",
        &[""],
        &DECODE_ERRORS,
    );
    render_labelled(
        &mut out,
        names,
        "inputs_dropped_total",
        "Inputs refused by a full ring.",
        "",
        &[""],
        &INPUTS_DROPPED,
    );
    render_labelled(&mut out, names, "late_ticks_total", "Too late to change their bar.", "", &[""], &LATE_TICKS);
    render_labelled(&mut out, names, "reconnects_total", "Connections after the first.", "", &[""], &RECONNECTS);
    let steps: Vec<_> = RepairStep::ALL.iter().map(|s| s.word()).collect();
    let help = "Bars fetched for holes, and ends of repairs.";
    render_labelled(&mut out, names, "repairs_total", help, "step", &steps, &REPAIRS);
    render_gaps(&mut out, names);
    render_threads(&mut out);
    render_alerts(&mut out);
    render_stages(&mut out);
    summary_head(&mut out, "publish_latency_ns", "From socket read to publication, last seconds.");
    if let Some((count, values)) = PUBLISH_LATENCY.read(QUANTILES) {
        render_quantiles(&mut out, "publish_latency_ns", "", count, values);
    }
    out.push_str("# HELP tickwire_source_up 1 when live.\n# TYPE tickwire_source_up gauge\n");
    for (index, name) in names.iter().enumerate() {
        let _ = writeln!(out, "tickwire_source_up{{source=\"{name}\"}} {}", u8::from(STATUS.at(index).get() == 1));
    }
    out
}

/// Of the many causes only those that occurred.
fn render_gaps(out: &mut String, names: &[String]) {
    out.push_str(
        "# HELP tickwire_gaps_total Holes by cause and what came of them.\n# TYPE tickwire_gaps_total counter\n",
    );
    for (source, name) in names.iter().enumerate() {
        for (cause, state) in Cause::ALL.iter().flat_map(|cause| GapState::ALL.iter().map(move |state| (cause, state)))
        {
            let count = GAPS.at(source, gap_cell(*cause, *state)).get();
            if count > 0 {
                let _ = writeln!(
                    out,
                    "tickwire_gaps_total{{source=\"{name}\",cause=\"{cause}\",state=\"{state}\"}} {count}"
                );
            }
        }
    }
}

fn render_threads(out: &mut String) {
    out.push_str(
        "# HELP tickwire_thread_terminals Terminals by the thread that serves them.\n\
         # TYPE tickwire_thread_terminals gauge\n",
    );
    let threads = usize::try_from(FANOUT_THREADS.get()).unwrap_or(0);
    for (thread, terminals) in THREAD_TERMINALS.iter().enumerate().take(threads) {
        let _ = writeln!(out, "tickwire_thread_terminals{{thread=\"{thread}\"}} {}", terminals.get());
    }
}

const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// The group as a whole is stage `all`.
fn render_stages(out: &mut String) {
    let name = "stage_latency_ns";
    summary_head(out, name, "Time of an input in a stage, and in the last group as a whole (all), last seconds.");
    if let Some((count, values)) = STAGE_LATENCY.read(QUANTILES) {
        render_quantiles(out, name, "all", count, values);
    }
    let Ok(stages) = STAGES.lock() else { return };
    for (stage, histogram) in stages.iter().filter(|(_, histogram)| !histogram.is_empty()) {
        render_quantiles(out, name, stage, histogram.len(), QUANTILES.map(|q| histogram.value_at_quantile(q)));
    }
}

fn summary_head(out: &mut String, metric: &str, help: &str) {
    let _ = write!(out, "# HELP tickwire_{metric} {help}\n# TYPE tickwire_{metric} summary\n");
}

fn render_quantiles(out: &mut String, metric: &str, stage: &str, count: u64, values: [u64; QUANTILES.len()]) {
    let (first, only) = match stage {
        "" => (String::new(), String::new()),
        stage => (format!("stage=\"{stage}\","), format!("{{stage=\"{stage}\"}}")),
    };
    for (quantile, value) in QUANTILES.iter().zip(values) {
        let _ = writeln!(out, "tickwire_{metric}{{{first}quantile=\"{quantile}\"}} {value}");
    }
    let _ = writeln!(out, "tickwire_{metric}_count{only} {count}");
}

fn render_labelled<const N: usize>(
    out: &mut String,
    names: &[String],
    metric: &str,
    help: &str,
    label: &str,
    values: &[&str],
    cells: &PerSource<N>,
) {
    let _ = write!(out, "# HELP tickwire_{metric} {help}\n# TYPE tickwire_{metric} counter\n");
    for (source, name) in names.iter().enumerate() {
        for (at, value) in values.iter().enumerate() {
            let extra = if label.is_empty() { String::new() } else { format!(",{label}=\"{value}\"") };
            let _ = writeln!(out, "tickwire_{metric}{{source=\"{name}\"{extra}}} {}", cells.at(source, at).get());
        }
    }
}
