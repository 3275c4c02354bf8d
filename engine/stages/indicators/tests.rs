#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tickwire_schemas::record::{Ohlc, Record, Timer};
use tickwire_schemas::words::{BarState, Kind};

use super::*;
use crate::config::Config;
use crate::market::{IndicatorId, Instrument, InstrumentId, Price, Scope, Source, SourceId, VolumeOf};
use crate::stages::emit::Made;
use crate::stages::{Identity, Recorder};

/// 16:00 New York on a Wednesday.
const AT: i64 = 1_714_593_600_000_000_000;
const MINUTE: i64 = 60_000_000_000;

fn config(text: &str) -> Config {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(text, "test.toml").unwrap();
    config
}

/// One global source (1), one private (2); EURUSD (1), BTCUSDT (2); the indicators of a configuration from id 1 on.
fn market(config: &Config) -> Market {
    let source = |id, name: &str, scope| Source {
        id: SourceId(id),
        name: name.into(),
        scope,
        owner: String::new(),
        priority: 1,
        volume: VolumeOf::default(),
        stores_ticks: true,
    };
    let instrument = |id, symbol: &str, class| Instrument {
        id: InstrumentId(id),
        symbol: symbol.into(),
        class,
        digits: 5,
        pip: Price::from_e9(100_000).unwrap(),
    };
    Market::new(
        vec![source(1, "a", Scope::Global), source(2, "mine", Scope::Private)],
        vec![instrument(1, "EURUSD", Class::Fx), instrument(2, "BTCUSDT", Class::Crypto)],
    )
    .with_indicators(IndicatorName::numbered(&names(config).unwrap()))
}

struct Bench {
    market: Market,
    stage: Indicators,
    identity: Identity,
    out: Recorder,
    made: Made,
}

impl Bench {
    fn new(text: &str) -> Bench {
        let config = config(text);
        let market = market(&config);
        let stage = Indicators::build(config.section("indicators").unwrap(), &market).unwrap();
        Bench { identity: Identity::new(1, &market), stage, market, out: Recorder::default(), made: Made::new() }
    }

    fn name(&self, record: &Indicator) -> &str {
        &self.market.indicators().iter().find(|i| i.id.0 == record.indicator_id).unwrap().name
    }

    /// Runs a bar through, as `bars` would hand it on.
    fn bar(&mut self, bar: Bar) -> Vec<Indicator> {
        self.made.clear();
        let mut out =
            Derived { identity: &mut self.identity, sink: &mut self.out, made: &mut self.made, publish_ns: 7 };
        out.bar(bar);
        self.stage.derive(InputRef::Timer(&Timer::default()), None, Mark::NEW, &mut out);
        let records = std::mem::take(&mut self.out.records).into_iter();
        records
            .filter(|(kind, _)| *kind == Kind::Indicator)
            .map(|(_, bytes)| Indicator::read(&bytes).unwrap())
            .collect()
    }
}

/// A final M1 bar of the best EURUSD whose mid is (high, low, close), in 1e-5.
fn bar(minute: i64, (high, low, close): (i64, i64, i64)) -> Bar {
    let ohlc = |shift: i64| Ohlc {
        open_e9: (close + shift) * 10_000,
        high_e9: (high + shift) * 10_000,
        low_e9: (low + shift) * 10_000,
        close_e9: (close + shift) * 10_000,
    };
    Bar {
        head: Head { source_id: SOURCE_BEST, instrument_id: 1, ..Head::default() },
        open_ts_ns: AT + minute * MINUTE,
        close_ts_ns: AT + (minute + 1) * MINUTE,
        bid: ohlc(-1),
        ask: ohlc(1),
        mid: ohlc(0),
        ticks: 10,
        volume_e8: NO_SIZE,
        revision: 0,
        timeframe: Timeframe::M1.code(),
        origin: 0,
        basis: 0,
        state: BarState::Final.code(),
    }
}

fn flat(minute: i64, price: i64) -> Bar {
    bar(minute, (price, price, price))
}

