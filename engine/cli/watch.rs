//! `tickwire watch`: a terminal that shows records as a live table, as lines of text, or as JSON.

use std::collections::HashMap;
use std::future::ready;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use tickwire_schemas::words::{BarState, Cause, GapState, Origin, QuoteState, SourceStatus, Timeframe, Verdict};
use tickwire_schemas::{NO_NUMBER, NO_PRICE, NO_SIZE, NO_TIME, SOURCE_BEST};
use tickwire_terminal::schemas::control::Catalogue;
use tickwire_terminal::{Data, Delivery, Event, Follow, Followed, Kind, Subscribe, Target, Terminal, Trust};

use crate::config::Secret;
use crate::market::{Price, Size};

mod table;

/// What to watch and how to show it.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Where the local engine leaves `engine.json`.
    pub state_dir: PathBuf,
    /// `HOST:PORT` of the engine; the local one when absent.
    pub connect: Option<String>,
    /// SHA-256 of its certificate; needed with `connect` unless the local engine listens there.
    pub fingerprint: Option<String>,
    /// Reference to the token: `env:NAME`, `file:PATH` or the token itself; anonymous when absent.
    pub token: Option<String>,
    /// Symbols or globs; all when empty.
    pub symbols: Vec<String>,
    /// Words of kinds; `quote` when empty.
    pub kinds: Vec<String>,
    /// Names of sources or globs; when empty the common price for quotes and all there are for the rest.
    pub sources: Vec<String>,
    /// `latest` or `all`.
    pub delivery: Delivery,
    /// Stop after so many records.
    pub limit: Option<u64>,
    /// One JSON object a line.
    pub json: bool,
    /// One line of text a record, even on a terminal.
    pub plain: bool,
}

/// Watches until the limit, the end of the output, or a key.
///
/// # Errors
/// One sentence: no engine, connection refused, wrong certificate or token, unknown symbol or kind.
pub fn run(options: &WatchOptions) -> Result<ExitCode, String> {
    let WatchOptions { connect, fingerprint, token, .. } = options;
    let target = find(&options.state_dir, connect.as_deref(), fingerprint.as_deref(), token.as_deref())?;
    let request = request(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let as_table = !options.json && !options.plain && options.limit.is_none() && io::stdout().is_terminal();
    let mut follow = Follow::new(target.clone(), request);
    runtime.block_on(async {
        let catalogue = first_connection(&mut follow, &target).await?;
        if as_table {
            return table::show(follow, catalogue, target.address).await;
        }
        let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        let shown = print(&mut follow, Names::new(&catalogue), options, &mut out).await;
        match shown.and_then(|()| out.flush().map_err(Stopped::Output)) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            // Whoever read this has enough: `watch | head` is no failure.
            Err(Stopped::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            Err(Stopped::Output(error)) => Err(format!("standard output: {error}")),
            Err(Stopped::Engine(reason)) => Err(reason),
        }
    })
}

/// What the running engine says of itself.
#[derive(Deserialize)]
struct EngineFile {
    quic: SocketAddr,
    fingerprint: String,
}

/// The engine that `--connect`, `--fingerprint` and `--token` name; the local one of `state_dir` where they are left out.
pub(super) fn find(
    state_dir: &Path,
    connect: Option<&str>,
    fingerprint: Option<&str>,
    token: Option<&str>,
) -> Result<Target, String> {
    let token = token.map(Secret::new).map_or(Ok(String::new()), |secret| secret.resolve());
    let token = token.map_err(|e| format!("--token: {e}"))?;
    let local = || local_engine(state_dir);
    let (address, fingerprint) = match (connect, fingerprint) {
        (None, fingerprint) => {
            let engine = local()?;
            (engine.quic, fingerprint.map_or(engine.fingerprint, String::from))
        }
        (Some(connect), Some(fingerprint)) => (resolve(connect)?, fingerprint.into()),
        (Some(connect), None) => {
            let address = resolve(connect)?;
            let known = local().ok().filter(|engine| engine.quic == address);
            let engine =
                known.ok_or("--connect needs --fingerprint: the one that `tickwire run` printed over there")?;
            (address, engine.fingerprint)
        }
    };
    Ok(Target { address, trust: Trust::Fingerprint(fingerprint), token })
}

fn resolve(connect: &str) -> Result<SocketAddr, String> {
    let found = connect.to_socket_addrs().map_err(|e| format!("--connect {connect}: {e}; expected HOST:PORT"))?.next();
    found.ok_or_else(|| format!("--connect {connect}: the name has no address"))
}

fn local_engine(state_dir: &Path) -> Result<EngineFile, String> {
    let path = state_dir.join("engine.json");
    let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "no engine runs here ({} does not exist): start one with `tickwire run`, or name one with --connect",
                path.display()
            )
        }
        _ => format!("{}: {e}", path.display()),
    })?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn request(options: &WatchOptions) -> Result<Subscribe, String> {
    let mut request = Terminal::request();
    request.symbols = if options.symbols.is_empty() { vec!["*".into()] } else { options.symbols.clone() };
    request.delivery = options.delivery;
    request.sources = (!options.sources.is_empty()).then(|| options.sources.clone());
    if !options.kinds.is_empty() {
        request.kinds = kinds(&options.kinds)?;
    }
    Ok(request)
}

