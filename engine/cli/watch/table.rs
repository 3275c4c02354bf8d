//! The live table.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyModifiers};
use ratatui::layout::Constraint;
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Row, Table};
use tickwire_schemas::record::Quote;
use tickwire_schemas::words::QuoteState;
use tickwire_schemas::{NO_PRICE, NO_TIME, SOURCE_BEST};
use tickwire_terminal::schemas::control::{Catalogue, InstrumentEntry};
use tickwire_terminal::{Data, Event, Follow, Followed};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::now_ns;
use crate::market::Price;

/// How often the screen is drawn: as fast as one can read.
const REDRAW: Duration = Duration::from_millis(100);

struct Shown {
    quote: Quote,
    received_ns: i64,
    skipped: u64,
}

struct Screen {
    catalogue: Catalogue,
    address: SocketAddr,
    status: String,
    rows: BTreeMap<(String, u32), Shown>,
}

/// Shows quotes until `q`, Escape or Ctrl-C.
pub(super) async fn show(mut follow: Follow, catalogue: Catalogue, address: SocketAddr) -> Result<ExitCode, String> {
    let mut terminal = ratatui::try_init().map_err(|e| format!("the screen: {e}"))?;
    let mut screen = Screen { catalogue, address, status: "live".into(), rows: BTreeMap::new() };
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let result = loop {
        tokio::select! {
            followed = follow.next() => match followed {
                Ok(followed) => screen.take(followed),
                Err(error) => break Err(error.to_string()),
            },
            _ = redraw.tick() => {
                if let Err(error) = terminal.draw(|frame| frame.render_widget(screen.table(now_ns()), frame.area())) {
                    break Err(format!("the screen: {error}"));
                }
                if quit() {
                    break Ok(ExitCode::SUCCESS);
                }
            }
        }
    };
    ratatui::restore();
    result
}

fn quit() -> bool {
    while event::poll(Duration::ZERO).unwrap_or(false) {
        if let Ok(Input::Key(key)) = event::read() {
            let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return true;
            }
        }
    }
    false
}

impl Screen {
    fn take(&mut self, followed: Followed) {
        match followed {
            Followed::Event(Event::Record { data: Data::Quote(quote), skipped, .. }) => {
                let symbol = self.instrument(quote.head.instrument_id).map_or_else(String::new, |i| i.symbol.clone());
                let before = self.rows.get(&(symbol.clone(), quote.head.source_id)).map_or(0, |shown| shown.skipped);
                let shown = Shown { quote, received_ns: now_ns(), skipped: before + skipped };
                self.rows.insert((symbol, quote.head.source_id), shown);
            }
            Followed::Event(Event::Catalogue(catalogue)) => self.catalogue = (*catalogue).clone(),
            Followed::Event(_) => {}
            Followed::Connected { welcome, .. } => {
                self.catalogue = welcome.catalogue;
                self.status = "live".into();
            }
            Followed::Lost { error, .. } => self.status = error.to_string(),
        }
    }

    fn instrument(&self, id: u32) -> Option<&InstrumentEntry> {
        self.catalogue.instruments.iter().find(|i| i.id == id)
    }

    fn source(&self, id: u32) -> &str {
        match self.catalogue.sources.iter().find(|s| s.id == id) {
            Some(source) => &source.name,
            None if id == SOURCE_BEST => "-",
            None => "?",
        }
    }