const SMA2: &str = "[indicators.x]\nindicator = \"SMA\"\nparameters = [2]\ntimeframes = [\"M1\"]\n";

#[test]
fn a_record_follows_every_final_bar_and_says_when_it_is_ready() {
    let mut b = Bench::new(SMA2);
    let first = b.bar(flat(0, 108_500));
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].values_bits, first[0].state), ([NO_VALUE; 4], IndicatorState::Warming.code()));
    let second = b.bar(flat(1, 108_510));
    let near = |record: &Indicator, mean: f64| (record.values()[0].unwrap() - mean).abs() < 1e-15;
    assert!(near(&second[0], 1.08505) && second[0].values_bits[1..] == [NO_VALUE; 3], "{:?}", second[0].values());
    assert_eq!(second[0].state, IndicatorState::Ready.code());
    assert_eq!((second[0].bar_ts_ns, second[0].timeframe), (AT + MINUTE, Timeframe::M1.code()));
    assert_eq!((second[0].head.source_id, second[0].head.instrument_id, second[0].head.chain), (0, 1, 2));
    // What is not a final bar, or of another series, is none of its business.
    assert!(b.bar(Bar { state: BarState::Provisional.code(), ..flat(2, 1) }).is_empty());
    assert!(b.bar(Bar { timeframe: Timeframe::M5.code(), ..flat(2, 1) }).is_empty());
    assert!(b.bar(Bar { head: Head { source_id: 1, ..flat(2, 1).head }, ..flat(2, 1) }).is_empty());
    assert!(near(&b.bar(flat(2, 108_520))[0], 1.08515));
}

#[test]
fn revisions_and_late_bars_do_not_cascade_and_one_sided_bars_are_passed_over() {
    let mut b = Bench::new(SMA2);
    b.bar(flat(0, 100));
    b.bar(flat(5, 200));
    assert!(b.bar(flat(5, 300)).is_empty(), "the same bar again");
    assert!(b.bar(flat(3, 300)).is_empty(), "a bar of an interval that was empty");
    assert!(b.bar(Bar { state: BarState::Revised.code(), revision: 1, ..flat(5, 300) }).is_empty());
    let none = Ohlc { open_e9: NO_PRICE, high_e9: NO_PRICE, low_e9: NO_PRICE, close_e9: NO_PRICE };
    assert!(b.bar(Bar { mid: none, ask: none, ..flat(6, 300) }).is_empty());
    assert_eq!(b.bar(flat(7, 400))[0].values()[0], Some(0.003), "of 200 and 400");
}

