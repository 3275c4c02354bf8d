#![allow(clippy::unwrap_used)]
use super::*;

fn ns(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_nanosecond() as i64
}

fn calendar(class: Class, holidays: &str) -> Calendar {
    #[derive(Deserialize)]
    struct Section {
        calendar: Holidays,
    }
    let sections = "[calendar]\nfx = FX\nmetal = FX\nindex = []\ncrypto = []".replace("FX", holidays);
    Calendar::new(class, &toml::from_str::<Section>(&sections).unwrap().calendar).unwrap()
}

fn assert_open(calendar: &mut Calendar, cases: &[(&str, bool)]) {
    for (time, expected) in cases {
        assert_eq!(calendar.is_open(ns(time)), *expected, "{time}");
        assert_eq!(calendar.clone().is_open(ns(time)), *expected, "{time} from the remembered stretch");
    }
}

#[test]
fn the_week_ends_and_begins_at_five_in_new_york_in_summer_and_winter() {
    let cases = [
        ("2026-07-03T20:59:59Z", true),
        ("2026-07-03T21:00:00Z", false),
        ("2026-07-05T20:59:59Z", false),
        ("2026-07-05T21:00:00Z", true),
        ("2026-01-02T21:59:59Z", true),
        ("2026-01-02T22:00:00Z", false),
        ("2026-01-04T21:59:59Z", false),
        ("2026-01-04T22:00:00Z", true),
        ("2026-01-07T03:00:00Z", true),
        // Clocks go forward on Sunday 8 March 2026, between Friday's close and Sunday's open.
        ("2026-03-06T21:59:59Z", true),
        ("2026-03-06T22:00:00Z", false),
        ("2026-03-08T20:59:59Z", false),
        ("2026-03-08T21:00:00Z", true),
    ];
    assert_open(&mut calendar(Class::Fx, "[]"), &cases);
    assert_open(&mut calendar(Class::Crypto, "[]"), &[("2026-07-04T12:00:00Z", true)]);
}

#[test]
fn metals_pause_for_an_hour_after_the_close() {
    let cases = [
        ("2026-07-01T20:59:59Z", true),
        ("2026-07-01T21:00:00Z", false),
        ("2026-07-01T21:59:59Z", false),
        ("2026-07-01T22:00:00Z", true),
        ("2026-07-05T21:30:00Z", false),
        ("2026-07-05T22:00:00Z", true),
        ("2026-07-03T20:59:59Z", true),
        ("2026-07-03T22:30:00Z", false),
    ];
    assert_open(&mut calendar(Class::Metal, "[]"), &cases);
}