    fn table(&self, now_ns: i64) -> Table<'_> {
        let rows = self.rows.iter().map(|((symbol, _), shown)| self.row(symbol, shown, now_ns));
        let heads =
            ["symbol", "bid", "ask", "spread", "sources", "bid from", "ask from", "state", "age", "latency", "skipped"];
        let widths = [12, 16, 16, 12, 7, 12, 12, 8, 10, 10, 10].map(Constraint::Length);
        let title = format!(" {} · {} · q quits ", self.address, self.status);
        Table::new(rows, widths).header(Row::new(heads).bold()).block(Block::bordered().title(title))
    }

    fn row(&self, symbol: &str, shown: &Shown, now_ns: i64) -> Row<'_> {
        let quote = &shown.quote;
        let state = QuoteState::from_code(quote.state);
        let colour = match state {
            Some(QuoteState::Ok) => Color::Green,
            Some(QuoteState::Single | QuoteState::Locked) => Color::Yellow,
            _ => Color::Red,
        };
        let price = |e9: i64| Price::from_e9(e9).map_or("-".into(), |p| p.to_string());
        let spread = match (quote.bid_e9, quote.ask_e9) {
            (NO_PRICE, _) | (_, NO_PRICE) => "-".to_string(),
            (bid, ask) => self.spread(quote.head.instrument_id, ask - bid),
        };
        let age = if quote.ts_recv_ns == NO_TIME { "-".into() } else { duration(now_ns - quote.ts_recv_ns) };
        let right = |text: String| Cell::from(Line::from(text).right_aligned());
        Row::new([
            Cell::from(symbol.to_string()).bold(),
            right(price(quote.bid_e9)),
            right(price(quote.ask_e9)),
            right(spread),
            right(quote.sources.to_string()),
            Cell::from(self.source(quote.bid_source_id)),
            Cell::from(self.source(quote.ask_source_id)),
            Cell::from(state.map_or("?", QuoteState::word)).style(Style::new().fg(colour)),
            right(age),
            right(duration(shown.received_ns - quote.head.ts_publish_ns)),
            right(shown.skipped.to_string()),
        ])
    }

    /// In pips, with one digit, where the instrument has a pip.
    fn spread(&self, instrument_id: u32, spread_e9: i64) -> String {
        match self.instrument(instrument_id) {
            Some(i) if i.pip_e9 > 0 => {
                let tenths = spread_e9 * 10 / i.pip_e9;
                format!("{}{}.{} pip", if tenths < 0 { "-" } else { "" }, tenths.abs() / 10, tenths.abs() % 10)
            }
            _ => Price::from_e9(spread_e9).map_or("-".into(), |p| p.to_string()),
        }
    }
}

fn duration(ns: i64) -> String {
    match ns {
        ..1_000_000 => format!("{} µs", ns / 1000),
        1_000_000..10_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ratatui::{Terminal, backend::TestBackend};
    use tickwire_schemas::record::Head;
    use tickwire_terminal::schemas::control::SourceEntry;

    #[test]
    fn a_quote_is_a_row() {
        let eurusd = InstrumentEntry { id: 1, symbol: "EURUSD".into(), class: "fx".into(), digits: 5, pip_e9: 100_000 };
        let source = |id, name: &str| SourceEntry { id, name: name.into(), scope: "global".into() };
        let catalogue = Catalogue {
            instruments: vec![eurusd],
            sources: vec![source(1, "oanda"), source(2, "fxcm")],
            ..Catalogue::default()
        };
        let address = "127.0.0.1:4433".parse().unwrap();
        let mut screen = Screen { catalogue, address, status: "live".into(), rows: BTreeMap::new() };
        let quote = Quote {
            head: Head { instrument_id: 1, ts_publish_ns: now_ns(), ..Head::default() },
            bid_e9: 1_085_100_000,
            ask_e9: 1_085_230_000,
            bid_source_id: 1,
            ask_source_id: 2,
            sources: 2,
            ts_recv_ns: 0,
            ..Quote::default()
        };
        screen.take(Followed::Event(Event::Record { data: Data::Quote(quote), snapshot: false, skipped: 3 }));
        let mut terminal = Terminal::new(TestBackend::new(150, 4)).unwrap();
        terminal.draw(|frame| frame.render_widget(screen.table(5_000_000), frame.area())).unwrap();
        let text = terminal.backend().to_string();
        for word in ["EURUSD", "1.0851", "1.08523", "1.3 pip", "oanda", "fxcm", "ok", "5 ms", "live", "3"] {
            assert!(text.contains(word), "{word} in {text}");
        }
    }
}
