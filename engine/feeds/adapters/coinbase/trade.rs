//! One element of `trades`.

use tickwire_schemas::words::Aggressor;

use super::Text;
use crate::feeds::event::{Reject, Symbols, price, size, utc_time};
use crate::feeds::json::{Cursor, Malformed};
use crate::market::TradeInput;

/// A trade as text.
#[derive(Default)]
pub(super) struct Trade<'a> {
    symbol: Option<Text<'a>>,
    side: Option<Text<'a>>,
    price: Option<&'a [u8]>,
    size: Option<&'a [u8]>,
    id: Option<u64>,
    time: Option<Text<'a>>,
}

impl<'a> Trade<'a> {
    pub(super) fn read(&mut self, c: &mut Cursor<'a>) -> Result<(), Malformed> {
        c.object(|key, c| {
            match key {
                b"product_id" => self.symbol = Some(c.text()?),
                b"side" => self.side = Some(c.text()?),
                b"price" => self.price = Some(c.number()?),
                b"size" => self.size = Some(c.number()?),
                b"trade_id" => self.id = Some(c.whole()?),
                b"time" => self.time = Some(c.text()?),
                _ => c.skip()?,
            }
            Ok(())
        })
    }

    pub(super) fn input(&self, ts_recv_ns: i64, symbols: &Symbols) -> Result<TradeInput, Reject> {
        let symbol = self.symbol.as_deref().ok_or(Reject::Expected("a product_id"))?;
        Ok(TradeInput {
            source: symbols.source(),
            instrument: symbols.find(symbol)?.instrument,
            ts_event_ns: self.time.as_deref().map(utc_time).transpose()?,
            ts_recv_ns,
            price: price("price", self.price.ok_or(Reject::Expected("a price"))?)?,
            size: Some(size("size", self.size.ok_or(Reject::Expected("a size"))?)?),
            trade_id: self.id,
            aggressor: match self.side.as_deref() {
                Some(b"BUY") => Aggressor::Sell,
                Some(b"SELL") => Aggressor::Buy,
                _ => return Err(Reject::Expected("BUY or SELL in side")),
            },
        })
    }
}