#[test]
fn tables_choose_series_by_globs_and_ask_once_for_the_same() {
    let mut b = Bench::new(
        "[indicators.one]\nindicator = \"EMA\"\nparameters = [2]\ntimeframes = [\"M1\", \"M1\"]\nsymbols = [\"EUR*\"]\n\
         sources = [\"*\"]\n[indicators.two]\nindicator = \"EMA\"\nparameters = [2]\ntimeframes = [\"M1\", \"H1\"]\n\
         [indicators.three]\nindicator = \"EMA\"\nparameters = [2]\ntimeframes = [\"M1\"]\nprice = \"bid\"\nsources = [\"a\"]\n",
    );
    let mut of = |source_id, instrument_id, timeframe: Timeframe| {
        let head = Head { source_id, instrument_id, ..Head::default() };
        let records = b.bar(Bar { head, timeframe: timeframe.code(), ..flat(0, 100) });
        records.iter().map(|record| b.name(record).to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of(0, 1, Timeframe::M1), ["EMA(2)"], "both tables ask for it");
    assert_eq!(of(1, 1, Timeframe::M1), ["EMA(2)", "EMA(2,bid)"]);
    assert_eq!(of(2, 1, Timeframe::M1), ["EMA(2)"]);
    assert_eq!(of(0, 1, Timeframe::H1), ["EMA(2)"]);
    assert_eq!(of(0, 2, Timeframe::M1), ["EMA(2)"]);
    assert!(of(2, 2, Timeframe::M1).is_empty());
}

#[test]
fn names_say_all_that_values_depend_on() {
    let text = |indicator: &str, rest: &str| {
        let text = format!("[indicators.x]\nindicator = \"{indicator}\"\ntimeframes = [\"M1\"]\n{rest}");
        names(&config(&text)).map(|names| names.join(" ")).map_err(|error| error.to_string())
    };
    for (indicator, rest, name) in [
        ("EMA", "", "EMA(20)"),
        ("EMA", "parameters = [20.0]\nprice = \"bid\"", "EMA(20,bid)"),
        ("MACD", "parameters = [5]", "MACD(5,26,9)"),
        ("BB", "", "BB(20,2)"),
        ("BB", "parameters = [10, 2.5]", "BB(10,2.5)"),
        ("STOCH", "", "STOCH(14,3,3)"),
        ("VWAP", "", "VWAP(day)"),
        ("VWAP", "parameters = [\"all\"]\nprice = \"ask\"", "VWAP(all,ask)"),
    ] {
        assert_eq!(text(indicator, rest).unwrap(), name);
    }
    for (indicator, rest, problem) in [
        ("EMO", "", "test.toml: indicators.x.indicator: \"EMO\" is no indicator, expected one of SMA, EMA, WMA, RSI,"),
        (
            "EMA",
            "parameters = [0]",
            "indicators.x.parameters: the 1. parameter, the period, is 0, expected a whole number",
        ),
        ("EMA", "parameters = [2.5]", "the period, is 2.5, expected a whole number from 1 to 10000"),
        ("EMA", "parameters = [\"day\"]", "the period, is \"day\", expected a whole number"),
        ("EMA", "parameters = [20, 3]", "2 parameters, EMA takes at most 1"),
        ("EMA", "parameters = [[1]]", "indicators.x.parameters[0]: expected a number or a word in quotes"),
        ("MACD", "parameters = [26, 12]", "the slow period is 12, expected more than the fast one, 26"),
        (
            "BB",
            "parameters = [20, -1]",
            "the 2. parameter, the factor on the deviation, is -1, expected a number above 0",
        ),
        ("VWAP", "parameters = [\"week\"]", "the anchor, is \"week\", expected \"day\" or \"all\""),
        ("EMA", "symbols = [\"[\"]", "indicators.x.symbols: \"[\": "),
        ("EMA", "sources = []", "indicators.x.sources: is empty"),
        ("EMA", "price = \"last\"", "indicators.x.price: unknown variant `last`"),
        ("EMA", "colour = 1", "indicators.x.colour: unknown field"),
    ] {
        let error = text(indicator, rest).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    assert!(names(&config("")).unwrap().is_empty());
}

#[test]
fn the_shipped_tables_have_every_family() {
    let names = names(&config(include_str!("../../../config/indicators.toml"))).unwrap();
    let families: std::collections::BTreeSet<_> = names.iter().map(|name| name.split('(').next().unwrap()).collect();
    assert_eq!(families, FAMILIES.iter().copied().collect());
}

#[test]
fn vwap_begins_anew_with_the_trading_day_and_weighs_by_ticks_without_volume() {
    let mut b = Bench::new(
        "[indicators.d]\nindicator = \"VWAP\"\ntimeframes = [\"M1\"]\n\
         [indicators.a]\nindicator = \"VWAP\"\nparameters = [\"all\"]\ntimeframes = [\"M1\"]\n",
    );
    let mut values = |bar: Bar| {
        let records = b.bar(bar);
        let of = |name: &str| records.iter().find(|r| b.name(r) == name).unwrap().values()[0];
        (of("VWAP(day)"), of("VWAP(all)"))
    };
    assert_eq!(values(Bar { ticks: 30, ..flat(58, 100_000) }), (Some(1.0), Some(1.0)));
    assert_eq!(values(Bar { ticks: 10, ..flat(59, 200_000) }), (Some(1.25), Some(1.25)));
    // 17:00 New York.
    assert_eq!(values(Bar { ticks: 40, ..flat(60, 300_000) }), (Some(3.0), Some(2.125)));
    // The first volume: from here on volumes alone count.
    let with = |minute, price, volume_e8| Bar { volume_e8, ..flat(minute, price) };
    assert_eq!(values(with(61, 500_000, 0)), (None, None), "no weight, no value");
    assert_eq!(values(with(62, 100_000, 300_000_000)), (Some(1.0), Some(1.0)));
    assert_eq!(values(with(63, 200_000, 100_000_000)), (Some(1.25), Some(1.25)));
    assert_eq!(values(flat(64, 900_000)), (Some(1.25), Some(1.25)), "a bar without volume weighs nothing");
}

fn all(parameters_of_periods: f64) -> Vec<Computation> {
    let made = |family: &&str| {
        let n = Parameter::Number(parameters_of_periods);
        let parameters = match *family {
            "MACD" => vec![n, Parameter::Number(parameters_of_periods + 1.0), Parameter::Number(2.0)],
            "VWAP" => vec![],
            _ => vec![n],
        };
        Computation::new(family, &parameters).unwrap().0
    };
    FAMILIES.iter().map(made).collect()
}

#[test]
fn a_market_that_stands_still_has_its_price_and_no_direction() {
    // Not a number that binary has: sums of it are rounded.
    let candle = Candle { high: 1.1, low: 1.1, close: 1.1, volume: None, ticks: 3.0, day: 1 };
    for mut computation in all(7.0) {
        let values = (0..40).map(|_| computation.next(&candle)).last().unwrap();
        let expected = match &computation {
            Computation::Wma(_) | Computation::Vwap(_) => {
                assert!((values[0].unwrap() - 1.1).abs() < 1e-15, "{values:?}");
                continue;
            }
            Computation::Sma(_) | Computation::Ema(_) => [Some(1.1), None, None, None],
            Computation::Rsi(_) => [Some(50.0), None, None, None],
            Computation::Macd(_) => [Some(0.0), Some(0.0), Some(0.0), None],
            Computation::Atr(_) | Computation::Stochastic(_) => [Some(0.0), Some(0.0), None, None],
            Computation::Bollinger(_) => [Some(1.1), Some(1.1), Some(1.1), Some(0.0)],
            Computation::Adx(_) => [Some(0.0), Some(0.0), Some(0.0), None],
            Computation::Cci(_) => [Some(0.0), None, None, None],
            Computation::Williams(_) => [Some(-100.0), None, None, None],
        };
        assert_eq!(values, expected, "{computation:?}");
    }
}

#[test]
fn only_rises_are_100_only_falls_0_and_a_long_standstill_50() {
    let of = |closes: &mut dyn Iterator<Item = f64>| {
        let mut rsi = Computation::new("RSI", &[]).unwrap().0;
        closes.map(|close| rsi.next(&Candle { close, ..Candle::default() })[0]).last().unwrap().unwrap()
    };
    assert_eq!(of(&mut (0..50).map(f64::from)), 100.0);
    assert_eq!(of(&mut (0..50).map(|n| -f64::from(n))), 0.0);
    let moved = [1.0, 3.0, 2.0, 3.0, 2.0, 4.0, 2.0, 3.0, 1.0, 3.0, 2.0, 3.0, 2.0, 4.0, 2.0];
    let before = of(&mut moved.into_iter());
    let stands = |bars| of(&mut moved.into_iter().chain(std::iter::repeat_n(2.0, bars)));
    assert!(before != 50.0 && (stands(5000) - before).abs() < 1e-9, "{before} {}", stands(5000));
    assert_eq!(stands(9000), 50.0);
}

/// A million bars, with one of 1e12 now and then: what is said afterwards is what the bars in the window alone say.
#[test]
fn nothing_that_left_the_window_is_remembered() {
    const N: usize = 20;
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut price, mut recent) = (1.1, std::collections::VecDeque::new());
    let window = |family| Computation::new(family, &[Parameter::Number(N as f64)]).unwrap().0;
    let mut computations = ["SMA", "WMA", "BB", "WILLR", "CCI"].map(window);
    let mut checked = 0;
    for n in 0..1_000_000_usize {
        price += (rng.f64() - 0.5) * 1e-4;
        let close = if n % 100_003 == 50_000 { 1e12 } else { price };
        let candle = Candle { high: close + 1e-4, low: close - 1e-4, close, ..Candle::default() };
        recent.push_back(candle);
        if recent.len() > N {
            recent.pop_front();
        }
        let values = computations.each_mut().map(|computation| computation.next(&candle));
        if recent.len() < N || !(n % 1009 == 0 || (20..30).contains(&(n % 100_003).wrapping_sub(50_000))) {
            continue;
        }
        checked += 1;
        let closes: Vec<f64> = recent.iter().map(|candle: &Candle| candle.close).collect();
        let mean = closes.iter().sum::<f64>() / N as f64;
        let weighted = closes.iter().zip(1..).map(|(close, weight)| close * f64::from(weight)).sum::<f64>() / 210.0;
        let deviation = (closes.iter().map(|close| (close - mean) * (close - mean)).sum::<f64>() / N as f64).sqrt();
        let near = |ours: Option<f64>, fresh: f64| {
            let ours = ours.unwrap();
            assert!((ours - fresh).abs() <= 1e-9 * fresh.abs(), "bar {n}: {ours} for {fresh}");
        };
        near(values[0][0], mean);
        near(values[1][0], weighted);
        near(values[2][1], mean);
        near(values[2][3], deviation);
        for (computation, values) in [("WILLR", values[3]), ("CCI", values[4])] {
            let mut fresh = window(computation);
            let last = recent.iter().map(|candle| fresh.next(candle)).last().unwrap();
            near(values[0], last[0].unwrap());
        }
    }
    assert!(checked > 1000, "{checked}");
}

/// Against sums in whole numbers, which are exact.
#[test]
fn a_vwap_over_a_million_bars_is_exact() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut vwap = Computation::new("VWAP", &[Parameter::Word("all".into())]).unwrap().0;
    let (mut prices, mut volumes, mut last) = (0_i128, 0_i128, None);
    for n in 0..1_000_000 {
        let (close_e9, volume_e8) = (rng.i64(1_000_000_000..1_200_000_000), rng.u64(0..1_000_000_000_000));
        let close_e9 = if n == 500 { 1_000_000_000_000_000_000 } else { close_e9 };
        prices += i128::from(close_e9) * i128::from(volume_e8);
        volumes += i128::from(volume_e8);
        let close = close_e9 as f64 / 1e9;
        let volume = Some(volume_e8 as f64 / 1e8);
        last = vwap.next(&Candle { high: close, low: close, close, volume, ..Candle::default() })[0];
    }
    let exact = prices as f64 / volumes as f64 / 1e9;
    assert!((last.unwrap() - exact).abs() <= 1e-14 * exact, "{last:?} for {exact}");
}