/// The kinds that `--kinds` names.
pub(super) fn kinds(words: &[String]) -> Result<Vec<Kind>, String> {
    let kind = |word: &String| Kind::from_word(word).ok_or_else(|| format!("--kinds: there is no kind {word}"));
    words.iter().map(kind).collect()
}

/// The first connection has to succeed; later ones are tried again for as long as it takes.
async fn first_connection(follow: &mut Follow, target: &Target) -> Result<Catalogue, String> {
    match follow.next().await {
        Ok(Followed::Connected { welcome, .. }) => Ok(welcome.catalogue),
        Ok(Followed::Lost { error, .. }) => Err(format!("{error}; is the engine running?")),
        Err(error) => Err(error.to_string()),
        Ok(Followed::Event(_)) => Err(format!("{} spoke before it was connected", target.address)),
    }
}

enum Stopped {
    Output(io::Error),
    Engine(String),
}

async fn print(
    follow: &mut Follow,
    mut names: Names,
    options: &WatchOptions,
    out: &mut impl Write,
) -> Result<(), Stopped> {
    let mut left = options.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let followed = tokio::select! {
            biased;
            followed = follow.next() => followed,
            // Nothing at once: show what there is before waiting.
            () = ready(()) => {
                out.flush().map_err(Stopped::Output)?;
                follow.next().await
            }
        };
        match followed.map_err(|e| Stopped::Engine(e.to_string()))? {
            Followed::Event(Event::Record { data, skipped, .. }) => {
                let line = Line::new(&data, skipped, &names);
                line.write(options.json, out).map_err(Stopped::Output)?;
                left -= 1;
            }
            Followed::Event(Event::Catalogue(catalogue)) => names = Names::new(&catalogue),
            Followed::Event(_) => {}
            Followed::Connected { welcome, .. } => names = Names::new(&welcome.catalogue),
            Followed::Lost { error, retry_in } => eprintln!("{error}; trying again in {} ms", retry_in.as_millis()),
        }
    }
    Ok(())
}

/// Names of the ids in records.
struct Names {
    instruments: HashMap<u32, String>,
    sources: HashMap<u32, String>,
    indicators: HashMap<u32, String>,
}

impl Names {
    fn new(catalogue: &Catalogue) -> Self {
        let instruments = catalogue.instruments.iter().map(|i| (i.id, i.symbol.clone())).collect();
        let sources = catalogue.sources.iter().map(|s| (s.id, s.name.clone())).collect();
        let indicators = catalogue.indicators.iter().map(|i| (i.id, i.name.clone())).collect();
        Names { instruments, sources, indicators }
    }

    fn instrument(&self, id: u32) -> Option<&str> {
        self.instruments.get(&id).map(String::as_str)
    }

    fn source(&self, id: u32) -> Option<&str> {
        if id == SOURCE_BEST { None } else { self.sources.get(&id).map(String::as_str) }
    }
}

/// One line of `--json`. The last eight fields are there for other kinds than quotes only.
#[derive(Serialize, Default)]
struct Line<'a> {
    kind: &'static str,
    symbol: Option<&'a str>,
    bid: Option<String>,
    ask: Option<String>,
    bid_source: Option<&'a str>,
    ask_source: Option<&'a str>,
    sources: Option<u16>,
    state: Option<&'static str>,
    epoch: u32,
    seq: u64,
    chain: u64,
    skipped: u64,
    ts_event_ns: Option<i64>,
    ts_recv_ns: Option<i64>,
    ts_publish_ns: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap_epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeframe: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_ts_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    indicator: Option<&'a str>,
}