#[test]
fn holidays_close_a_trading_day_or_a_stretch() {
    let mut fx = calendar(Class::Fx, r#"["12-25", "2026-04-03", "2026-12-31T13:00/2027-01-03T17:00"]"#);
    let cases = [
        ("2026-12-24T21:59:59Z", true),
        ("2026-12-24T22:00:00Z", false),
        ("2026-12-25T21:59:59Z", false),
        ("2025-12-25T12:00:00Z", false),
        ("2026-04-02T20:59:59Z", true),
        ("2026-04-02T21:00:00Z", false),
        ("2026-04-02T12:00:00Z", true),
        ("2026-12-31T17:59:59Z", true),
        ("2026-12-31T18:00:00Z", false),
        ("2027-01-01T12:00:00Z", false),
        ("2027-01-03T22:00:00Z", true),
    ];
    assert_open(&mut fx, &cases);
    for wrong in ["13-25", "2026-02-30", "2026-12-26T18:00/2026-12-24T13:00", "Christmas"] {
        let error = toml::from_str::<Holidays>(&format!("fx = [\"{wrong}\"]")).unwrap_err().to_string();
        assert!(error.contains(&format!("\"{wrong}\" is no holiday, expected")), "{error}");
    }
}

fn interval(calendar: &mut Calendar, timeframe: Timeframe, time: &str) -> (String, String) {
    let span = calendar.interval(timeframe, ns(time)).unwrap();
    let text = |ns: i64| Timestamp::from_nanosecond(i128::from(ns)).unwrap().to_string();
    (text(span.from_ns), text(span.to_ns))
}

fn pair(from: &str, to: &str) -> (String, String) {
    (format!("{from}:00:00Z"), format!("{to}:00:00Z"))
}

#[test]
fn fx_intervals_are_cut_at_five_in_new_york() {
    let mut fx = calendar(Class::Fx, "[]");
    let mut at = |timeframe, time: &str| interval(&mut fx, timeframe, time);
    // Summer: 17:00 is 21:00 UTC.
    assert_eq!(at(Timeframe::D1, "2014-05-04T19:00:00Z"), pair("2014-05-03T21", "2014-05-04T21"));
    assert_eq!(at(Timeframe::D1, "2014-05-04T21:00:00Z"), pair("2014-05-04T21", "2014-05-05T21"));
    assert_eq!(at(Timeframe::H4, "2014-05-05T01:30:00Z"), pair("2014-05-05T01", "2014-05-05T05"));
    assert_eq!(at(Timeframe::H1, "2014-05-05T01:30:00Z"), pair("2014-05-05T01", "2014-05-05T02"));
    assert_eq!(at(Timeframe::W1, "2014-05-09T20:59:59Z"), pair("2014-05-04T21", "2014-05-11T21"));
    assert_eq!(at(Timeframe::W1, "2014-05-11T20:00:00Z"), pair("2014-05-04T21", "2014-05-11T21"));
    // The first of May begins on the last evening of April.
    assert_eq!(at(Timeframe::MN, "2014-04-30T21:00:00Z"), pair("2014-04-30T21", "2014-05-31T21"));
    assert_eq!(at(Timeframe::MN, "2014-04-30T20:59:59Z").1, "2014-04-30T21:00:00Z");
    // The Sunday on which clocks go forward has 23 hours, and its last H4 three.
    assert_eq!(at(Timeframe::D1, "2026-03-08T20:00:00Z"), pair("2026-03-07T22", "2026-03-08T21"));
    assert_eq!(at(Timeframe::H4, "2026-03-08T20:00:00Z"), pair("2026-03-08T18", "2026-03-08T21"));
    assert_eq!(at(Timeframe::W1, "2026-03-05T00:00:00Z"), pair("2026-03-01T22", "2026-03-08T21"));
}

#[test]
fn crypto_intervals_are_cut_at_midnight_utc() {
    let mut crypto = calendar(Class::Crypto, "[]");
    let mut at = |timeframe, time: &str| interval(&mut crypto, timeframe, time);
    assert_eq!(at(Timeframe::D1, "2024-02-29T23:59:59Z"), pair("2024-02-29T00", "2024-03-01T00"));
    assert_eq!(at(Timeframe::W1, "2024-03-03T23:59:59Z"), pair("2024-02-26T00", "2024-03-04T00"));
    assert_eq!(at(Timeframe::MN, "2024-02-29T23:59:59Z"), pair("2024-02-01T00", "2024-03-01T00"));
    assert_eq!(at(Timeframe::H4, "2024-02-29T23:59:59Z"), pair("2024-02-29T20", "2024-03-01T00"));
}

/// A minute of the tick files is a minute here: whole, and the next begins where it ends. Every timeframe of every class
/// covers the time without holes or overlap.
#[test]
fn intervals_tile_the_time() {
    for class in Class::ALL {
        let mut calendar = calendar(class, "[]");
        for timeframe in Timeframe::ALL {
            let mut at = ns("2025-02-20T00:00:00Z");
            while at < ns("2025-04-10T00:00:00Z") {
                let span = calendar.interval(*timeframe, at).unwrap();
                assert!(span.contains(at), "{class:?} {timeframe}");
                assert_eq!(calendar.interval(*timeframe, span.to_ns - 1).unwrap(), span, "{class:?} {timeframe}");
                assert_eq!(calendar.interval(*timeframe, span.to_ns).unwrap().from_ns, span.to_ns);
                at = span.to_ns.max(at + HOUR_NS);
            }
        }
    }
}