/// Prices as hostile as a record can hold them, and ordinary ones.
fn price() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 1_000_000_000..1_001_000_000_i64,
        2 => Just(1_000_000_000_i64),
        1 => prop_oneof![Just(0), Just(1), Just(-1), Just(i64::MAX), Just(i64::MIN + 1), Just(999_999_999_999_999_999)],
        1 => (i64::MIN + 1)..=i64::MAX,
    ]
}

/// A bar of any prices, in order or not.
fn hostile_bars() -> impl Strategy<Value = Vec<(i64, i64, i64, u64, u64)>> {
    let volume = prop_oneof![Just(NO_SIZE), Just(0), Just(NO_SIZE - 1), any::<u64>()];
    let ticks = prop_oneof![0..5_u64, Just(u64::MAX)];
    prop::collection::vec((price(), price(), price(), ticks, volume), 1..60)
}

/// Every family twice, by short periods, so that few bars make them ready and full.
fn every_family() -> String {
    let mut text = String::new();
    for (n, family) in FAMILIES.iter().flat_map(|family| [(1, family), (4, family)]) {
        let parameters = match *family {
            "MACD" => format!("{n}, {}, 3", n + 2),
            "STOCH" => format!("{n}, 2, {n}"),
            "VWAP" => if n == 1 { "\"day\"" } else { "\"all\"" }.to_string(),
            _ => n.to_string(),
        };
        text += &format!(
            "[indicators.{family}{n}]\nindicator = \"{family}\"\nparameters = [{parameters}]\ntimeframes = [\"M1\"]\n"
        );
    }
    text
}