fn price(e9: i64) -> Option<String> {
    Price::from_e9(e9).filter(|_| e9 != NO_PRICE).map(|p| p.to_string())
}

fn time(ns: i64) -> Option<i64> {
    (ns != NO_TIME).then_some(ns)
}

impl<'a> Line<'a> {
    fn new(data: &Data, skipped: u64, names: &'a Names) -> Self {
        let head = data.head();
        let source = names.source(head.source_id);
        let mut line = Line {
            kind: data.kind().word(),
            symbol: names.instrument(head.instrument_id),
            epoch: head.epoch,
            seq: head.seq,
            chain: head.chain,
            skipped,
            ts_publish_ns: head.ts_publish_ns,
            ..Line::default()
        };
        match data {
            Data::Quote(quote) => {
                (line.bid, line.ask) = (price(quote.bid_e9), price(quote.ask_e9));
                (line.bid_source, line.ask_source) =
                    (names.source(quote.bid_source_id), names.source(quote.ask_source_id));
                line.sources = Some(quote.sources);
                line.state = QuoteState::from_code(quote.state).map(QuoteState::word);
                (line.ts_event_ns, line.ts_recv_ns) = (time(quote.ts_event_ns), time(quote.ts_recv_ns));
                return line;
            }
            Data::Tick(tick) => {
                (line.bid, line.ask) = (price(tick.bid_e9), price(tick.ask_e9));
                line.state = Verdict::from_code(tick.verdict).map(Verdict::word);
                (line.ts_event_ns, line.ts_recv_ns) = (time(tick.ts_event_ns), time(tick.ts_recv_ns));
            }
            Data::Trade(trade) => {
                line.price = price(trade.price_e9);
                line.size =
                    (trade.size_e8 != NO_SIZE).then(|| Size::from_e8(trade.size_e8)).flatten().map(|s| s.to_string());
                line.state = Verdict::from_code(trade.verdict).map(Verdict::word);
                (line.ts_event_ns, line.ts_recv_ns) = (time(trade.ts_event_ns), time(trade.ts_recv_ns));
            }
            Data::Gap(gap) => {
                line.state = GapState::from_code(gap.state).map(GapState::word);
                line.cause = Cause::from_code(gap.cause).map(Cause::word);
                line.ts_recv_ns = time(gap.ts_recv_ns);
                (line.from_ns, line.to_ns) = (time(gap.from_ns), time(gap.to_ns));
                (line.gap_epoch, line.gap_id) = (Some(gap.gap_epoch), Some(gap.gap_id));
                line.lost = (gap.lost != NO_NUMBER).then_some(gap.lost);
            }
            Data::SourceState(state) => {
                line.state = SourceStatus::from_code(state.status).map(SourceStatus::word);
                line.cause = Cause::from_code(state.cause).map(Cause::word);
                line.ts_recv_ns = time(state.ts_recv_ns);
            }
            Data::Bar(bar) => {
                line.price = price(bar.mid.close_e9);
                (line.bid, line.ask) = (price(bar.bid.close_e9), price(bar.ask.close_e9));
                line.timeframe = Timeframe::from_code(bar.timeframe).map(Timeframe::word);
                line.origin = Origin::from_code(bar.origin).map(Origin::word);
                line.state = BarState::from_code(bar.state).map(BarState::word);
                (line.open_ts_ns, line.revision) = (Some(bar.open_ts_ns), Some(bar.revision));
            }
            Data::Indicator(indicator) => {
                line.price = indicator.values()[0].map(|value| value.to_string());
                line.timeframe = Timeframe::from_code(indicator.timeframe).map(Timeframe::word);
                line.indicator = names.indicators.get(&indicator.indicator_id).map(String::as_str);
            }
        }
        line.source = source;
        line
    }