fn hostile(minute: usize, (high_e9, low_e9, close_e9, ticks, volume_e8): (i64, i64, i64, u64, u64)) -> Bar {
    let mid = Ohlc { open_e9: close_e9, high_e9, low_e9, close_e9 };
    Bar { mid, ticks, volume_e8, ..flat(minute as i64 * 20, 0) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_bar_makes_a_value_that_is_no_number(bars in hostile_bars()) {
        let mut b = Bench::new(&every_family());
        let mut last = Vec::new();
        for (minute, bar) in bars.iter().enumerate() {
            last = b.bar(hostile(minute, *bar));
            prop_assert_eq!(last.len(), 2 * FAMILIES.len());
            for record in &last {
                prop_assert!(record.values().iter().flatten().all(|value| value.is_finite()), "{}: {:?}", b.name(record), record);
            }
        }
        // And none was silently left out for being none.
        for record in last.iter().filter(|_| bars.len() > 12) {
            prop_assert!(record.state == IndicatorState::Ready.code() || b.name(record).starts_with("VWAP"), "{}", b.name(record));
        }
    }

    #[test]
    fn saved_state_goes_on_bit_by_bit_wherever_it_is_cut(bars in hostile_bars(), cut in 0..60_usize) {
        let mut whole = Bench::new(&every_family());
        let mut first = Bench::new(&every_family());
        let cut = cut.min(bars.len());
        for (minute, bar) in bars[..cut].iter().enumerate() {
            prop_assert_eq!(whole.bar(hostile(minute, *bar)), first.bar(hostile(minute, *bar)));
        }
        let mut state = Vec::new();
        first.stage.save(&mut state);
        let mut second = Bench { identity: first.identity, ..Bench::new(&every_family()) };
        second.stage.load(&state).unwrap();
        for (minute, bar) in bars.iter().enumerate().skip(cut) {
            prop_assert_eq!(whole.bar(hostile(minute, *bar)), second.bar(hostile(minute, *bar)));
        }
        let (mut one, mut other) = (Vec::new(), Vec::new());
        whole.stage.save(&mut one);
        second.stage.save(&mut other);
        prop_assert_eq!(one, other);
    }
}

#[test]
fn state_of_what_is_no_longer_there_is_dropped_and_of_what_is_new_begins() {
    let mut before = Bench::new(SMA2);
    before.bar(flat(0, 100));
    let mut state = Vec::new();
    before.stage.save(&mut state);
    // Under the same id stands SMA(2); EMA(2) is new and sorts before it, so the ids are given here.
    let config =
        config(&format!("{SMA2}[indicators.e]\nindicator = \"EMA\"\nparameters = [2]\ntimeframes = [\"M1\"]\n"));
    let names = [(1, "SMA(2)"), (2, "EMA(2)")];
    let names = names.map(|(id, name)| IndicatorName { id: IndicatorId(id), name: name.into() });
    let market = market(&config).with_indicators(names.to_vec());
    let stage = Indicators::build(config.section("indicators").unwrap(), &market).unwrap();
    let mut after =
        Bench { identity: Identity::new(1, &market), stage, market, out: Recorder::default(), made: Made::new() };
    after.stage.load(&state).unwrap();
    let records = after.bar(flat(1, 300));
    let of = |id| records.iter().find(|record| record.indicator_id == id).unwrap().values()[0];
    assert_eq!((of(1), of(2)), (Some(0.002), None));
    assert!(after.stage.load(b"nonsense").is_err());
    let mut without = Bench::new("");
    without.stage.load(&state).unwrap();
    assert!(without.bar(flat(1, 300)).is_empty());
}