    fn write(&self, json: bool, out: &mut impl Write) -> io::Result<()> {
        if json {
            serde_json::to_writer(&mut *out, self)?;
            return out.write_all(b"\n");
        }
        let text = |value: Option<&str>| value.unwrap_or("-").to_string();
        write!(
            out,
            "{:<12} {:<10} {:>14} {:>14} {:<20} {:<8} chain {} skipped {}",
            self.kind,
            text(self.symbol),
            text(self.bid.as_deref().or(self.price.as_deref())),
            text(self.ask.as_deref()),
            match self.source {
                Some(source) => source.to_string(),
                None => format!("{}/{}", text(self.bid_source), text(self.ask_source)),
            },
            text(self.state.or(self.cause)),
            self.chain,
            self.skipped,
        )?;
        if let Some(timeframe) = self.timeframe {
            write!(out, " {timeframe}")?;
        }
        if let Some(indicator) = self.indicator {
            write!(out, " {indicator}")?;
        }
        out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tickwire_schemas::NO_VALUE;
    use tickwire_schemas::record::{Head, Indicator, Quote};
    use tickwire_terminal::schemas::control::{IndicatorEntry, InstrumentEntry, SourceEntry};

    #[test]
    fn a_line_of_json_has_exactly_the_documented_fields() {
        let instrument =
            InstrumentEntry { id: 3, symbol: "EURUSD".into(), class: "fx".into(), digits: 5, pip_e9: 100_000 };
        let source = SourceEntry { id: 7, name: "oanda".into(), scope: "global".into() };
        let ema = IndicatorEntry { id: 5, name: "EMA(20)".into() };
        let names =
            Names::new(&Catalogue { instruments: vec![instrument], sources: vec![source], indicators: vec![ema] });
        let head = Head { epoch: 2, seq: 10, chain: 4, source_id: 0, instrument_id: 3, ts_publish_ns: 30 };
        let quote = Quote {
            head,
            ts_event_ns: NO_TIME,
            ts_recv_ns: 20,
            bid_e9: 1_085_100_000,
            ask_e9: NO_PRICE,
            bid_size_e8: NO_SIZE,
            ask_size_e8: NO_SIZE,
            bid_source_id: 7,
            ask_source_id: 0,
            sources: 1,
            state: 1,
            flags: 0,
        };
        let mut out = Vec::new();
        Line::new(&Data::Quote(quote), 5, &names).write(true, &mut out).unwrap();
        let expected = r#"{"kind":"quote","symbol":"EURUSD","bid":"1.0851","ask":null,"bid_source":"oanda","ask_source":null,"sources":1,"state":"single","epoch":2,"seq":10,"chain":4,"skipped":5,"ts_event_ns":null,"ts_recv_ns":20,"ts_publish_ns":30}"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
        let value = Indicator {
            head,
            values_bits: [1.5_f64.to_bits(), NO_VALUE, NO_VALUE, NO_VALUE],
            indicator_id: 5,
            timeframe: Timeframe::M1.code(),
            ..Indicator::default()
        };
        let line = |json| {
            let mut out = Vec::new();
            Line::new(&Data::Indicator(value), 0, &names).write(json, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let expected = r#""price":"1.5","timeframe":"M1","indicator":"EMA(20)"}"#;
        assert!(line(true).ends_with(&format!("{expected}\n")), "{}", line(true));
        assert!(line(false).ends_with("skipped 0 M1 EMA(20)\n"), "{}", line(false));
    }

    #[test]
    fn without_an_engine_it_says_what_to_do() {
        let state = tempfile::tempdir().unwrap();
        let mut options = WatchOptions {
            state_dir: state.path().into(),
            connect: None,
            fingerprint: None,
            token: None,
            symbols: vec![],
            kinds: vec![],
            sources: Vec::new(),
            delivery: Delivery::Latest,
            limit: None,
            json: true,
            plain: false,
        };
        assert!(run(&options).unwrap_err().contains("no engine runs here"));
        options.connect = Some("127.0.0.1:9".into());
        assert!(run(&options).unwrap_err().contains("--connect needs --fingerprint"));
        // A port that was free a moment ago: nobody listens.
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let engine = format!(r#"{{"pid":1,"quic":"{free}","fingerprint":"{}","console":""}}"#, "00".repeat(32));
        std::fs::write(state.path().join("engine.json"), engine).unwrap();
        options.connect = None;
        let error = run(&options).unwrap_err();
        assert!(error.contains("cannot connect to 127.0.0.1:") && error.contains("refused"), "{error}");
        options.kinds = vec!["cheese".into()];
        assert!(run(&options).unwrap_err().contains("there is no kind cheese"));
    }
}
